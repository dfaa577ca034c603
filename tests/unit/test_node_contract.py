"""What the contract of the nodes notices: each of these changes would break somebody's saved workflow or prompt."""

import copy

import pytest

from node_contract import differences, files

CONTRACT = (
    {
        "image": ("IMAGE", {}),
        "model": ("COMBO", files("known.pth")),
        "shape": ("COMBO", {"default": "disk", "options": ["disk", "square"]}),
        "width": ("INT", {"default": 4, "min": 1, "max": 64}),
    },
    {"mask": ("MASK", {}), "boxes": ("BOUNDING_BOX", {"forceInput": True})},
    {"image": "IMAGE", "mask": "MASK"},
)
# In the form of /object_info, with what the contract leaves open: tooltips, and a file that somebody has.
PUBLISHED = {
    "input": {
        "required": {
            "image": ["IMAGE", {"tooltip": "the picture"}],
            "model": ["COMBO", {"options": ["known.pth", "mine.pth"]}],
            "shape": ["COMBO", {"default": "disk", "options": ["disk", "square"], "multiselect": False}],
            "width": ["INT", {"default": 4, "min": 1, "max": 64, "tooltip": "pixels"}],
        },
        "optional": {"mask": ["MASK", {}], "boxes": ["BOUNDING_BOX", {"forceInput": True}]},
    },
    "input_order": {"required": ["image", "model", "shape", "width"], "optional": ["mask", "boxes"]},
    "is_input_list": False,
    "output": ["IMAGE", "MASK"],
    "output_name": ["image", "mask"],
    "output_is_list": [False, False],
}


def with_order(info, group, order):
    """The inputs of a group in another order, or fewer or more of them."""
    everything = {**PUBLISHED["input"]["required"], **PUBLISHED["input"]["optional"], "new": ["INT", {"default": 0}]}
    info["input"][group] = {name: everything[name] for name in order}
    info["input_order"][group] = order


def rename(info):
    info["input"]["optional"]["region"] = info["input"]["optional"].pop("mask")
    info["input_order"]["optional"] = ["region", "boxes"]


def make_optional(info):
    with_order(info, "required", ["image", "model", "shape"])
    with_order(info, "optional", ["width", "mask", "boxes"])


def option(group, name, key, value):
    return lambda info: info["input"][group][name][1].update({key: value})


CHANGES = {
    "input removed": (lambda info: with_order(info, "required", ["image", "model", "width"]), "required inputs"),
    "input renamed": (rename, "optional inputs"),
    "input inserted": (
        lambda info: with_order(info, "required", ["image", "new", "model", "shape", "width"]),
        "required inputs",
    ),
    "inputs reordered": (lambda info: with_order(info, "optional", ["boxes", "mask"]), "optional inputs"),
    "required input made optional": (make_optional, "required inputs"),
    "no optional inputs left": (lambda info: info["input_order"].pop("optional"), "optional inputs"),
    "type changed": (lambda info: info["input"]["required"].update(image=["LATENT", {}]), "image is of type LATENT"),
    "choice removed": (option("required", "shape", "options", ["disk"]), "shape has options"),
    "file removed": (option("required", "model", "options", ["mine.pth"]), "no longer offers known.pth"),
    "range narrowed above": (option("required", "width", "max", 32), "width has max 32, not 64"),
    "range narrowed below": (option("required", "width", "min", 2), "width has min 2, not 1"),
    "default changed": (option("required", "width", "default", 5), "width has default 5, not 4"),
    "default lost": (lambda info: info["input"]["required"]["shape"][1].pop("default"), "default 'none'"),
    "socket made a widget": (option("optional", "boxes", "forceInput", False), "boxes has forceInput False"),
    "outputs reordered": (
        lambda info: info.update(output=["MASK", "IMAGE"], output_name=["mask", "image"]),
        "its outputs",
    ),
    "output renamed": (lambda info: info.update(output_name=["picture", "mask"]), "its outputs"),
    "output of another type": (lambda info: info.update(output=["LATENT", "MASK"]), "its outputs"),
    "output removed": (lambda info: info.update(output=["IMAGE"], output_name=["image"]), "its outputs"),
    "output made a list": (lambda info: info.update(output_is_list=[False, True]), "lists"),
    "inputs made lists": (lambda info: info.update(is_input_list=True), "lists"),
}


def test_a_node_as_it_should_be_has_no_differences():
    assert differences(CONTRACT, PUBLISHED) == []


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_that_breaks_workflows_is_noticed(name):
    change, sentence = CHANGES[name]
    info = copy.deepcopy(PUBLISHED)
    change(info)
    found = differences(CONTRACT, info)
    assert any(sentence in each for each in found), found
