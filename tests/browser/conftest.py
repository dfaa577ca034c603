import importlib.util
import json
import shutil
from pathlib import Path

import pytest

CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
# No sandbox, because containers seldom allow it; and nothing that would use the network.
OPTIONS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
MODEL_FILES = (
    "grounding-dino/groundingdino_swint_ogc.pth",
    "sams/sam_vit_b_01ec64.pth",
    "upscale_models/PANx2_DF2K.pth",
    "checkpoints/paint_by_example.ckpt",
    "checkpoints/v1-5-pruned-emaonly-fp16.safetensors",
)
ARTEFACTS = Path(__file__).resolve().parents[2] / "output" / "browser"


@pytest.fixture(scope="session")
def browser():
    if importlib.util.find_spec("playwright") is None:
        pytest.skip("Playwright is not installed")
    executable = next(filter(None, map(shutil.which, CHROMIUM)), None)
    if executable is None:
        pytest.skip("Chromium is not installed")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        # Every launch has a user data directory of its own.
        running = playwright.chromium.launch(executable_path=executable, args=OPTIONS)
        yield running
        running.close()


@pytest.fixture(scope="session")
def server(browser, comfyui, tmp_path_factory):
    """A real ComfyUI server with its frontend, the pack, and the workflows' pictures in its input folder."""
    if importlib.util.find_spec("comfyui_frontend_package") is None:
        pytest.skip("ComfyUI's frontend package is not installed")
    from browser_page import write_pictures
    from comfyui_server import Server, make_base, write_photographs

    base = tmp_path_factory.mktemp("comfyui")
    make_base(base)
    write_photographs(base / "input")
    write_pictures(base / "input")
    for path in MODEL_FILES:  # only their names matter here
        (base / "models" / path).parent.mkdir(parents=True, exist_ok=True)
        (base / "models" / path).touch()
    settings = base / "user" / "default" / "comfy.settings.json"
    settings.parent.mkdir(parents=True)
    # Else a dialog with templates would cover everything.
    settings.write_text(json.dumps({"Comfy.TutorialCompleted": True}))
    with Server(comfyui, base, with_frontend=True) as running:
        yield running


@pytest.fixture(scope="module", params=[False, True], ids=["classic", "vue"])
def editor(browser, server, request):
    """The editor in both modes; a test leaves no error in it."""
    from browser_page import VIEWPORT, EditorPage

    context = browser.new_context(viewport=VIEWPORT, has_touch=True)
    yield EditorPage(context, server.url, request.param, ARTEFACTS)
    context.close()
