"""README.md and CONTRIBUTING.md name files, headings, commands, templates and nodes: all of them must be there."""

import ast
import json
import re
from pathlib import Path
from urllib.parse import unquote

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
DOCUMENTS = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "benchmarks/EVALUATION.md", "benchmarks/RESULTS.md"]
# Written by a run, or put there by the user.
NOT_OF_THE_REPOSITORY = ("output/", ".cache/", ".nox/", "../shared")


def text_of(document):
    return (CHECKOUT / document).read_text(encoding="utf-8")


def links(document):
    return re.findall(r"\]\(([^)\s]+)\)", text_of(document))


def anchors(document):
    """Of a document's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", re.sub(r"^```.*?^```", "", text_of(document), flags=re.M | re.S), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def names_in_code(document):
    """Paths between backticks that begin with a folder of the repository, without placeholders."""
    folders = {path.name for path in CHECKOUT.iterdir() if path.is_dir() and not path.name.startswith(".")}
    words = [word for code in re.findall(r"`([^`\n]+)`", text_of(document)) for word in code.split()]
    return {
        word
        for word in words
        if word.split("/")[0] in folders and "/" in word and not word.startswith(NOT_OF_THE_REPOSITORY)
    }


def commands(document):
    """Command lines between backticks and in blocks."""
    blocks = re.findall(r"^```\n(.*?)^```", text_of(document), re.MULTILINE | re.DOTALL)
    return [
        *(line for block in blocks for line in block.splitlines()),
        *re.findall(r"`([^`\n]+)`", text_of(document)),
    ]


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_lead_somewhere(document):
    for link in links(document):
        if "://" in link:
            continue
        path, _, anchor = unquote(link).partition("#")
        assert not path or (CHECKOUT / document).parent.joinpath(path).exists(), link
        if anchor:
            assert anchor in anchors(path or document), link


@pytest.mark.parametrize("document", ["README.md", "CONTRIBUTING.md"])
def test_files_that_are_named_are_there(document):
    names = names_in_code(document)
    assert names
    for name in names:
        pattern = re.sub(r"<\w+>", "*", name).rstrip("/")
        assert list(CHECKOUT.glob(pattern)), name


@pytest.mark.parametrize("document", ["README.md", "CONTRIBUTING.md"])
def test_commands_run_sessions_and_scripts_that_exist(document):
    sessions = {
        node.name
        for node in ast.parse(text_of("noxfile.py")).body
        if isinstance(node, ast.FunctionDef) and any("session" in ast.unparse(each) for each in node.decorator_list)
    }
    lines = commands(document)
    named = {name for line in lines for name in re.findall(r"nox -s (\w+)", line)}
    assert named
    assert named <= sessions
    scripts = {name for line in lines for name in re.findall(r"python ([\w/.]+\.py)", line)}
    assert scripts
    assert all((CHECKOUT / script).is_file() for script in scripts), scripts


def test_every_session_is_described():
    sessions = re.findall(r"^@nox\.session\ndef (\w+)", text_of("noxfile.py"), re.MULTILINE)
    assert sessions
    assert [name for name in sessions if f"nox -s {name}`" not in text_of("CONTRIBUTING.md")] == []


def test_the_map_names_every_file_of_the_layers():
    """And none that is gone."""
    block = re.search(r"^```\n(.*?)^```", text_of("CONTRIBUTING.md"), re.MULTILINE | re.DOTALL).group(1)
    mapped = set(re.findall(r"\b(\w+\.py)\b", block))
    there = {
        path.name
        for folder in ("nodes", "blending_core", "segmentation", "diffusion")
        for path in (CHECKOUT / folder).glob("*.py")
        if path.name != "__init__.py"
    }
    assert sorted(there - mapped) == []
    everywhere = {path.name for path in CHECKOUT.rglob("*.py") if ".nox" not in path.parts}
    assert sorted(mapped - everywhere) == []


def test_every_template_has_a_row_and_every_row_a_template():
    there = {path.stem for path in (CHECKOUT / "workflows").glob("*.json")}
    rows = set(re.findall(r"^\| (\w+) \|", text_of("README.md"), re.MULTILINE))
    assert sorted(there - rows) == []
    table = text_of("README.md").split("### Templates")[1].split("\n#")[0]
    assert set(re.findall(r"^\| (\w+) \|", table, re.MULTILINE)) - {"template"} <= there


def test_every_node_is_in_the_overview():
    """Which leads to its section; a link that leads nowhere is found above."""
    nodes = json.loads(text_of("locales/en/nodeDefs.json"))
    overview = text_of("README.md").split("## The nodes")[1].split("\n#")[0]
    assert [node["display_name"] for node in nodes.values() if node["display_name"] not in overview] == []
