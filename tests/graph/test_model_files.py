"""Files of weights in a loader node: listed, found, fetched. Load Perceptual Model stands for all loaders."""

import hashlib
import io
import os
import shutil
import sys
from pathlib import Path

import pytest
import torch

from file_server import file_server
from networks import small_vgg_weights

LOADER = "DeepBlend_LoadPerceptualModel"
NAME = "vgg19-dcbb9e9d.pth"
PERCEPTUAL, GROUNDING_DINO = ("perceptual",), ("grounding-dino", "groundingdino")


@pytest.fixture
def model_files(host):
    """The pack's module, as ComfyUI has loaded it."""
    return sys.modules[host.nodes.NODE_CLASS_MAPPINGS[LOADER].__module__.replace(".deep", ".model_files")]


@pytest.fixture
def models(host):
    """ComfyUI's folder for models, with nothing of ours in it before or after."""
    import folder_paths

    folder = Path(folder_paths.models_dir)
    ours = ("sams", "perceptual", "bert-base-uncased", *GROUNDING_DINO)
    for name in ours:
        shutil.rmtree(folder / name, ignore_errors=True)
    host.executor = host.new_executor()  # or a loader could come from the cache of another test
    yield folder
    for name in ours:
        shutil.rmtree(folder / name, ignore_errors=True)


@pytest.fixture
def content():
    """A file of a narrow VGG-19."""
    file = io.BytesIO()
    torch.save(small_vgg_weights(channels=64), file)
    return file.getvalue()


