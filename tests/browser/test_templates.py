"""Every template as the editor opens it: what it would queue is what the API twin says."""

import json
from pathlib import Path

import pytest

WORKFLOWS = Path(__file__).resolve().parents[2] / "workflows"
NAMES = sorted(path.stem for path in WORKFLOWS.glob("*.json"))

OPEN = """async name => {
    const answer = await fetch(`/api/workflow_templates/ComfyUI-DeepBlend/${name}.json`);
    await app.loadGraphData(await answer.json(), true, true, name);
    app.canvas.setDirty(true, true);
}"""
# What the editor draws in red, in words.
TROUBLE = """() => {
    const found = [];
    for (const node of app.graph.nodes) {
        const name = `${node.id} ${node.type}`;
        if (!LiteGraph.registered_node_types[node.type]) found.push(`${name} is missing`);
        if (node.has_errors) found.push(`${name} has errors`);
        for (const input of node.inputs ?? []) if (input.hasErrors) found.push(`${name}: ${input.name} is red`);
        for (const { type, name: widget, value, options } of node.widgets ?? []) {
            const values = typeof options?.values === "function" ? options.values() : options?.values;
            if (type === "combo" && !values.includes(value)) found.push(`${name}: ${widget} has no ${value}`);
        }
    }
    return found;
}"""
# As both node designs lay them out; a node that shows more than its size says grows when it is drawn.
OVERLAPS = """() => {
    const boxes = app.graph.nodes.map((node) => {
        const element = document.querySelector(`[data-node-id="${node.id}"]`);
        const { left, top, right, bottom } = element?.getBoundingClientRect() ?? {};
        const [x, y, width, height] = node.boundingRect;
        return { node, box: element ? [left, top, right, bottom] : [x, y, x + width, y + height] };
    });
    const found = [];
    for (const { node, box } of boxes)
        for (const other of boxes) {
            const [left, top, right, bottom] = other.box;
            const isApart = box[0] >= right || left >= box[2] || box[1] >= bottom || top >= box[3];
            if (node.id < other.node.id && !isApart) found.push(`${node.title} and ${other.node.title}`);
        }
    return found;
}"""
QUEUED = """async () => {
    const { output } = await app.graphToPrompt();
    const strip = ([id, { class_type, inputs }]) => [id, { class_type, inputs }];
    return Object.fromEntries(Object.entries(output).map(strip));
}"""


@pytest.mark.parametrize("name", NAMES)
def test_template_opens_whole(editor, name):
    editor.errors.clear()
    editor.run_script(OPEN, name)
    editor.settle(500)
    editor.keep(f"template_{name}")
    assert editor.run_script(TROUBLE) == []
    assert editor.run_script(OVERLAPS) == []
    twin = json.loads((WORKFLOWS / "api" / f"{name}.json").read_text(encoding="utf-8"))
    assert editor.run_script(QUEUED) == {
        node: {"class_type": entry["class_type"], "inputs": entry["inputs"]} for node, entry in twin.items()
    }
    assert not editor.page.get_by_role("dialog").count(), "nothing is missing"
    assert editor.errors == []


def test_an_address_opens_a_template(editor):
    """As tools/serve.py prints it."""
    editor.errors.clear()
    editor.page.goto(f"{editor.url}/?template=poisson_transfer&source=ComfyUI-DeepBlend", wait_until="domcontentloaded")
    opened = "window.app?.graph?.nodes.some((node) => node.type === 'DeepBlend_PoissonBlend')"
    editor.page.wait_for_function(opened)
    editor.settle(500)
    assert editor.run_script(TROUBLE) == []
    assert editor.errors == []
