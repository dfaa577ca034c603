"""The help pages of the nodes, which ComfyUI shows in its editor."""

import json
import re
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
PAGES = CHECKOUT / "web" / "docs"
# A test in tests/server holds these against the schemas.
NODES = json.loads((CHECKOUT / "locales" / "en" / "nodeDefs.json").read_text(encoding="utf-8"))
SECTIONS = ["When to use it", "Inputs", "Outputs", "Example", "If it goes wrong"]


def page(node):
    return (PAGES / node / "en.md").read_text(encoding="utf-8")


def sections(node):
    """The page's sections by their heading; the first, which has none, by ""."""
    parts = re.split(r"^## (.*)\n", page(node), flags=re.MULTILINE)
    return dict(zip(["", *parts[1::2]], parts[::2], strict=True))


def explained(section):
    return re.findall(r"^- `(\w+)`: \S", section, re.MULTILINE)


def test_every_node_has_a_page_and_every_page_a_node():
    assert {path.name for path in PAGES.iterdir() if path.is_dir()} == set(NODES)
    assert {path.stem for path in PAGES.iterdir() if path.is_file()} == set(NODES)
    assert {path.relative_to(PAGES).parts[1:] for path in PAGES.rglob("*/*")} == {("en.md",)}


@pytest.mark.parametrize("node", NODES)
def test_every_input_and_output_is_explained_once(node):
    parts = sections(node)
    assert sorted(explained(parts["Inputs"])) == sorted(NODES[node]["inputs"])
    assert explained(parts["Outputs"]) == [output["name"] for output in NODES[node]["outputs"].values()]


@pytest.mark.parametrize("node", NODES)
def test_a_page_says_what_when_how_and_what_may_go_wrong(node):
    parts = sections(node)
    assert [heading for heading in parts if heading in SECTIONS] == SECTIONS
    assert all(part.strip() for part in parts.values())
    graph = re.fullmatch(r"\n*```\n(.*?)```\n*", parts["Example"], re.DOTALL).group(1)
    assert NODES[node]["display_name"] in graph
    assert "→" in graph
    assert 30 <= len(page(node).splitlines()) <= 60


@pytest.mark.parametrize("node", NODES)
def test_a_language_without_a_page_of_its_own_gets_the_english_one(node):
    assert (PAGES / f"{node}.md").read_text(encoding="utf-8") == page(node)
