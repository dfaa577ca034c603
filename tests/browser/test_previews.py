"""What the nodes show of their results, in both modes of the editor."""

import json
from pathlib import Path

import pytest

WORKFLOWS = Path(__file__).resolve().parents[2] / "workflows"
GRABCUT, MORPHOLOGY, PLACE, STAGE_1 = 6, 7, 9, 17

# Waits for the pictures that are to be seen in a node, and gives the size of each file.
SHOWN = """async ([id, vue]) => {
    const images = () => vue
        ? [...document.querySelectorAll(`[data-node-id="${id}"] img`)]
        : app.canvas.graph.getNodeById(id).imgs ?? [];
    const end = performance.now() + 50000;
    while (performance.now() < end) {
        const sizes = images().map((each) => [each.naturalWidth, each.naturalHeight]);
        if (sizes.length && sizes.every(([width]) => width)) return sizes;
        await new Promise(requestAnimationFrame);
    }
    return [];
}"""
COMPARISON = """() => {
    app.graph.clear();
    const [image, reference, compare] = ["LoadImage", "LoadImage", "DeepBlend_CompareImages"].map((type, place) => {
        const node = LiteGraph.createNode(type);
        node.pos = [400 * place, 0];
        app.graph.add(node);
        return node;
    });
    image.widgets[0].value = "coffee.png";
    reference.widgets[0].value = "coffee.png";
    image.connect(0, compare, 0);
    reference.connect(0, compare, 1);
    return compare.id;
}"""


@pytest.fixture
def workflow(editor):
    editor.errors.clear()
    yield json.loads((WORKFLOWS / "object_transfer.json").read_text(encoding="utf-8"))
    assert editor.errors == []


def pictures_shown(editor, node_id):
    return editor.run_script(SHOWN, [node_id, editor.vue])


def test_mask_nodes_show_the_picture_with_its_mask(editor, workflow):
    editor.load(workflow, GRABCUT)
    editor.queue(8)
    for node_id in (GRABCUT, MORPHOLOGY):
        editor.show(node_id)
        assert pictures_shown(editor, node_id) == [[512, 512]]
        editor.keep(f"mask_preview_{node_id}")


def test_compare_images_shows_both_pictures_with_nothing_wired_to_its_outputs(editor, workflow):
    node_id = editor.run_script(COMPARISON)
    editor.show(node_id)
    editor.queue(node_id)
    assert pictures_shown(editor, node_id) == [[768, 279]]
    editor.show(node_id)  # drawn again, the node has grown
    editor.keep("comparison")


def test_stage_1_shows_its_losses_while_it_works(editor, workflow):
    nodes = {node["id"]: node for node in workflow["nodes"]}
    nodes[PLACE]["widgets_values"][:3] = [0.5, 0.5, 4.0]  # so large that every evaluation takes its time
    nodes[STAGE_1]["widgets_values"][:2] = ["painting", 1000]
    editor.load(workflow, STAGE_1)
    editor.run_script("() => { app.queuePrompt(0, 1, ['18']); }")
    ((width, height),) = pictures_shown(editor, STAGE_1)
    assert max(width, height) == 512
    editor.keep("stage_1_preview")
    editor.run_script("() => app.api.interrupt()")
    editor.settle(500)
