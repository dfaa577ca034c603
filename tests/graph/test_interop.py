"""Our nodes wired to ComfyUI's own in real graphs: boxes, points and masks pass both ways.

Where a node of ComfyUI needs a network, the network alone is a stand-in; the node itself is the real one.
"""

from collections import OrderedDict

import pytest
import torch
from torch import nn

SCENE = torch.full((2, 96, 144, 3), 0.5)
SCENE[0, 18:48, 12:60] = torch.tensor([0.8, 0.3, 0.2])
SCENE[1, 40:80, 90:130] = torch.tensor([0.8, 0.3, 0.2])
OBJECTS = torch.zeros(2, 96, 144)
OBJECTS[0, 18:48, 12:60] = OBJECTS[1, 40:80, 90:130] = 1
TARGET = torch.rand(1, 100, 150, 3, generator=torch.Generator().manual_seed(0))


class Sam3(nn.Module):
    """The network that SAM3 Detect calls: of a box all that is in it, and of any text one box of fractions."""

    BOX = 11.6, 17.7, 60.2, 48.4

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def forward_segment(self, frame, point_inputs=None, box_inputs=None, mask_inputs=None):
        if mask_inputs is not None:
            return mask_inputs
        rows, columns = torch.meshgrid(torch.arange(252) * 4, torch.arange(252) * 4, indexing="ij")
        if box_inputs is None:
            x, y = point_inputs["point_coords"][0, 0]
            return torch.where((columns - x) ** 2 + (rows - y) ** 2 < 60**2, 9.0, -9.0)[None, None]
        (left, top), (right, bottom) = box_inputs[0].tolist()
        inside = (columns >= left) & (columns < right) & (rows >= top) & (rows < bottom)
        return torch.where(inside, 9.0, -9.0)[None, None]

    def forward(self, frame, text_embeddings, text_mask, boxes, threshold, orig_size):
        return {
            "boxes": torch.tensor([[self.BOX]]),
            "scores": torch.tensor([[4.0]]),
            "masks": torch.full((1, 1, 252, 252), -9.0),
        }


@pytest.fixture
def sam3(host, linked):
    model = nn.Module()
    model.diffusion_model = Sam3()
    model.get_dtype = lambda: torch.float32
    from stand_ins import managed

    return linked(managed(model))


@pytest.fixture(scope="module")
def vocabulary(tmp_path_factory):
    from deepblend.segmentation.vocabulary import read_vocabulary
    from grounding_dino_networks import tiny_vocabulary

    return read_vocabulary(tiny_vocabulary(tmp_path_factory.mktemp("vocabulary")))


@pytest.fixture
def text_to_box(host, linked, vocabulary):
    """A Text to Box node on the scene, with a stand-in that finds colours."""
    from stand_ins import ColorDetector, managed

    handle = {"patcher": managed(ColorDetector(vocabulary)), "config": {"name": "", "vocabulary": vocabulary}}
    inputs = {
        "model": linked(handle),
        "image": SCENE,
        "prompt": "red",
        "box_threshold": 0.3,
        "select": "all",
        "index": 0,
    }
    return {"class_type": "DeepBlend_TextToBox", "inputs": inputs}


def sam_mask(linked, boxes, **inputs):
    """A SAM Mask node on the scene, with a stand-in that follows contrasts."""
    from stand_ins import ContrastSegmenter, managed

    handle = {"patcher": managed(ContrastSegmenter()), "config": {"name": ""}, "embeddings": OrderedDict()}
    inputs = {"model": linked(handle), "image": SCENE, "bboxes": boxes, **inputs}
    widgets = {"candidate": "best", "combine": "union", "soft_edges": True}
    return {"class_type": "DeepBlend_SAMMask", "inputs": {**widgets, **inputs}}


def place_object(mask):
    widgets = {"x": 0.5, "y": 0.5, "scale": 1.0, "rotation": 0.0, "flip": False}
    return {
        "class_type": "DeepBlend_PlaceObject",
        "inputs": {"source": SCENE, "target": TARGET, "mask": mask, **widgets},
    }


def overlap(mask, other):
    return (torch.minimum(mask, other).sum() / torch.maximum(mask, other).sum()).item()


def test_our_boxes_crop(host, text_to_box):
    widgets = {"output_width": 96, "output_height": 64, "padding": 0, "keep_aspect": "stretch"}
    crop = {"class_type": "CropByBBoxes", "inputs": {"image": SCENE, "bboxes": ["1", 0], **widgets}}
    (crops,) = host.run_graph({"1": text_to_box, "2": crop}, ["2", 0])
    assert crops.shape == (2, 64, 96, 3)
    red = (crops - torch.tensor([0.8, 0.3, 0.2])).abs().amax(-1) < 0.02
    assert red.float().mean() > 0.95


def test_our_boxes_are_drawn(host, text_to_box):
    draw = {"class_type": "DrawBBoxes", "inputs": {"image": SCENE, "bboxes": ["1", 0]}}
    (drawn,) = host.run_graph({"1": text_to_box, "2": draw}, ["2", 0])
    changed = (drawn - SCENE).abs().amax(-1) > 0.1
    assert changed[0, 30, 10:16].any() and changed[1, 60, 88:94].any()
    assert not changed[0, 60:].any() and not changed[1, :30].any()


