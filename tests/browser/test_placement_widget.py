"""The placement widget of Place Object, used as a person does, against what ComfyUI then computes."""

import json
from pathlib import Path

import numpy as np
import pytest

WORKFLOWS = Path(__file__).resolve().parents[2] / "workflows"
TARGET = (600, 400)


def workflow(name):
    return json.loads((WORKFLOWS / f"{name}.json").read_text(encoding="utf-8"))


@pytest.fixture
def widget(editor):
    editor.load(workflow("object_transfer"), size=[640, 760])
    return editor.widget()


def test_smoke(editor, widget):
    editor.keep("loaded")
    print(widget.values(), widget.note(), widget.numbers())
    editor.queue(10, 11)
    editor.keep("after_run")
    print(widget.values(), widget.note(), widget.numbers(), editor.prompt())
