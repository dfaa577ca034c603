import numpy as np
import pytest
import torch
from scipy import ndimage

from deepblend.blending_core.morphology import SHAPES, dilate, erode, seam_band
from pictures import masks, to_torch

MASKS = masks()


def structuring_element(shape, radius):
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    return {
        "disk": x**2 + y**2 <= radius**2,
        "square": np.ones_like(x, bool),
        "cross": (x == 0) | (y == 0),
    }[shape]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("radius", [1, 2, 5, 40, 70])
@pytest.mark.parametrize("mask", ["ellipse", "three pieces", "across the lower right corner", "random"])
def test_binary_masks_equal_scipy_with_the_frame_counted_as_object(shape, radius, mask):
    inside, element = MASKS[mask], structuring_element(shape, radius)
    grown = ndimage.binary_dilation(inside, element)
    shrunk = ndimage.binary_erosion(inside, element, border_value=1)
    assert np.array_equal(dilate(to_torch(inside.astype(float)), radius, shape)[0, 0].numpy() > 0, grown)
    assert np.array_equal(erode(to_torch(inside.astype(float)), radius, shape)[0, 0].numpy() > 0, shrunk)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("radius", [1, 3, 8])
def test_soft_masks_equal_scipy_grey_morphology(shape, radius):
    soft = np.random.default_rng(0).random((37, 53)).astype(np.float32)
    element = structuring_element(shape, radius)
    grown = ndimage.grey_dilation(soft, footprint=element, mode="constant", cval=0)
    shrunk = ndimage.grey_erosion(soft, footprint=element, mode="constant", cval=1)
    assert np.array_equal(dilate(to_torch(soft), radius, shape)[0, 0].numpy(), grown)
    assert np.array_equal(erode(to_torch(soft), radius, shape)[0, 0].numpy(), shrunk)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("radius", [1, 4, 16, 64])
def test_the_edge_moves_by_exactly_the_stated_pixels(shape, radius):
    mask = torch.zeros(1, 1, 201, 221)
    mask[..., 80:121, 90:131] = 1
    grown = dilate(mask, radius, shape)[0, 0]
    assert grown[100].nonzero()[[0, -1], 0].tolist() == [90 - radius, 130 + radius]
    assert grown[:, 110].nonzero()[[0, -1], 0].tolist() == [80 - radius, 120 + radius]
    shrunk = erode(mask, radius, shape)[0, 0]
    assert shrunk[100].sum() == shrunk[:, 110].sum() == max(41 - 2 * radius, 0)


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (9, 1), (2, 2)])
def test_tiny_pictures(size):
    mask = torch.rand(2, 1, *size)
    kept = mask.clone()
    for shape in SHAPES:
        assert torch.equal(dilate(mask, 0, shape), mask)
        assert torch.equal(erode(mask, 0, shape), mask)
        if shape != "cross":
            assert torch.equal(dilate(mask, 20, shape), mask.amax((-1, -2), keepdim=True).expand_as(mask))
            assert torch.equal(erode(mask, 20, shape), mask.amin((-1, -2), keepdim=True).expand_as(mask))
    assert torch.equal(mask, kept)


def test_seam_band_reaches_in_and_out_and_leaves_the_frame_free():
    mask = torch.zeros(1, 1, 60, 60)
    mask[..., :30] = 1  # cut off by the frame on three sides
    band = seam_band(mask, 3, 5)[0, 0]
    assert band[30].nonzero()[:, 0].tolist() == list(range(27, 35))
    assert torch.equal(band, band[30].expand(60, 60))