def test_our_boxes_drive_sam3(host, text_to_box, sam3):
    widgets = {"threshold": 0.5, "refine_iterations": 2, "individual_masks": False}
    detect = {"class_type": "SAM3_Detect", "inputs": {"model": sam3, "image": SCENE, "bboxes": ["1", 0], **widgets}}
    masks, placed = host.run_graph({"1": text_to_box, "2": detect, "3": place_object(["2", 0])}, ["2", 0], ["3", 1])
    assert masks.shape == OBJECTS.shape
    assert overlap(masks[:1], OBJECTS[:1]) > 0.9 and overlap(masks[1:], OBJECTS[1:]) > 0.9
    assert (placed.sum((1, 2)) - OBJECTS.sum((1, 2))).abs().max() < 150


def test_boxes_of_sam3_drive_our_masks(host, linked, sam3):
    conditioning = linked([[torch.zeros(1, 4, 8), {}]])
    widgets = {"threshold": 0.5, "refine_iterations": 0, "individual_masks": False}
    inputs = {"model": sam3, "image": SCENE, "conditioning": conditioning, **widgets}
    graph = {
        "1": {"class_type": "SAM3_Detect", "inputs": inputs},
        "2": sam_mask(linked, ["1", 1]),
        "3": {"class_type": "DeepBlend_GrabCutMask", "inputs": {"image": SCENE, "bboxes": ["1", 1], "iterations": 2}},
    }
    boxes, segmented, cut = host.run_graph(graph, ["1", 1], ["2", 0], ["3", 0])
    assert isinstance(boxes[0][0]["x"], float), "the box is no test otherwise"
    assert segmented.shape == cut.shape == OBJECTS.shape
    assert overlap(cut[:1], OBJECTS[:1]) > 0.9


def test_a_box_typed_in_drives_our_masks(host, linked):
    box = {"class_type": "PrimitiveBoundingBox", "inputs": {"x": 4, "y": 10, "width": 64, "height": 46}}
    graph = {
        "1": box,
        "2": sam_mask(linked, ["1", 0]),
        "3": {"class_type": "DeepBlend_GrabCutMask", "inputs": {"image": SCENE, "bboxes": ["1", 0], "iterations": 2}},
    }
    segmented, cut = host.run_graph(graph, ["2", 0], ["3", 0])
    assert overlap(segmented[:1], OBJECTS[:1]) > 0.85 and overlap(cut[:1], OBJECTS[:1]) > 0.9
    assert not cut[1].any()


def test_the_points_that_sam3_takes_drive_sam_mask(host, linked, sam3):
    points = {"class_type": "PrimitiveString", "inputs": {"value": '[{"x": 30, "y": 30}]'}}
    widgets = {"threshold": 0.5, "refine_iterations": 0, "individual_masks": False}
    theirs = {"model": sam3, "image": SCENE, "positive_coords": ["1", 0], **widgets}
    ours = sam_mask(linked, None, positive_coords=["1", 0])
    del ours["inputs"]["bboxes"]
    graph = {"1": points, "2": {"class_type": "SAM3_Detect", "inputs": theirs}, "3": ours}
    their_masks, our_masks = host.run_graph(graph, ["2", 0], ["3", 0])
    assert their_masks[0, 30, 30] == 1 and overlap(our_masks[:1], OBJECTS[:1]) > 0.85


def test_a_mask_of_remove_background_is_placed(host, linked):
    class BackgroundRemoval:
        def encode_image(self, image):
            return OBJECTS.clone()

    remove = {
        "class_type": "RemoveBackground",
        "inputs": {"bg_removal_model": linked(BackgroundRemoval()), "image": SCENE},
    }
    mask, composite = host.run_graph({"1": remove, "2": place_object(["1", 0])}, ["2", 1], ["2", 2])
    assert torch.equal(mask.sum((1, 2)), OBJECTS.sum((1, 2)))
    assert torch.equal(composite[0][mask[0] == 0], TARGET[0][mask[0] == 0])


def test_from_a_phrase_to_a_blend(host, linked, text_to_box):
    """The whole way, with stand-ins for both networks: the named object arrives, in its colours, and nothing else does."""
    widgets = {"edge_softness": 1.0, "color_fidelity": 1.0, "color_containment": 0.0, "color_match": 0.0}
    morphology = {"operation": "erode, then dilate", "erode": 1, "dilate": 1, "shape": "disk", "feather": 0}
    graph = {
        "1": text_to_box,
        "2": sam_mask(linked, ["1", 0]),
        "3": {
            "class_type": "DeepBlend_MaskMorphology",
            "inputs": {"mask": ["2", 0], "fill_holes": True, "keep_largest": True, **morphology},
        },
        "4": place_object(["3", 0]),
        "5": {
            "class_type": "DeepBlend_AutoBlend",
            "inputs": {"object": ["4", 0], "mask": ["4", 1], "target": TARGET, "mode": "tight", **widgets},
        },
    }
    masks, placed, blended = host.run_graph(graph, ["2", 0], ["4", 1], ["5", 0])
    assert overlap(masks[:1], OBJECTS[:1]) > 0.85 and overlap(masks[1:], OBJECTS[1:]) > 0.85
    for frame in range(2):
        outside = placed[frame] == 0
        assert torch.equal(blended[frame][outside], TARGET[0][outside])
        core = blended[frame, 45:55, 70:80]
        torch.testing.assert_close(core.mean((0, 1)), torch.tensor([0.8, 0.3, 0.2]), atol=0.05, rtol=0)
