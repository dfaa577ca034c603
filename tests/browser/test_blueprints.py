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
    app.canvas.emitBeforeChange();
    const node = app.graph.getNodeById(id);
    for (const [name, [from, slot]] of Object.entries({ source, target, bboxes: box }))
        app.graph.getNodeById(from).connect(slot, node, node.inputs.findIndex((each) => each.name === name));
    node.connect(0, app.graph.getNodeById(result), 0);
    for (const [name, value] of Object.entries(values)) node.widgets.find((each) => each.name === name).value = value;
    app.canvas.emitAfterChange();
}"""
SOURCE, TARGET, BOX, RESULT, EXPECTED = 1, 2, 3, 23, 18
VALUES = {"x": 0.887, "y": 0.795, "scale": 1.15, "rotation": -20.0, "recipe": "photograph", "style": 1.0}
# By its title button, or from the graph's tabs, which does not say by which node.
OPEN = """async ([id, byItsButton]) => {
    const node = app.rootGraph.getNodeById(id);
    if (byItsButton) app.canvas.openSubgraph(node.subgraph, node);
    else app.canvas.setGraph(node.subgraph);
    await new Promise((resolve) => setTimeout(resolve, 300));
    return node.subgraph.nodes.find((each) => each.comfyClass === "DeepBlend_PlaceObject").id;
}"""
COPY = """(id) => {
    const copy = app.canvas._deserializeItems({ nodes: [app.rootGraph.getNodeById(id).serialize()] }, { position: [4300, 700] });
    return copy.nodes.values().next().value.id;
}"""
NUMBERS = """(id) => Object.fromEntries(app.rootGraph.getNodeById(id).widgets.slice(0, 4).map(({ name, value }) => [name, value]))"""


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
    editor.run_script(WIRE, [node, VALUES, [SOURCE, 0], [TARGET, 0], [BOX, 0], RESULT])
    editor.show(node)
    editor.keep("blueprint")
    editor.queue(RESULT, EXPECTED)
    moved, expected = editor.picture(RESULT), editor.picture(EXPECTED)
    assert np.array_equal(moved, expected)
    assert (expected[260:376, 480:590, 2] > expected[260:376, 480:590, 0] + 10).any()
    assert editor.errors == []


def test_placing_by_hand_inside_the_blueprint_sets_the_numbers_of_its_node(editor, template):
    size = 600, 400
    editor.errors.clear()
    editor.load(template)
    node = editor.run_script(ADD, NAME)
    editor.run_script(WIRE, [node, VALUES, [SOURCE, 0], [TARGET, 0], [BOX, 0], RESULT])
    before = editor.run_script(NUMBERS, node)
    place = editor.run_script(OPEN, [node, True])
    editor.show(place, size=[700, 740])
    widget = editor.widget(place)
    inner = widget.values()
    assert widget.numbers() == "532, 318 px · 1.15× · -20°"
    widget.drag(*widget.to_screen(size, (532, 318), (250, 160)))
    editor.keep("blueprint_inside")
    moved = editor.run_script(NUMBERS, node)
    assert (moved["x"] * size[0], moved["y"] * size[1]) == pytest.approx((250, 160), abs=0.5)
    assert widget.values() == inner
    prompt = editor.run_script("async () => (await app.graphToPrompt()).output")
    assert [each["class_type"] for each in prompt.values()].count("DeepBlend_PlaceObject") == 2
    placing = prompt[f"{node}:{place}"]["inputs"]
    assert {name: placing[name] for name in moved} == moved
    editor.undo()
    assert editor.comes_to(NUMBERS, node, before)

    # A second node with the same subgraph keeps its numbers, and nothing is set where nobody knows which one is meant.
    editor.run_script("() => app.canvas.setGraph(app.rootGraph)")
    copy = editor.run_script(COPY, node)
    editor.run_script(OPEN, [copy, True])
    editor.show(place, size=[700, 740])
    widget.drag(*widget.to_screen(size, (532, 318), (150, 60)))
    assert editor.run_script(NUMBERS, node) == before
    assert editor.run_script(NUMBERS, copy)["x"] == pytest.approx(150 / 600, abs=0.001)
    editor.run_script("() => app.canvas.setGraph(app.rootGraph)")
    assert editor.errors == []
