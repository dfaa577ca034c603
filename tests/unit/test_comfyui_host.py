"""The order in which a ComfyUI is looked for, and the sentence when there is none."""

from types import SimpleNamespace

import pytest

import comfyui_host


@pytest.fixture
def nowhere(monkeypatch, tmp_path):
    """A checkout that lies in no ComfyUI, with an empty cache."""
    monkeypatch.delenv("COMFYUI_PATH", raising=False)
    monkeypatch.setattr(comfyui_host, "CHECKOUT", tmp_path / "checkout")
    monkeypatch.setattr(comfyui_host, "CACHE", tmp_path / "cache")
    return tmp_path


def make_comfyui(folder):
    (folder / "comfy").mkdir(parents=True)
    (folder / "main.py").touch()
    return folder


def test_named_folder_comes_first(nowhere, monkeypatch):
    monkeypatch.setenv("COMFYUI_PATH", str(make_comfyui(nowhere / "mine")))
    make_comfyui(nowhere / "cache" / "ComfyUI-0.30.0")
    assert comfyui_host.find_comfyui() == nowhere / "mine"


def test_named_folder_without_comfyui_is_refused(nowhere, monkeypatch):
    monkeypatch.setenv("COMFYUI_PATH", str(nowhere))
    with pytest.raises(comfyui_host.HostNotFoundError, match=r"there is no ComfyUI \(main.py and comfy/\) in it"):
        comfyui_host.find_comfyui()


def test_installed_checkout_finds_its_own_comfyui(nowhere, monkeypatch):
    comfyui = make_comfyui(nowhere / "ComfyUI")
    monkeypatch.setattr(comfyui_host, "CHECKOUT", comfyui / "custom_nodes" / "ComfyUI-DeepBlend")
    assert comfyui_host.find_comfyui() == comfyui


def test_earlier_download_is_used_again(nowhere):
    cached = make_comfyui(nowhere / "cache" / "ComfyUI-0.30.0")
    assert comfyui_host.find_comfyui() == cached


def test_failed_download_gets_a_sentence_and_leaves_nothing(nowhere, monkeypatch):
    monkeypatch.setattr(comfyui_host.subprocess, "run", lambda *_, **__: SimpleNamespace(returncode=1))
    with pytest.raises(comfyui_host.HostNotFoundError, match="no ComfyUI: COMFYUI_PATH is not set"):
        comfyui_host.find_comfyui()
    assert list((nowhere / "cache").iterdir()) == []


def test_requirements_leave_out_torch_and_what_is_not_used(tmp_path):
    (tmp_path / "requirements.txt").write_text(
        "comfyui-frontend-package==1.47.12\ntorch\ntorchvision\naiohttp>=3.11.8\n\n#extras:\nPyOpenGL>=3\npydantic~=2.0\n"
    )
    assert comfyui_host.needed_requirements(tmp_path) == ["aiohttp>=3.11.8", "pydantic~=2.0"]
    assert "comfyui-frontend-package==1.47.12" in comfyui_host.needed_requirements(tmp_path, with_frontend=True)
