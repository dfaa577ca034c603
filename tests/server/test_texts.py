"""Help pages and translations, as the editor gets them."""

import json
from pathlib import Path

import pytest

from make_locales import english_texts

CHECKOUT = Path(__file__).resolve().parents[2]
LOCALES = CHECKOUT / "locales"


@pytest.fixture(scope="session")
def nodes(server):
    """/object_info of this pack's nodes."""
    return {
        node: info
        for node, info in server.get("/object_info").items()
        if info["python_module"] == "custom_nodes.ComfyUI-DeepBlend"
    }


def inputs_of(info):
    return {**info["input"]["required"], **info["input"].get("optional", {})}


def texts(language):
    return json.loads((LOCALES / language / "nodeDefs.json").read_text(encoding="utf-8"))


def test_english_texts_are_those_of_the_schemas(nodes):
    english = texts("en")
    assert english.keys() == nodes.keys()
    for node, info in nodes.items():
        entry = english[node]
        assert (entry["display_name"], entry["description"]) == (info["display_name"], info["description"])
        assert entry["inputs"] == {
            name: {"name": name, "tooltip": options["tooltip"]} for name, (_, options) in inputs_of(info).items()
        }
        outputs = list(entry["outputs"].values())
        assert list(entry["outputs"]) == [str(place) for place in range(len(info["output"]))]
        assert [output["name"] for output in outputs] == info["output_name"]
        assert [output.get("tooltip") for output in outputs] == info["output_tooltips"]


def test_the_command_writes_the_english_texts(server):
    assert english_texts(server.get("/object_info")) == texts("en")


def test_translations_are_served(server):
    served = server.get("/i18n")
    assert {language: served[language]["nodeDefs"] for language in ("en", "zh", "ja", "ko")} == {
        language: texts(language) for language in ("en", "zh", "ja", "ko")
    }
    for language in ("en", "zh", "ja", "ko"):
        own = json.loads((LOCALES / language / "main.json").read_text(encoding="utf-8"))
        assert served[language]["deepblendPlacement"] == own["deepblendPlacement"]


def test_help_pages_are_served_where_the_editor_looks_for_them(server, nodes):
    for node, info in nodes.items():
        folder = info["python_module"].split(".")[1]
        page = (CHECKOUT / "web" / "docs" / node / "en.md").read_text(encoding="utf-8")
        # The second address is for languages that have no page of their own.
        for address in (f"{node}/en.md", f"{node}.md"):
            served = server.get(f"/extensions/{folder}/docs/{address}").decode("utf-8")
            assert served.replace("\r\n", "\n") == page


def choices(info):
    """The options of each list but those of files, which the editor does not translate."""
    for name, (kind, options) in inputs_of(info).items():
        if kind == "COMBO" and name != "model":
            yield name, options["options"]


def test_help_pages_name_every_choice(nodes):
    for node, info in nodes.items():
        page = " ".join((CHECKOUT / "web" / "docs" / node / "en.md").read_text(encoding="utf-8").split())
        missing = [
            f"{name}: {option}" for name, options in choices(info) for option in options if f"*{option}*" not in page
        ]
        assert not missing, node


@pytest.mark.parametrize("language", ["zh", "ja", "ko"])
def test_translations_name_every_choice(nodes, language):
    translated = texts(language)
    for node, info in nodes.items():
        for name, options in choices(info):
            tooltip = translated[node]["inputs"][name]["tooltip"]
            assert not [option for option in options if option not in tooltip], (node, name)
