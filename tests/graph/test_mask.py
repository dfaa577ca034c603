import numpy as np
import pytest
import torch
from scipy import ndimage

NODE = "DeepBlend_MaskMorphology"


def disk(radius):
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    return x**2 + y**2 <= radius**2


def blob():
    """A square with a hole, a speck, and a piece that the frame cuts off."""
    mask = torch.zeros(1, 60, 80)
    mask[:, 20:45, 25:60] = 1
    mask[:, 30:33, 40:44] = 0
    mask[:, 5, 70] = 1
    mask[:, 50:, :10] = 1
    return mask


ELEMENTS = {
    "disk": disk,
    "square": lambda radius: np.ones((2 * radius + 1,) * 2, bool),
    "cross": lambda radius: np.add.outer(np.arange(2 * radius + 1) == radius, np.arange(2 * radius + 1) == radius),
}


def expected(mask, operation, inward, outward, element=disk):
    inward, outward = element(inward), element(outward)
    if operation == "erode, then dilate":
        return ndimage.binary_dilation(ndimage.binary_erosion(mask, inward, border_value=1), outward)
    if operation == "dilate, then erode":
        return ndimage.binary_erosion(ndimage.binary_dilation(mask, outward), inward, border_value=1)
    return ndimage.binary_dilation(mask, outward) & ~ndimage.binary_erosion(mask, inward, border_value=1)


@pytest.mark.parametrize("operation", ["erode, then dilate", "dilate, then erode", "seam band"])
@pytest.mark.parametrize(("inward", "outward"), [(2, 4), (0, 3), (3, 0), (1, 1)])
def test_operations_equal_scipy(host, operation, inward, outward):
    result = host.run_node(NODE, mask=blob(), operation=operation, erode=inward, dilate=outward, fill_holes=False)
    assert np.array_equal(result[0].numpy() > 0, expected(blob()[0].numpy() > 0, operation, inward, outward))


def test_clean_up_comes_first(host):
    cleaned = host.run_node(NODE, mask=blob(), erode=0, dilate=0, fill_holes=True, keep_largest=True)
    wanted = torch.zeros(1, 60, 80)
    wanted[:, 20:45, 25:60] = 1
    assert torch.equal(cleaned, wanted)


def test_protected_pixels_are_never_entered_and_the_feather_reaches_inward(host):
    protect = torch.zeros(1, 60, 80)
    protect[:, :, 62:] = 1
    result = host.run_node(NODE, mask=blob(), erode=0, dilate=8, feather=3, protect=protect, keep_largest=True)
    sharp = host.run_node(NODE, mask=blob(), erode=0, dilate=8, feather=0, protect=protect, keep_largest=True)
    assert not result[protect > 0].any()
    assert torch.equal(result > 0, sharp > 0)
    assert (result <= sharp).all()
    assert (result[0, 30, 58:62].diff() < 0).all()


@pytest.mark.parametrize("operation", ["erode, then dilate", "dilate, then erode", "seam band"])
@pytest.mark.parametrize("shape", ["disk", "square", "cross"])
def test_shape_and_feather_follow_the_formula_on_the_whole_picture(host, operation, shape):
    result = host.run_node(
        NODE, mask=blob(), operation=operation, erode=3, dilate=6, shape=shape, feather=5, fill_holes=False
    )
    wanted = expected(blob()[0].numpy() > 0, operation, 3, 6, ELEMENTS[shape])
    t = np.minimum(ndimage.distance_transform_edt(wanted) / 6, 1)
    assert np.abs(result[0].numpy() - (3 * t**2 - 2 * t**3)).max() < 1e-6


def test_soft_masks_and_batches(host):
    soft = torch.rand(3, 30, 40, generator=torch.Generator().manual_seed(0))
    together = host.run_node(NODE, mask=soft, erode=1, dilate=2, fill_holes=False)
    for index in range(3):
        eroded = ndimage.grey_erosion(soft[index].numpy(), footprint=disk(1), mode="constant", cval=1)
        wanted = ndimage.grey_dilation(eroded, footprint=disk(2), mode="constant", cval=0)
        assert np.array_equal(together[index].numpy(), wanted)


@pytest.mark.parametrize("value", [0.0, 1.0])
@pytest.mark.parametrize("operation", ["erode, then dilate", "dilate, then erode"])
def test_empty_and_full_masks_stay(host, value, operation):
    mask = torch.full((1, 20, 30), value)
    result = host.run_node(NODE, mask=mask, operation=operation, feather=4, keep_largest=True)
    assert torch.equal(result, mask)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            {"protect": torch.zeros(1, 9, 8)},
            "protect is 8×9 pixels but mask is 80×60; protect must have the size of mask",
        ),
        ({"protect": torch.zeros(1, 64, 64)}, "protect is the empty 64×64 mask that Load Image gives"),
        ({"mask": blob().repeat(2, 1, 1), "protect": blob().repeat(3, 1, 1)}, "mask has 2 frames but protect has 3"),
        ({"mask": blob() * float("nan")}, "mask holds 4800 values that are NaN"),
    ],
)
def test_bad_input_gets_a_sentence(host, change, sentence):
    with pytest.raises(RuntimeError, match=sentence):
        host.run_node(NODE, **{"mask": blob(), **change})
