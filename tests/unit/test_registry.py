"""What the Comfy registry and ComfyUI-Manager read of the pack: metadata, archive, pictures, and the registry's rules.

The rules are those of docs.comfy.org/registry (specifications, publishing, standards), and what `comfy node validate` checks;
its ruff rules (S102, S307, E702) are among those of the lint session.
"""

import ast
import re
import shutil
import subprocess
from pathlib import Path
from urllib.parse import urlparse

import numpy as np
import pytest
from PIL import Image

import make_icon

CHECKOUT = Path(__file__).resolve().parents[2]
# Where ComfyUI and its manager look.
NEEDED = {
    "__init__.py",
    "install.py",
    "pyproject.toml",
    "requirements.txt",
    "README.md",
    "CHANGELOG.md",
    "LICENSE",
}
NEEDED_FOLDERS = ("nodes", "blending_core", "segmentation", "web", "locales", "workflows", "subgraphs")
UNNEEDED_FOLDERS = {"tests", "tools", ".ci"}


@pytest.fixture(scope="module")
def metadata():
    tomllib = pytest.importorskip("tomllib")  # of Python 3.11
    return tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def published():
    """The files of the archive: what git tracks, but for .comfyignore, which has the syntax of .gitignore."""
    if not (CHECKOUT / ".git").exists() or not shutil.which("git"):
        pytest.skip("no git or no git checkout, from which the registry's archive is made")

    def git(*arguments):
        command = ["git", "-c", "safe.directory=*", "-C", str(CHECKOUT), "ls-files", "-z", *arguments]
        listed = subprocess.run(command, capture_output=True, check=True, encoding="utf-8").stdout
        return set(filter(None, listed.split("\0")))

    return git() - git("--cached", "--ignored", "--exclude-from=.comfyignore")


def test_project_is_described_as_the_registry_wants_it(metadata):
    project = metadata["project"]
    assert re.fullmatch(r"[a-z](?:[._-]?[a-z0-9])*", project["name"])
    assert "comfyui" not in project["name"]
    assert re.fullmatch(r"\d+\.\d+\.\d+", project["version"])
    assert project["description"]
    assert project["requires-python"].startswith(">=")
    assert list(project["license"]) == ["file"]
    assert "Apache License" in (CHECKOUT / project["license"]["file"]).read_text(encoding="utf-8")
    assert "Operating System :: OS Independent" in project["classifiers"]
    # ComfyUI warns of a conflict on every machine whose accelerator is not listed, and the processor cannot be listed.
    assert not [each for each in project["classifiers"] if each.startswith("Environment ::")]


def test_comfyui_is_told_what_it_shows(metadata):
    comfy = metadata["tool"]["comfy"]
    assert re.fullmatch(r"[a-z0-9-]+", comfy["PublisherId"])
    assert comfy["DisplayName"]
    assert re.fullmatch(r">=\d+\.\d+\.\d+", comfy["requires-comfyui"])
    minimum = ".".join(comfy["requires-comfyui"].removeprefix(">=").split(".")[:2])
    assert f"ComfyUI {minimum} or newer" in (CHECKOUT / "README.md").read_text(encoding="utf-8")


def test_addresses_of_pictures_lead_to_those_of_the_repository(metadata):
    """A relative path means nothing to the registry; CONTRIBUTING.md says when the addresses are filled in."""
    comfy = metadata["tool"]["comfy"]
    for key, file in (("Icon", "docs/icon.png"), ("Banner", "docs/banner.jpg")):
        if key in comfy:
            address = urlparse(comfy[key])
            assert address.scheme == "https", key
            assert address.path.endswith(f"/{file}"), key


def test_version_is_the_newest_of_the_changelog(metadata):
    headings = re.findall(r"^## (\S+)", (CHECKOUT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert headings[0] == metadata["project"]["version"]
    assert headings == sorted(headings, key=lambda version: [int(part) for part in version.split(".")], reverse=True)


def test_archive_holds_all_that_runs_and_nothing_for_developers(published):
    tracked = {
        path.relative_to(CHECKOUT).as_posix()
        for folder in NEEDED_FOLDERS
        for path in (CHECKOUT / folder).rglob("*")
        if path.is_file() and path.suffix in {".py", ".js", ".css", ".json", ".md", ".jpg"}
    }
    assert NEEDED | tracked <= published
    assert not [name for name in published if name.split("/")[0] in UNNEEDED_FOLDERS]
    assert not [name for name in published if name.startswith("benchmarks/") and name.endswith(".py")]
    assert "noxfile.py" not in published


def test_archive_holds_what_the_readme_links_to(published):
    links = re.findall(r"\]\(([^)#]+)\)", (CHECKOUT / "README.md").read_text(encoding="utf-8"))
    assert links
    assert {link for link in links if "://" not in link} <= published


def test_published_code_keeps_the_registry_s_security_standards(published):
    """No eval or exec, and no process is started, so that no package is installed behind the user's back."""
    scripts = [name for name in published if name.endswith(".py")]
    assert "nodes/deep.py" in scripts
    for name in scripts:
        called = {
            ast.unparse(node.func)
            for node in ast.walk(ast.parse((CHECKOUT / name).read_text(encoding="utf-8")))
            if isinstance(node, ast.Call)
        }
        forbidden = r"eval|exec|compile|__import__|os\.(system|popen|exec\w*|spawn\w*)|pip\..*"
        assert not [each for each in called if re.fullmatch(forbidden, each)], name
        # install.py asks subprocess for the spelling of a command that it prints.
        assert {each for each in called if each.startswith("subprocess.")} <= {"subprocess.list2cmdline"}, name


def test_icon_is_the_one_that_the_script_draws():
    assert (CHECKOUT / "docs" / "icon.svg").read_text(encoding="utf-8") == make_icon.svg()
    with Image.open(CHECKOUT / "docs" / "icon.png") as icon:
        assert icon.width == icon.height <= 400
        assert icon.mode == "RGBA"
        drawn = np.asarray(make_icon.picture(), int)
        assert abs(np.asarray(icon, int) - drawn).max() <= 1  # processors round differently


def test_icon_has_an_object_that_passes_into_its_ground():
    icon = np.asarray(make_icon.picture(), float)
    assert icon[0, 0, 3] == 0
    assert icon[200, 200, 3] == 255
    # Along the diagonal: a step where the object begins, none where it ends.
    diagonal = icon[np.arange(400), np.arange(400), :3]
    steps = abs(np.diff(diagonal, axis=0)).sum(-1)
    radius = make_icon.OBJECT_RADIUS / np.sqrt(2)
    begin, end = round(200 - radius), round(200 + radius)
    assert steps[begin - 3 : begin + 3].max() > 150
    assert steps[end - 20 : end + 10].max() < 10


def test_banner_has_the_registry_s_shape():
    with Image.open(CHECKOUT / "docs" / "banner.jpg") as banner:
        assert banner.format == "JPEG"
        assert banner.width * 9 == banner.height * 21
