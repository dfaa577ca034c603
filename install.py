"""What DeepBlend finds on this machine and what it lacks; fetches model files when it is told to.

    python install.py                   prints what is there, what is missing and how to get it; changes nothing
    python install.py --models sam_b    fetches model files

ComfyUI-Manager runs it without arguments after installing the pack; it then names only packages that are missing.
"""

import argparse
import os
import shlex
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

from segmentation.checkpoints import (
    CHECKPOINTS,
    GROUNDING_DINO,
    VOCABULARY,
    Checkpoint,
    named,
    size_in_words,
)
from segmentation.download import DownloadError, fetch

# What ComfyUI-Manager sets for the scripts that it runs, whose output it shows to everyone at every installation.
MANAGER_SETS = {"COMFYUI_PATH", "COMFYUI_FOLDERS_BASE_PATH"}
HERE = Path(__file__).absolute().parent  # which keeps a link in custom_nodes


class Package(NamedTuple):
    """names: of distributions that provide it, the first of which is advised. without_it: what does not work then."""

    names: tuple[str, ...]
    without_it: str


PACKAGES = (
    Package(("torch",), "nothing works"),
    Package(("torchvision",), "text to box and SAM do not work"),
    Package(("numpy",), "nothing works"),
    Package(("scipy",), "most nodes do not work"),
    Package(("pillow",), "nothing works"),
    Package(("safetensors",), "no .safetensors file can be read"),
    Package(
        ("opencv-python", "opencv-python-headless", "opencv-contrib-python", "opencv-contrib-python-headless"),
        "GrabCut Mask does not work",
    ),
    Package(("transformers",), "text to box does not work"),
    Package(("tokenizers",), "text to box does not work"),
    Package(("segment-anything",), "SAM's own files cannot be used"),
)
OPTIONAL_PACKAGE = "groundingdino-py"
# Its own requirements pin supervision 0.6.0 and bring a second OpenCV, which would break other packs.
OPTIONAL_COMMANDS = (
    ("install", "--no-deps", OPTIONAL_PACKAGE),
    ("install", "addict", "yapf", "timm", "matplotlib", "pycocotools"),
)

ALIASES = {
    "sam_b": ("sam_vit_b_01ec64.pth",),
    "sam_l": ("sam_vit_l_0b3195.pth",),
    "sam_h": ("sam_vit_h_4b8939.pth",),
    "groundingdino_t": ("groundingdino_swint_ogc.pth",),
    "groundingdino_b": ("groundingdino_swinb_cogcoor.pth",),
    "vocabulary": ("vocab.txt",),
    "vgg19": ("vgg19-dcbb9e9d.pth",),
    "pan": ("PANx2_DF2K.pth", "PANx3_DF2K.pth", "PANx4_DF2K.pth"),
}


class Models:
    """Where ComfyUI keeps models."""

    def __init__(self, comfyui: Path | None, base: Path | None, directory: Path | None):
        """comfyui: its program; base: what holds its models folder, if that lies elsewhere; directory: the models folder
        itself, in place of both."""
        self.directory = directory or (base or comfyui) / "models"
        self.registered = {}
        self.problem = None
        if directory is None and comfyui is not None:
            try:
                self._ask(comfyui, base)
            except Exception as error:  # whatever a ComfyUI of another version does
                self.problem = f"{type(error).__name__}: {error}".splitlines()[0]

    def _ask(self, comfyui: Path, base: Path | None) -> None:
        """Ask ComfyUI itself, which also knows the folders of extra_model_paths.yaml."""
        sys.path.insert(0, str(comfyui))
        from comfy.cli_args import args

        if base:
            args.base_directory = str(base)
        import folder_paths

        self.directory = Path(folder_paths.models_dir)
        self.registered = folder_paths.folder_names_and_paths
        extra = comfyui / "extra_model_paths.yaml"
        if extra.is_file():
            from utils.extra_config import load_extra_path_config

            load_extra_path_config(str(extra))

    def folders(self, name: str) -> list[Path]:
        """Those of one kind, in the order in which the nodes look into them."""
        registered = self.registered[name][0] if name in self.registered else ()
        return list(dict.fromkeys([*map(Path, registered), self.directory / name]))

    def find(self, checkpoint: Checkpoint) -> Path | None:
        """The file, in one of its folders or below; one of the right size if there is any."""
        found = [
            path for kind in checkpoint.folders for folder in self.folders(kind) for path in _below(folder, checkpoint)
        ]
        if checkpoint.folders == VOCABULARY:  # one beside a GroundingDINO checkpoint serves as well
            beside = [
                path for kind in GROUNDING_DINO for folder in self.folders(kind) for path in _below(folder, checkpoint)
            ]
            found += [path for path in beside if path.stat().st_size == checkpoint.size]
        return min(found, key=lambda path: path.stat().st_size != checkpoint.size, default=None)