@pytest.fixture
def server(model_files, content, monkeypatch):
    """The catalogue, with the one file on loopback, and the server that has it."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with file_server() as running:
        entry = model_files.checkpoints.named(NAME)._replace(
            size=len(content), sha256=hashlib.sha256(content).hexdigest(), urls=(f"{running.url}/{NAME}",)
        )
        vocabulary = model_files.checkpoints.named("vocab.txt")._replace(
            size=5, sha256=hashlib.sha256(b"[PAD]").hexdigest(), urls=(f"{running.url}/vocab.txt",)
        )
        monkeypatch.setattr(model_files.checkpoints, "CHECKPOINTS", (entry, vocabulary))
        running.files = {f"/{NAME}": content, "/vocab.txt": b"[PAD]"}
        yield running


def write(path, content=b"weights"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def test_a_file_of_the_catalogue_is_fetched_when_download_is_on_and_only_once(host, server, models, content):
    for _ in range(2):
        model = host.run_node(LOADER, model=NAME, download=True)
        assert model["config"]["name"] == NAME
        host.executor = host.new_executor()
    assert (models / "perceptual" / NAME).read_bytes() == content
    assert len(server.requests) == 1
    host.run_node(LOADER, model=NAME, download=False)


def test_weights_that_were_fetched_are_no_inference_tensors(host, server, models):
    network = host.run_node(LOADER, model=NAME, download=True)["patcher"].model
    assert not any(tensor.is_inference() for tensor in [*network.parameters(), *network.buffers()])


@pytest.mark.parametrize("download", [None, False])
def test_nothing_is_fetched_unless_download_is_on(host, server, models, content, download):
    with pytest.raises(RuntimeError) as raised:
        host.run_node(LOADER, model=NAME, download=download)
    assert str(raised.value).strip() == (
        f"model '{NAME}' is not in models/perceptual; switch on download to fetch its "
        f"{len(content) / 1e6:.1f} MB from {server.url}/{NAME}, or put it there by hand"
    )
    assert server.requests == []


def test_the_built_in_model_is_never_fetched(host, server, models):
    host.run_node(LOADER, model="built-in", download=True)
    assert server.requests == []


def test_a_failing_download_shows_its_sentence(host, server, models):
    server.files.clear()
    with pytest.raises(RuntimeError, match=rf"{NAME} could not be fetched into .*perceptual \(.*HTTP 404"):
        host.run_node(LOADER, model=NAME, download=True)


def observe(monkeypatch, hook):
    import comfy.utils

    monkeypatch.setattr(comfy.utils, "PROGRESS_BAR_HOOK", hook)
    monkeypatch.setattr(comfy.utils, "PROGRESS_THROTTLE_MIN_INTERVAL", 0)
    monkeypatch.setattr(comfy.utils, "PROGRESS_THROTTLE_MIN_PERCENT", 0)


def test_progress_is_shown_in_megabytes(host, server, models, model_files, content, monkeypatch):
    monkeypatch.setattr(model_files, "MEGABYTE", 1000)
    seen = []
    observe(monkeypatch, lambda value, total, *_, **__: seen.append((value, total)))
    host.run_node(LOADER, model=NAME, download=True)
    total = -(-len(content) // 1000)
    assert seen[0] == (0, total)
    assert seen[-1] == (total, total)
    assert len(seen) > 2


def test_cancelling_a_download_ends_the_run_and_the_next_one_resumes(host, server, models, content, monkeypatch):
    import comfy.model_management

    def cancel_once_some_is_there(value, *_, **__):
        if value:
            comfy.model_management.interrupt_current_processing()

    server.cuts[f"/{NAME}"] = [100_000, 100_000]
    with monkeypatch.context() as patched:
        observe(patched, cancel_once_some_is_there)
        with pytest.raises(RuntimeError, match="interrupted"):
            host.run_node(LOADER, model=NAME, download=True)
    (part,) = (models / "perceptual").iterdir()
    assert part.name == f"{NAME}.part"
    arrived = part.stat().st_size
    assert 0 < arrived < len(content)
    host.run_node(LOADER, model=NAME, download=True)
    assert (f"/{NAME}", f"bytes={arrived}-") in server.requests
    assert [path.name for path in (models / "perceptual").iterdir()] == [NAME]


@pytest.mark.parametrize("name", ["../../secret.pth", "../perceptual/own.pth", "./own.pth", "/etc/passwd", "own", ""])
def test_only_names_of_the_listing_are_found(host, linked, models, server, name):
    write(models.parent / "secret.pth")
    write(models / "perceptual" / "own.pth")
    with pytest.raises(RuntimeError) as raised:
        host.run_node(LOADER, model=linked(name), download=True)
    assert str(raised.value).strip() == (
        f"model {name!r} is not in models/perceptual; files that are there, '{NAME}' are accepted"
    )
    assert server.requests == []
    (models.parent / "secret.pth").unlink()


def test_the_listing_holds_files_folders_and_the_catalogue_without_doubles(models, model_files):
    for name in ("b.pth", "A/deep/c.SafeTensors", "d.pt", "notes.txt", "config.cfg.py", "half.pth.part"):
        write(models / "grounding-dino" / name)
    for name in ("b.pth", "groundingdino_swint_ogc.pth", "hub/tiny/config.json", "hub/tiny/model.safetensors"):
        write(models / "groundingdino" / name)
    write(models / "groundingdino" / "hub" / "tiny" / "onnx" / "model.safetensors")
    assert model_files.model_choices(GROUNDING_DINO) == [
        "A/deep/c.SafeTensors",
        "b.pth",
        "d.pt",
        "groundingdino_swinb_cogcoor.pth",
        "groundingdino_swint_ogc.pth",
        "hub/tiny",
    ]
    assert model_files.find(GROUNDING_DINO, "b.pth") == models / "grounding-dino" / "b.pth"
    assert model_files.find(GROUNDING_DINO, "hub/tiny") == models / "groundingdino" / "hub" / "tiny"
    assert model_files.find(GROUNDING_DINO, "groundingdino_swinb_cogcoor.pth") is None
    assert model_files.find(GROUNDING_DINO, "notes.txt") is None


def test_a_configuration_beside_the_files_does_not_hide_them(models, model_files):
    write(models / "sams" / "config.json", b"{}")
    write(models / "sams" / "mine.pth")
    assert "mine.pth" in model_files.model_choices(("sams",))


def test_folders_of_extra_model_paths_come_into_the_listing(models, model_files, tmp_path, monkeypatch):
    import folder_paths

    paths, extensions = folder_paths.folder_names_and_paths["sams"]
    monkeypatch.setitem(folder_paths.folder_names_and_paths, "sams", ([str(tmp_path), *paths], extensions))
    write(tmp_path / "sam.pth")
    write(models / "sams" / "sam.pth")
    assert model_files.find(("sams",), "sam.pth") == tmp_path / "sam.pth"


def test_a_download_goes_into_the_first_folder_that_comfyui_names(server, model_files, tmp_path, monkeypatch):
    import folder_paths

    monkeypatch.setitem(folder_paths.folder_names_and_paths, "perceptual", ([str(tmp_path / "mine")], set()))
    assert model_files.find_or_fetch(PERCEPTUAL, NAME, True) == tmp_path / "mine" / NAME


def test_extensions_that_other_packs_have_set_are_left_alone(host):
    import folder_paths

    for name in ("sams", "grounding-dino", "groundingdino", "bert-base-uncased", "perceptual"):
        paths, extensions = folder_paths.folder_names_and_paths[name]
        assert paths == [os.path.join(folder_paths.models_dir, name)]  # noqa: PTH118
        assert extensions == set()


def test_the_vocabulary_is_looked_for_beside_the_checkpoint_and_then_in_its_own_folder(models, model_files):
    checkpoint = write(models / "grounding-dino" / "dino.pth")
    folder = write(models / "grounding-dino" / "hub" / "config.json").parent
    assert model_files.find_vocabulary(checkpoint) is None
    own = write(models / "bert-base-uncased" / "vocab.txt")
    assert model_files.find_vocabulary(checkpoint) == own
    beside, inside = write(checkpoint.with_name("vocab.txt")), write(folder / "vocab.txt")
    assert model_files.find_vocabulary(checkpoint) == beside
    assert model_files.find_vocabulary(folder) == inside
    assert model_files.find_or_fetch_vocabulary(checkpoint, False) == beside


def test_the_vocabulary_is_fetched_or_asked_for(models, model_files, server):
    checkpoint = write(models / "grounding-dino" / "dino.pth")
    with pytest.raises(
        ValueError, match=r"model 'dino.pth' needs vocab.txt, which is not in models/bert-base-uncased; sw"
    ):
        model_files.find_or_fetch_vocabulary(checkpoint, False)
    assert model_files.find_or_fetch_vocabulary(checkpoint, True) == models / "bert-base-uncased" / "vocab.txt"
    assert model_files.find_vocabulary(checkpoint).read_bytes() == b"[PAD]"


def test_the_fingerprint_changes_with_the_file_or_any_file_of_a_folder(models, model_files):
    folders = ("sams",)

    def fingerprint(name):
        return model_files.fingerprint(folders, name, False)

    assert fingerprint(None) is None
    assert fingerprint("sam.pth") is None
    path = write(models / "sams" / "sam.pth")
    write(models / "sams" / "hub" / "config.json")
    weights = write(models / "sams" / "hub" / "model.safetensors")
    file, folder = fingerprint("sam.pth"), fingerprint("hub")
    assert file == fingerprint("sam.pth")
    path.write_bytes(b"other weights")
    weights.write_bytes(b"other weights")
    assert fingerprint("sam.pth") != file
    assert fingerprint("hub") != folder


def test_after_a_download_the_second_run_comes_from_the_cache(host, server, models):
    def cached():
        loader = {"class_type": LOADER, "inputs": {"model": NAME, "download": True}}
        capture = {"class_type": "DeepBlendTest_Capture", "inputs": {"name": "model", "value": ["1", 0]}}
        run = host.run({"1": loader, "2": capture})
        assert run.success
        return run.cached

    assert cached() == []
    assert cached() == ["1", "2"]
    assert len(server.requests) == 1
