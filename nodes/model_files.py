"""Files of weights for the loader nodes: those on disk, and those of the catalogue that a node may fetch."""

import os
from pathlib import Path

from comfy_api.latest import io

from ..segmentation import checkpoints
from ..segmentation.checkpoints import Checkpoint, size_in_words, sources
from ..segmentation.download import fetch
from .host import Progress, model_directories

SUFFIXES = {".pth", ".pt", ".ckpt", ".safetensors"}
CONFIGURATIONS = {"config.json", "model_index.json"}  # either makes a folder one in Hugging Face's layout
MEGABYTE = 1_000_000


def download_input() -> io.Input:
    """Comes last among a loader's inputs."""
    return io.Boolean.Input(
        "download",
        default=False,
        optional=True,
        tooltip="Fetches the chosen file if it is one that this node knows and it is not there yet: once, from its "
        "authors, checked by size and SHA-256. Off, nothing is ever downloaded.",
    )


def model_choices(folders: tuple[str, ...]) -> list[str]:
    """Names for a loader's list: what lies in these of ComfyUI's folders, and the catalogue's files for them.

    Names are relative to the folder, with forward slashes. A sub-folder in Hugging Face's layout is one name.
    """
    return sorted({*_listed(folders), *(checkpoint.name for checkpoint in _catalogue(folders))})


def find(folders: tuple[str, ...], name: str) -> Path | None:
    """Where a name of `model_choices` lies; None if it is not there. Nothing outside of the folders is ever found."""
    return _listed(folders).get(name)


def find_or_fetch(folders: tuple[str, ...], name: str, download: bool) -> Path:
    """Where a name of `model_choices` lies, after fetching it if it is the catalogue's and `download` is on.

    Raises:
        ValueError: if it is not there and may not, or cannot, be fetched.
        DownloadError: if fetching fails.
    """
    path = find(folders, name)
    if path is not None:
        return path
    known = {checkpoint.name: checkpoint for checkpoint in _catalogue(folders)}
    if name not in known:
        accepted = "".join(f", {other!r}" for other in known)
        raise ValueError(f"model {name!r} is not in {_in_words(folders)}; files that are there{accepted} are accepted")
    return _fetch(known[name], download, f"model {name!r}")


def find_vocabulary(checkpoint: Path) -> Path | None:
    """BERT's vocab.txt for a checkpoint of GroundingDINO: beside it, inside it if it is a folder, or in its own folder."""
    own_folders = [directory for folder in checkpoints.VOCABULARY for directory in model_directories(folder)]
    places = [checkpoint if checkpoint.is_dir() else checkpoint.parent, *own_folders]
    return next((path for place in places if (path := place / "vocab.txt").is_file()), None)


def find_or_fetch_vocabulary(checkpoint: Path, download: bool) -> Path:
    """`find_vocabulary`, after fetching it if `download` is on; raises as `find_or_fetch` does."""
    return find_vocabulary(checkpoint) or _fetch(
        checkpoints.named("vocab.txt"), download, f"model {checkpoint.name!r} needs vocab.txt, which"
    )


def fingerprint(folders: tuple[str, ...], name: str | None, download: bool) -> tuple | str | None:
    """Changes when the file does, or a file below the folder; None if it is not there, or comes through a link.

    With `download` on, a file of the catalogue is known by its name, or its arrival would have everything run twice.
    """
    if download and name in {checkpoint.name for checkpoint in _catalogue(folders)}:
        return name
    path = name and find(folders, name)
    if not path:
        return None
    files = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
    return tuple((str(file), file.stat().st_mtime_ns, file.stat().st_size) for file in files)


def _listed(folders: tuple[str, ...]) -> dict[str, Path]:
    """Where each name lies; of equal names, in the folder that ComfyUI names first."""
    found = {}
    for root in (directory for folder in folders for directory in model_directories(folder)):
        for directory, subfolders, files in os.walk(root, followlinks=True):
            place = Path(directory)
            if place != root and CONFIGURATIONS.intersection(files):
                subfolders.clear()
                found.setdefault(place.relative_to(root).as_posix(), place)
                continue
            for file in files:
                path = place / file
                if path.suffix.lower() in SUFFIXES:
                    found.setdefault(path.relative_to(root).as_posix(), path)
    return found


def _catalogue(folders: tuple[str, ...]) -> list[Checkpoint]:
    return [checkpoint for checkpoint in checkpoints.CHECKPOINTS if checkpoint.folder in folders]


def _fetch(checkpoint: Checkpoint, download: bool, what: str) -> Path:
    if not download:
        raise ValueError(
            f"{what} is not in {_in_words(checkpoint.folders)}; switch on download to fetch its "
            f"{size_in_words(checkpoint.size)} from {sources(checkpoint)[0]}, or put it there by hand"
        )
    progress = Progress(-(-checkpoint.size // MEGABYTE))
    return fetch(
        checkpoint, model_directories(checkpoint.folder)[0], lambda done, _total: progress(-(-done // MEGABYTE))
    )


def _in_words(folders: tuple[str, ...]) -> str:
    return " or ".join(f"models/{folder}" for folder in folders)