def _below(folder: Path, checkpoint: Checkpoint) -> list[Path]:
    """All files of its name in the folder and its sub-folders."""
    walk = os.walk(folder, followlinks=True)
    return [path for directory, _, _ in walk if (path := Path(directory, checkpoint.name)).is_file()]


def find_models(directory: str | None) -> Models | None:
    """Where models lie: in the given folder; or with the ComfyUI in $COMFYUI_PATH, or that which holds this checkout."""
    if directory:
        return Models(None, None, _absolute(directory))
    holder = HERE.parent.parent if HERE.parent.name == "custom_nodes" else None
    named_path, named_base = os.environ.get("COMFYUI_PATH"), os.environ.get("COMFYUI_FOLDERS_BASE_PATH")
    comfyui = _absolute(named_path) if named_path else holder
    if comfyui is None:
        return None
    # With ComfyUI's --base-directory the folders custom_nodes and models lie together, apart from the program.
    base = None
    if holder and (holder / "models").is_dir() and not (holder / "main.py").is_file():
        base = holder
    elif named_base:
        base = _absolute(named_base)
    return Models(comfyui, base if base != comfyui else None, None)


def _absolute(path: str) -> Path:
    return Path(path).expanduser().resolve()


def report_packages(missing_only: bool = False) -> None:
    """Print which of the needed Python packages are there."""
    for package in PACKAGES:
        name, version = _installed(package.names)
        if version is None:
            _row("missing", name, f"{package.without_it}; {_pip('install', name)}")
        elif not missing_only:
            _row("present", name, version)


def report(models: Models | None) -> None:
    """Print what is there and what is missing."""
    print(f"DeepBlend: Python packages of {sys.executable}")
    report_packages()
    name, version = _installed((OPTIONAL_PACKAGE,))
    if version is None:
        commands = " and ".join(_pip(*command) for command in OPTIONAL_COMMANDS)
        _row("optional", name, f"a second way from text to box; {commands}")
    else:
        _row("present", name, version)
    if models is None:
        print("DeepBlend: model files: no ComfyUI is known here; set COMFYUI_PATH, or name --models-directory")
        return
    print(f"DeepBlend: model files in {models.directory}; all are optional, fetch those of the nodes that you use")
    if models.problem:
        print(f"  ComfyUI could not be asked for further folders ({models.problem})")
    for checkpoint in CHECKPOINTS:
        path, size = models.find(checkpoint), f"{checkpoint.size:,} bytes"
        if path is None:
            _row("missing", checkpoint.name, f"{_alias(checkpoint):<15}  {_described(checkpoint)}")
        elif path.stat().st_size != checkpoint.size:
            _row("wrong size", checkpoint.name, f"{path} has {path.stat().st_size:,} bytes where {size} belong")
        else:
            _row("present", checkpoint.name, str(path))
    print(f"  fetch with  {_command(HERE / 'install.py', '--models', 'NAME')}, NAME from the third column")
    kinds = dict.fromkeys(kind for checkpoint in CHECKPOINTS for kind in checkpoint.folders)
    folders = [folder for kind in kinds for folder in models.folders(kind)]
    print("  looked in   " + ", ".join(_shortened(folder, models.directory) for folder in folders))


