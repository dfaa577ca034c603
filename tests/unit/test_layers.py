"""The layers point one way, and the mathematics needs no ComfyUI."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
ALLOWED = {
    "blending_core": {"blending_core"},
    "segmentation": {"segmentation"},
    "diffusion": {"diffusion"},
    "nodes": {"blending_core", "segmentation", "diffusion", "nodes"},
}


def imports_of(path):
    """Absolute names of all modules that a file imports, those of the pack beginning with its folders."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parts = path.relative_to(CHECKOUT).parts[: -node.level] if node.level else ()
            yield ".".join([*parts, *filter(None, [node.module])])


def modules():
    return [path for folder in ALLOWED for path in sorted((CHECKOUT / folder).rglob("*.py"))]


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(CHECKOUT)))
def test_arrows_point_one_way(path):
    layer = path.relative_to(CHECKOUT).parts[0]
    for name in imports_of(path):
        top = name.split(".")[0]
        if top in ALLOWED:
            assert top in ALLOWED[layer], name
        if top in ("comfy", "folder_paths", "server", "execution"):
            assert path.relative_to(CHECKOUT).as_posix() == "nodes/host.py", name
        if top == "comfy_api":
            assert layer == "nodes", name


@pytest.mark.parametrize("layer", ["blending_core", "segmentation", "diffusion"])
def test_layer_can_be_imported_alone(layer):
    names = [f"{layer}.{path.stem}" for path in (CHECKOUT / layer).glob("*.py") if path.stem != "__init__"]
    code = f"import sys; sys.path.insert(0, {str(CHECKOUT)!r})\nimport {', '.join(names)}\n"
    code += "assert not [m for m in sys.modules if m.split('.')[0] in ('comfy', 'comfy_api', 'nodes', 'cv2')]"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_requirements_and_project_metadata_agree():
    tomllib = pytest.importorskip("tomllib")
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert (CHECKOUT / "requirements.txt").read_text().split() == project["dependencies"]
