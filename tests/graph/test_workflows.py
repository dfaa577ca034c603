"""The workflows that users get: the API twin runs, and the file for the editor is the same graph."""

import json
from pathlib import Path

import pytest
import skimage.data
import torch
from PIL import Image

WORKFLOWS = Path(__file__).resolve().parents[2] / "workflows"
NAMES = sorted(path.stem for path in WORKFLOWS.glob("*.json"))


@pytest.fixture
def photographs(host):
    import folder_paths

    folder = Path(folder_paths.get_input_directory())
    for name in ("astronaut", "coffee"):
        Image.fromarray(getattr(skimage.data, name)()).save(folder / f"{name}.png")


def load(path):
    return json.loads(path.read_text(encoding="utf-8"))


def widget_names(node_class):
    """Widgets of a node in the order in which the editor stores their values."""
    inputs = node_class.INPUT_TYPES()
    specs = {**inputs.get("required", {}), **inputs.get("optional", {})}
    for name, spec in specs.items():
        options = spec[1] if len(spec) > 1 else {}
        if (isinstance(spec[0], list) or spec[0] in ("INT", "FLOAT", "STRING", "BOOLEAN", "COMBO")) and not options.get(
            "forceInput"
        ):
            yield name
            if options.get("image_upload"):
                yield None  # the upload button takes a place


def to_api(workflow, classes):
    """What the editor would queue for a workflow: node id -> class and inputs."""
    origin = {link[0]: [str(link[1]), link[2]] for link in workflow["links"]}
    prompt = {}
    for node in workflow["nodes"]:
        if node["type"] == "MarkdownNote":
            continue
        values = zip(widget_names(classes[node["type"]]), node["widgets_values"], strict=True)
        inputs = {name: value for name, value in values if name}
        inputs |= {entry["name"]: origin[entry["link"]] for entry in node["inputs"] if entry["link"]}
        prompt[str(node["id"])] = {"class_type": node["type"], "inputs": inputs}
    return prompt


def test_every_workflow_has_its_twin():
    assert NAMES
    assert NAMES == sorted(path.stem for path in (WORKFLOWS / "api").glob("*.json"))


@pytest.mark.parametrize("name", NAMES)
def test_editor_file_and_twin_are_the_same_graph(host, name):
    twin = load(WORKFLOWS / "api" / f"{name}.json")
    twin = {node: {"class_type": entry["class_type"], "inputs": entry["inputs"]} for node, entry in twin.items()}
    assert to_api(load(WORKFLOWS / f"{name}.json"), host.nodes.NODE_CLASS_MAPPINGS) == twin


@pytest.mark.parametrize("name", NAMES)
def test_editor_file_is_consistent(name):
    """Both ends of every link know it, and ids are unique: what the editor otherwise repairs or drops."""
    workflow = load(WORKFLOWS / f"{name}.json")
    nodes = {node["id"]: node for node in workflow["nodes"]}
    assert len(nodes) == len(workflow["nodes"])
    assert workflow["last_node_id"] == max(nodes)
    for link, source, output, target, slot, kind in workflow["links"]:
        assert link in nodes[source]["outputs"][output]["links"]
        assert nodes[target]["inputs"][slot]["link"] == link
        assert nodes[target]["inputs"][slot]["type"] == kind
    assert any(node["type"] == "MarkdownNote" for node in nodes.values())


@pytest.mark.parametrize("name", NAMES)
def test_twin_runs_and_a_second_run_comes_from_the_cache(host, photographs, name):
    prompt = load(WORKFLOWS / "api" / f"{name}.json")
    host.executor = host.new_executor()
    first = host.run(prompt)
    assert first.success, first.error
    assert first.cached == []
    second = host.run(prompt)
    assert second.success
    ours = {node for node, entry in prompt.items() if entry["class_type"].startswith("DeepBlend_")}
    assert ours <= set(second.cached)


@pytest.mark.parametrize("kind", ["auto", "poisson"])
def test_transfer_moves_the_patch_and_nothing_else(host, photographs, kind):
    import folder_paths
    import numpy as np

    prompt = load(WORKFLOWS / "api" / f"{kind}_transfer.json")
    assert host.run(prompt).success
    files = sorted(Path(folder_paths.get_output_directory(), "deepblend").glob(f"{kind}_*.png"))
    result, target = np.asarray(Image.open(files[-1])).astype(int), skimage.data.coffee().astype(int)
    changed = (result != target).any(-1)
    ys, xs = np.nonzero(changed)
    assert 480 < xs.min() < xs.max() < 590
    assert 260 < ys.min() < ys.max() < 376
    patch = torch.from_numpy(result[300:340, 515:550]).float().mean((0, 1))
    assert patch[2] > patch[0]  # the patch is blue, the table is not
