"""The blueprint, a chain of nodes as one node: what it expands to, beside the same chain of a workflow."""

from pathlib import Path

import pytest
import torch

from workflow_files import load, to_api

CHECKOUT = Path(__file__).resolve().parents[2]
BLUEPRINT = CHECKOUT / "subgraphs" / "Object transfer.json"
INPUT = -10  # where the links from outside begin
INPUTS = {
    "source": "IMAGE",
    "target": "IMAGE",
    "bboxes": "BOUNDING_BOX",
    "x": "FLOAT",
    "y": "FLOAT",
    "scale": "FLOAT",
    "rotation": "FLOAT",
    "recipe": "COMBO",
    "style": "FLOAT",
}


@pytest.fixture
def blueprint():
    return load(BLUEPRINT)


@pytest.fixture
def subgraph(blueprint):
    (subgraph,) = blueprint["definitions"]["subgraphs"]
    return subgraph


def expanded(subgraph, classes, **values):
    """The nodes inside, with values for the inputs; and where the output comes from."""
    ends = ("id", "origin_id", "origin_slot", "target_id", "target_slot", "type")
    links = [[link[end] for end in ends] for link in subgraph["links"]]
    prompt = to_api({"nodes": subgraph["nodes"], "links": links}, classes)
    for entry in prompt.values():
        for name, value in entry["inputs"].items():
            if isinstance(value, list) and value[0] == str(INPUT):
                entry["inputs"][name] = values[subgraph["inputs"][value[1]]["name"]]
    (output,) = subgraph["outputs"]
    (origin,) = (link for link in links if link[0] in output["linkIds"])
    return prompt, [str(origin[1]), origin[2]]


def test_blueprint_is_one_node_with_the_inputs_that_people_need(blueprint, subgraph):
    (node,) = blueprint["nodes"]
    assert node["type"] == subgraph["id"]
    assert {each["name"]: each["type"] for each in node["inputs"]} == INPUTS
    assert [each["name"] for each in subgraph["inputs"]] == list(INPUTS)
    assert [each["name"] for each in node["inputs"] if "widget" in each] == list(INPUTS)[3:]
    assert [each["name"] for each in node["outputs"]] == ["image"]
    assert subgraph["category"] == "DeepBlend"
    assert subgraph["description"]


def test_both_ends_of_every_link_know_it(subgraph):
    nodes = {node["id"]: node for node in subgraph["nodes"]}
    for link in subgraph["links"]:
        if link["origin_id"] == INPUT:
            assert link["id"] in subgraph["inputs"][link["origin_slot"]]["linkIds"]
        else:
            assert link["id"] in nodes[link["origin_id"]]["outputs"][link["origin_slot"]]["links"]
        if link["target_id"] in nodes:
            slot = nodes[link["target_id"]]["inputs"][link["target_slot"]]
            assert (slot["link"], slot["type"]) == (link["id"], link["type"])
        else:
            assert link["id"] in subgraph["outputs"][link["target_slot"]]["linkIds"]


def test_its_own_values_are_the_nodes_defaults(host, subgraph):
    """But for the mask's one object: a box holds one."""
    classes = host.nodes.NODE_CLASS_MAPPINGS
    for node in subgraph["nodes"]:
        inputs = classes[node["type"]].INPUT_TYPES()
        specs = {**inputs["required"], **inputs.get("optional", {})}
        named = [each["name"] for each in node["inputs"] if "widget" in each]
        for name, value in zip(named, node["widgets_values"], strict=True):
            assert value == specs[name][1].get("default") or name == "keep_largest", f"{node['type']}: {name}"


def test_it_does_what_the_same_nodes_of_object_transfer_do(host, photographs, subgraph):
    workflow = load(CHECKOUT / "workflows" / "api" / "object_transfer.json")
    workflow["17"]["inputs"] |= {"recipe": "painting", "style": 2.0, "iterations": 30}
    placing, stage = workflow["9"]["inputs"], workflow["17"]["inputs"]
    values = {name: placing[name] for name in ("x", "y", "scale", "rotation")}
    values |= {"recipe": stage["recipe"], "style": stage["style"]}
    values |= {"source": ["s", 0], "target": ["t", 0], "bboxes": ["b", 0]}
    prompt, output = expanded(subgraph, host.nodes.NODE_CLASS_MAPPINGS, **values)
    prompt |= {"s": workflow["1"], "t": workflow["2"], "b": workflow["3"]}
    (image,) = host.run_graph(prompt, output)
    (expected,) = host.run_graph(workflow, ["17", 0])
    assert torch.equal(image, expected)
