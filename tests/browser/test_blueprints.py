"""The blueprint Object transfer as people use it: put into a graph as one node, wired, set and run."""

import json
from pathlib import Path

import numpy as np
import pytest

WORKFLOWS = Path(__file__).resolve().parents[2] / "workflows"
NAME = "Object transfer"
FIND = """
    const store = document.querySelector("#vue-app").__vue_app__.config.globalProperties.$pinia._s.get("subgraph");
    const entry = store.subgraphBlueprints.find((each) => each.display_name === name);
"""
# As a double click in the node library does.
ADD = f"""(name) => {{
    {FIND}
    const blueprint = store.getBlueprint(entry.name);
    const added = app.canvas._deserializeItems(
        {{ nodes: blueprint.nodes, subgraphs: blueprint.definitions.subgraphs }}, {{ position: [4300, 120] }});
    return added.nodes.values().next().value.id;
}}"""
WIRE = """([id, values, source, target, box, result]) => {
    const node = app.graph.getNodeById(id);
    for (const [name, [from, slot]] of Object.entries({ source, target, bboxes: box }))
        app.graph.getNodeById(from).connect(slot, node, node.inputs.findIndex((each) => each.name === name));
    node.connect(0, app.graph.getNodeById(result), 0);
    for (const [name, value] of Object.entries(values)) node.widgets.find((each) => each.name === name).value = value;
}"""
SOURCE, TARGET, BOX, RESULT, EXPECTED = 1, 2, 3, 23, 18


@pytest.fixture
def template():
    return json.loads((WORKFLOWS / "object_transfer.json").read_text(encoding="utf-8"))


def test_blueprint_stands_in_the_node_library(editor):
    category, description = editor.run_script(
        f"(name) => {{ {FIND} return [entry.category, entry.description]; }}", NAME
    )
    assert category == "Subgraph Blueprints/DeepBlend"
    assert "without a seam" in description


def test_blueprint_does_what_the_nodes_of_the_template_do(editor, template):
    """Its picture is that of the template's own chain up to Stage 1, to the bit."""
    editor.errors.clear()
    editor.load(template)
    node = editor.run_script(ADD, NAME)
    widgets = editor.run_script("id => app.graph.getNodeById(id).widgets.map((each) => each.name)", node)
    assert widgets == ["x", "y", "scale", "rotation", "recipe", "style"]
    values = {"x": 0.887, "y": 0.795, "scale": 1.15, "rotation": -20.0, "recipe": "photograph", "style": 1.0}
    editor.run_script(WIRE, [node, values, [SOURCE, 0], [TARGET, 0], [BOX, 0], RESULT])
    editor.show(node)
    editor.keep("blueprint")
    editor.queue(RESULT, EXPECTED)
    moved, expected = editor.picture(RESULT), editor.picture(EXPECTED)
    assert np.array_equal(moved, expected)
    assert (expected[260:376, 480:590, 2] > expected[260:376, 480:590, 0] + 10).any()
    assert editor.errors == []
