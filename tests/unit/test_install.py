"""install.py as a user and as ComfyUI-Manager run it: in a process of its own, in a made-up ComfyUI."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace

import pytest

from deepblend.segmentation.checkpoints import CHECKPOINTS, named
from file_server import file_server

CHECKOUT = Path(__file__).resolve().parents[2]
CONTENT = b"\n".join([b"[PAD]", b"[UNK]", b"[CLS]"])
NOWHERE = "http://127.0.0.1:9"  # a proxy that nobody listens at: any use of the network fails


@pytest.fixture
def site(tmp_path):
    """A folder like a ComfyUI's, with install.py in custom_nodes."""
    pack = tmp_path / "ComfyUI" / "custom_nodes" / "DeepBlend"
    shutil.copytree(CHECKOUT / "segmentation", pack / "segmentation")
    shutil.copy(CHECKOUT / "install.py", pack)
    # As the real ones, they need what an installation script must not import.
    (pack / "__init__.py").write_text("raise ImportError('the pack was imported')")
    (tmp_path / "ComfyUI" / "main.py").touch()
    return SimpleNamespace(comfyui=tmp_path / "ComfyUI", models=tmp_path / "ComfyUI" / "models", pack=pack)


def run(site, *arguments, code=None, **environment):
    """Output, error output and exit code; code: what is executed first in the same process."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("COMFYUI", "HF_"))}
    network = {"http_proxy": NOWHERE, "https_proxy": NOWHERE, "no_proxy": ""}
    command = [sys.executable, "install.py", *arguments]
    if code is not None:
        command = [
            sys.executable,
            "-c",
            f"import sys, install\n{code}\nsys.exit(install.main(sys.argv[1:]))",
            *arguments,
        ]
    done = subprocess.run(
        command, cwd=site.pack, env={**clean, **network, **environment}, capture_output=True, text=True, timeout=60
    )
    return SimpleNamespace(out=done.stdout, err=done.stderr, code=done.returncode)


def row(text, name):
    (line,) = [line for line in text.splitlines() if f" {name} " in line]
    return " ".join(line.split())


def put(site, folder, name, size=None):
    path = site.models / folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.truncate(named(path.name).size if size is None else size)  # takes no room on the disk
    return path


def everything_in(folder):
    return sorted(path for path in folder.rglob("*") if "__pycache__" not in path.parts)


def test_without_arguments_it_tells_what_is_there_and_changes_nothing(site):
    before = everything_in(site.comfyui)
    result = run(site)
    assert (result.code, result.err) == (0, "")
    assert row(result.out, "numpy") == f"present numpy {metadata.version('numpy')}"
    for checkpoint in CHECKPOINTS:
        assert row(result.out, checkpoint.name).startswith(f"missing {checkpoint.name} ")
    assert row(result.out, "sam_vit_b_01ec64.pth").endswith("the quickest; 375 MB, licence Apache-2.0")
    assert row(result.out, "PANx2_DF2K.pth").endswith("1.1 MB, licence none stated")
    assert str(site.models) in result.out
    assert "looked in sams, grounding-dino, groundingdino, bert-base-uncased, perceptual" in " ".join(
        result.out.split()
    )
    assert len(result.out.splitlines()) < 40
    assert everything_in(site.comfyui) == before


def test_nothing_heavy_is_imported_for_it(site):
    code = "import atexit\n"
    code += (
        "atexit.register(lambda: print(sorted({'torch', 'numpy', 'cv2', 'transformers', 'socket'} & set(sys.modules))))"
    )
    heavy = run(site, code=code).out.splitlines()[-1]
    assert set(json.loads(heavy.replace("'", '"'))) <= {"socket"}


def test_missing_packages_come_with_the_command_that_installs_them(site):
    result = run(
        site,
        code="install.metadata.version = lambda name: (_ for _ in ()).throw(install.metadata.PackageNotFoundError)",
    )
    assert result.code == 0
    pip = f"{sys.executable} -m pip install"
    assert row(result.out, "segment-anything").endswith(f"{pip} segment-anything")
    assert row(result.out, "opencv-python") == f"missing opencv-python GrabCut Mask does not work; {pip} opencv-python"
    optional = row(result.out, "groundingdino-py")
    assert optional.startswith("optional groundingdino-py")
    assert optional.endswith(f"{pip} --no-deps groundingdino-py and {pip} addict yapf timm matplotlib pycocotools")


def test_an_opencv_of_another_name_counts(site):
    code = "def version(name):\n    if name == 'opencv-python-headless': return '5.0'\n    raise install.metadata.PackageNotFoundError"
    result = run(site, code=f"{code}\ninstall.metadata.version = version")
    assert row(result.out, "opencv-python-headless") == "present opencv-python-headless 5.0"


def test_files_are_found_in_sub_folders_and_a_wrong_size_is_told(site):
    whole = put(site, "sams/mine", "sam_vit_b_01ec64.pth")
    cut = put(site, "groundingdino", "groundingdino_swint_ogc.pth", size=1000)
    result = run(site)
    assert row(result.out, whole.name) == f"present {whole.name} {whole}"
    assert row(result.out, cut.name) == f"wrong size {cut.name} {cut} has 1,000 bytes where 693,997,677 bytes belong"


def test_a_vocabulary_beside_the_checkpoint_counts_if_it_is_the_right_one(site):
    path = put(site, "grounding-dino", "vocab.txt", size=10)
    assert row(run(site).out, "vocab.txt").startswith("missing")
    put(site, "grounding-dino", "vocab.txt")
    assert row(run(site).out, "vocab.txt") == f"present vocab.txt {path}"


def test_comfyui_manager_sees_only_what_is_missing(site):
    manager = {"COMFYUI_PATH": str(site.comfyui), "COMFYUI_FOLDERS_BASE_PATH": str(site.comfyui)}
    all_there = run(site, **manager, code="install.PACKAGES = install.PACKAGES[:3]")
    assert (all_there.code, all_there.out, all_there.err) == (0, "", "")
    code = "install.PACKAGES = (*install.PACKAGES[:3], install.Package(('no-such-package',), 'nothing works'))"
    lacking = run(site, **manager, code=code)
    (line,) = lacking.out.splitlines()
    assert line.split()[:2] == ["missing", "no-such-package"] and line.endswith("pip install no-such-package")
    assert (lacking.code, lacking.err) == (0, "")


def test_another_comfyui_can_be_named(site, tmp_path):
    other = tmp_path / "other"
    path = other / "models" / "sams" / "sam_vit_b_01ec64.pth"
    site.models = other / "models"
    put(site, "sams", path.name)
    for result in (
        run(site, COMFYUI_PATH=str(other)),
        run(site, COMFYUI_FOLDERS_BASE_PATH=str(other)),
        run(site, "--models-directory", str(other / "models")),
    ):
        assert row(result.out, path.name) == f"present {path.name} {path}"


def test_a_checkout_in_no_comfyui_still_lists_packages(site):
    moved = site.comfyui.parent / "checkout"
    site.pack.rename(moved)
    site.pack = moved
    result = run(site)
    assert result.code == 0
    assert "present" in row(result.out, "numpy")
    assert "no ComfyUI is known here; set COMFYUI_PATH, or name --models-directory" in result.out
    fetching = run(site, "--models", "sam_b")
    assert fetching.code == 2
    assert "no ComfyUI is known here" in fetching.err


def test_the_real_comfyui_tells_its_extra_folders(site, comfyui, tmp_path):
    """A copy of those of its files that this takes, with an extra_model_paths.yaml."""
    for name in ("folder_paths.py", "comfy/cli_args.py", "comfy/options.py", "utils/extra_config.py"):
        (site.comfyui / name).parent.mkdir(exist_ok=True)
        shutil.copy(comfyui / name, site.comfyui / name)
    (site.comfyui / "input").mkdir()
    (site.comfyui / "extra_model_paths.yaml").write_text(f"mine:\n  base_path: {tmp_path}\n  sams: weights/sam\n")
    path = tmp_path / "weights" / "sam" / "sam_vit_l_0b3195.pth"
    path.parent.mkdir(parents=True)
    with path.open("wb") as file:
        file.truncate(named(path.name).size)
    result = run(site)
    assert row(result.out, path.name) == f"present {path.name} {path}"
    assert "could not be asked" not in result.out
    base = tmp_path / "base"
    (base / "models").mkdir(parents=True)
    (base / "input").mkdir()
    based = run(site, COMFYUI_FOLDERS_BASE_PATH=str(base))
    assert f"model files in {base / 'models'};" in based.out
    (site.comfyui / "extra_model_paths.yaml").write_text("mine: [broken")
    broken = run(site)
    assert broken.code == 0
    assert "ComfyUI could not be asked for further folders (" in broken.out


def test_unknown_names_get_a_sentence_with_the_known_ones(site):
    result = run(site, "--models", "sam_b", "sam_xl")
    assert result.code == 2
    (sentence,) = result.err.splitlines()
    assert sentence.startswith("there is no model file 'sam_xl'; sam_b, sam_l,")
    assert "groundingdino_swinb_cogcoor.pth" in sentence
    assert not site.models.exists()


@pytest.mark.parametrize(
    ("name", "files"),
    [
        ("pan", ["PANx2_DF2K.pth", "PANx3_DF2K.pth", "PANx4_DF2K.pth"]),
        ("groundingdino_t", ["groundingdino_swint_ogc.pth", "vocab.txt"]),
        ("groundingdino_swinb_cogcoor.pth", ["groundingdino_swinb_cogcoor.pth", "vocab.txt"]),
        ("vocabulary", ["vocab.txt"]),
        ("vgg19", ["vgg19-dcbb9e9d.pth"]),
        ("sam_h", ["sam_vit_h_4b8939.pth"]),
    ],
)
def test_names_and_short_names_mean_files(site, name, files):
    for file in files:
        put(site, named(file).folder, file)
    result = run(site, "--models", name)
    assert result.code == 0
    assert [line.split(" is there already: ") for line in result.out.splitlines()] == [
        [file, str(site.models / named(file).folder / file)] for file in files
    ]


def test_every_file_has_a_short_name():
    code = "import install, json; print(json.dumps([name for names in install.ALIASES.values() for name in names]))"
    done = subprocess.run([sys.executable, "-c", code], cwd=CHECKOUT, capture_output=True, text=True, check=True)
    assert sorted(json.loads(done.stdout)) == sorted(checkpoint.name for checkpoint in CHECKPOINTS)


VOCABULARY_OF_TESTS = """
import segmentation.checkpoints, hashlib
entry = segmentation.checkpoints.named("vocab.txt")
install.named = lambda name: entry._replace(size={size}, sha256={sha256!r}, urls=entry.urls[:1]) if name == entry.name else None
"""


@pytest.fixture
def mirror():
    with file_server() as server:
        server.files["/google-bert/bert-base-uncased/resolve/main/vocab.txt"] = CONTENT
        yield server


def test_a_file_is_fetched_with_its_progress(site, mirror):
    code = VOCABULARY_OF_TESTS.format(size=len(CONTENT), sha256=hashlib.sha256(CONTENT).hexdigest())
    result = run(site, "--models", "vocabulary", code=code, HF_ENDPOINT=mirror.url, no_proxy="127.0.0.1")
    path = site.models / "bert-base-uncased" / "vocab.txt"
    assert (result.code, result.err) == (0, "")
    assert path.read_bytes() == CONTENT
    assert result.out.splitlines()[1:] == ["    0 % of 0.0 MB", "  100 % of 0.0 MB", f"  in {path}"]


def test_a_file_with_other_content_is_refused(site, mirror):
    result = run(site, "--models", "vocabulary", HF_ENDPOINT=mirror.url, no_proxy="127.0.0.1")
    assert result.code == 1
    assert result.err.startswith(f"vocab.txt could not be fetched into {site.models / 'bert-base-uncased'} (")
    assert f"has {len(CONTENT)} bytes where 231508 belong" in result.err
    assert len(result.err.splitlines()) == 1
    assert everything_in(site.models) == [site.models / "bert-base-uncased"]
