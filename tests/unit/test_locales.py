"""The texts of the nodes in other languages, which ComfyUI's editor shows in place of the English ones."""

import json
import re
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
LOCALES = CHECKOUT / "locales"
SCRIPTS = {"zh": "[\u4e00-\u9fff]", "ja": "[\u3040-\u30ff]", "ko": "[\uac00-\ud7a3]"}
COORDINATES = {"x", "y"}  # called so in every language


def texts(language):
    return json.loads((LOCALES / language / "nodeDefs.json").read_text(encoding="utf-8"))


def leaves(value, path=()):
    """All texts by their path in the file."""
    if isinstance(value, str):
        return {path: value}
    return {key: leaf for name, part in value.items() for key, leaf in leaves(part, (*path, name)).items()}


ENGLISH = leaves(texts("en"))


def test_languages():
    assert sorted(path.name for path in LOCALES.iterdir()) == sorted(["en", *SCRIPTS])


@pytest.mark.parametrize("language", SCRIPTS)
def test_every_text_is_there_and_none_is_left_over(language):
    assert list(leaves(texts(language))) == list(ENGLISH)


@pytest.mark.parametrize("language", SCRIPTS)
def test_sentences_are_in_the_language(language):
    for path, text in leaves(texts(language)).items():
        if path[-1] in ("description", "tooltip"):
            assert re.search(SCRIPTS[language], text), path
            assert text[-1] in ".。", path


@pytest.mark.parametrize("language", SCRIPTS)
def test_names_are_translated_and_tell_inputs_apart(language):
    translated = texts(language)
    for path, text in leaves(translated).items():
        if path[-1] == "name":
            assert text.strip(), path
            assert (text == ENGLISH[path]) == (text in COORDINATES), path
    for node in translated.values():
        for kind in ("inputs", "outputs"):
            names = [entry["name"] for entry in node[kind].values()]
            assert len(set(names)) == len(names)
    titles = [node["display_name"] for node in translated.values()]
    assert len(set(titles)) == len(titles)


@pytest.mark.parametrize("language", SCRIPTS)
def test_numbers_and_file_names_are_those_of_the_english_text(language):
    for path, text in leaves(texts(language)).items():
        for exact in re.findall(r"\d+\.\d+|\d{2,}|\w+/[\w/-]+|\w+\.(?:pth|txt|json|safetensors)", ENGLISH[path]):
            assert exact in text, (path, exact)


@pytest.mark.parametrize("language", ["en", *SCRIPTS])
def test_texts_that_the_editor_compiles_hold_no_syntax_of_its_messages(language):
    """It reads tooltips as they are, all other texts as messages in which these characters have a meaning."""
    for path, text in leaves(texts(language)).items():
        if path[-1] != "tooltip":
            assert not re.search(r"[{}@|%]", text), path


def widget_texts(language):
    return json.loads((LOCALES / language / "main.json").read_text(encoding="utf-8"))["deepblendPlacement"]


@pytest.mark.parametrize("language", SCRIPTS)
def test_texts_of_the_placement_widget_are_translated_with_the_same_places_for_values(language):
    english, translated = widget_texts("en"), widget_texts(language)
    assert list(translated) == list(english)
    for name, text in translated.items():
        assert re.search(rf"{SCRIPTS[language]}|[\u4e00-\u9fff]", text), name
        for exact in (r"\{\w+\}", r"Page(?:Up|Down)", "Shift|Ctrl|Escape", r"\d+"):
            found = re.findall(exact, text)
            assert set(re.findall(exact, english[name])) <= set(found), (name, exact)
        assert (text[-1] in ".。") == (english[name][-1] == "."), name


@pytest.mark.parametrize("language", ["en", *SCRIPTS])
def test_texts_of_the_placement_widget_hold_no_syntax_but_places_for_values(language):
    for name, text in widget_texts(language).items():
        assert not re.search(r"[{}@|%]", re.sub(r"\{\w+\}", "", text)), name


def test_the_placement_widget_uses_every_text():
    code = "".join(path.read_text(encoding="utf-8") for path in (CHECKOUT / "web" / "place_object").glob("*.js"))
    assert [name for name in widget_texts("en") if f'"{name}"' not in code] == []
    assert set(re.findall(r'\btext\("(\w+)"', code)) <= set(widget_texts("en"))


@pytest.mark.parametrize("language", SCRIPTS)
def test_the_placement_widget_calls_the_inputs_by_their_translated_names(language):
    names = {name: entry["name"] for name, entry in texts(language)["DeepBlend_PlaceObject"]["inputs"].items()}
    for name in ("placedByBox", "unknownBox"):
        for each in ("x", "y", "scale", "bboxes"):
            assert names[each] in widget_texts(language)[name]