def _described(checkpoint: Checkpoint) -> str:
    return f"{checkpoint.purpose}; {size_in_words(checkpoint.size)}, licence {checkpoint.licence}"


def _shortened(folder: Path, directory: Path) -> str:
    return folder.name if folder.parent == directory else str(folder)


def _installed(names: tuple[str, ...]) -> tuple[str, str | None]:
    """Name and version of the first of these distributions that is there; the first name and None if none is."""
    for name in names:
        try:
            return name, metadata.version(name) or "of unknown version"
        except metadata.PackageNotFoundError:
            continue
    return names[0], None


def _pip(*arguments: str) -> str:
    return _command("-m", "pip", *arguments)


def _command(*arguments: str | Path) -> str:
    """A command line of this Python that can be copied into a terminal."""
    words = [sys.executable, *map(str, arguments)]
    return subprocess.list2cmdline(words) if os.name == "nt" else shlex.join(words)


def _alias(checkpoint: Checkpoint) -> str:
    return next(alias for alias, names in ALIASES.items() if checkpoint.name in names)


def _row(state: str, name: str, more: str) -> None:
    print(f"  {state:<10}  {name:<31}  {more}")


def wanted(names: list[str]) -> list[Checkpoint]:
    """The catalogue's entries of these names or aliases, with what they need.

    Raises:
        ValueError: if there is none of a name.
    """
    checkpoints = []
    for name in names:
        files = ALIASES.get(name, (name,))
        if named(files[0]) is None:
            known = ", ".join([*ALIASES, *(checkpoint.name for checkpoint in CHECKPOINTS)])
            raise ValueError(f"there is no model file {name!r}; {known} are known")
        checkpoints += [named(file) for file in files]
    if any(checkpoint.folders == GROUNDING_DINO for checkpoint in checkpoints):
        checkpoints.append(named("vocab.txt"))
    return list(dict.fromkeys(checkpoints))


def fetch_all(checkpoints: list[Checkpoint], models: Models) -> bool:
    """Fetch what is not there yet; whether all of it is there then."""
    complete = True
    for checkpoint in checkpoints:
        path = models.find(checkpoint)
        if path is not None and path.stat().st_size == checkpoint.size:
            print(f"{checkpoint.name} is there already: {path}")
            continue
        print(f"{checkpoint.name}: {_described(checkpoint)}", flush=True)
        try:
            print("  in", fetch(checkpoint, models.folders(checkpoint.folder)[0], Meter()))
        except DownloadError as error:
            print(error, file=sys.stderr)
            complete = False
    return complete


class Meter:
    """Shows how far a download is: in a line that is rewritten on a terminal, in a line for every tenth elsewhere."""

    def __init__(self):
        self.shown = None

    def __call__(self, done: int, total: int) -> None:
        terminal = sys.stdout.isatty()
        percent = 100 * done // total
        step = percent if terminal else percent - percent % 10
        if step != self.shown:
            self.shown = step
            # The line's start is where the next thing is written, be it the next step or the outcome.
            print(f"  {step:3d} % of {size_in_words(total)}", end="\r" if terminal else "\n", flush=True)


def main(arguments: list[str] | None = None) -> int:
    """Exit code: 0; with --models 1 if something could not be fetched, 2 if the command cannot be understood."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="replace")  # a path may hold letters that the terminal does not know
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", metavar="NAME", help=f"fetch these: {', '.join(ALIASES)}, or file names")
    parser.add_argument("--models-directory", metavar="PATH", help="the folder models of a ComfyUI, if it is not found")
    options = parser.parse_args(arguments)
    if options.models is None and MANAGER_SETS <= os.environ.keys() and not sys.stdout.isatty():
        report_packages(missing_only=True)
        return 0
    models = find_models(options.models_directory)
    if options.models is None:
        report(models)
        return 0
    try:
        checkpoints = wanted(options.models)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    if models is None:
        print("no ComfyUI is known here; set COMFYUI_PATH, or name --models-directory", file=sys.stderr)
        return 2
    try:
        return 0 if fetch_all(checkpoints, models) else 1
    except KeyboardInterrupt:
        print("\nstopped; the same command goes on from here", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
