"""Numbers that come through a link, which ComfyUI does not check."""

import math

import pytest
import torch

IMAGE, MASK = torch.rand(1, 20, 30, 3), torch.ones(1, 20, 30)
BOX = {"x": 5, "y": 5, "width": 10, "height": 10}
INPUTS = {
    "DeepBlend_GrabCutMask": {"image": IMAGE, "bboxes": BOX},
    "DeepBlend_MaskMorphology": {"mask": MASK},
    "DeepBlend_PlaceObject": {"source": IMAGE, "target": IMAGE},
    "DeepBlend_PoissonBlend": {"object": IMAGE, "mask": MASK, "target": IMAGE},
    "DeepBlend_GaussianPoisson": {"object": IMAGE, "mask": MASK, "target": IMAGE},
    "DeepBlend_Multiband": {"object": IMAGE, "mask": MASK, "target": IMAGE},
    "DeepBlend_CropObject": {"image": IMAGE, "mask": MASK},
}


@pytest.mark.parametrize(
    ("node", "name", "value", "sentence"),
    [
        ("DeepBlend_GrabCutMask", "iterations", 0, "iterations is 0; numbers from 1 to 50 are accepted"),
        ("DeepBlend_MaskMorphology", "erode", -1, "erode is -1; numbers from 0 to 512 are accepted"),
        ("DeepBlend_PlaceObject", "scale", 0.0, "scale is 0.0; numbers from 0.01 to 32.0 are accepted"),
        ("DeepBlend_PlaceObject", "x", math.nan, "x is nan; numbers from -1.0 to 2.0 are accepted"),
        ("DeepBlend_PoissonBlend", "color_fidelity", -2.0, "color_fidelity is -2.0; numbers from 0.0 to 400.0"),
        ("DeepBlend_GaussianPoisson", "color_weight", 0.0, "color_weight is 0.0; numbers from 0.1 to 10.0"),
        ("DeepBlend_Multiband", "levels", 13, "levels is 13; numbers from 0 to 12 are accepted"),
        ("DeepBlend_CropObject", "context", 0.5, "context is 0.5; numbers from 1.0 to 10.0 are accepted"),
        ("DeepBlend_CropObject", "width", 0, "width is 0; numbers from 64 to 4096 are accepted"),
    ],
)
def test_out_of_range_gets_a_sentence(host, linked, node, name, value, sentence):
    with pytest.raises(RuntimeError, match=sentence):
        host.run_node(node, **INPUTS[node], **{name: linked(value)})
