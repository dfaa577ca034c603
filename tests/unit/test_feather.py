import numpy as np
import pytest
import torch
from scipy import ndimage

from deepblend.blending_core.feather import feather_inward
from pictures import masks, to_torch

MASKS = masks()


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("width", [1, 3, 12])
def test_follows_the_distance_to_the_edge(mask, width):
    inside = MASKS[mask]
    t = np.minimum(ndimage.distance_transform_edt(inside) / (width + 1), 1)
    expected = 3 * t**2 - 2 * t**3
    found = feather_inward(to_torch(inside.astype(np.float32)), width)[0, 0].numpy()
    assert np.abs(found - expected).max() < 1e-6
    assert np.array_equal(found > 0, inside)


def test_object_cut_by_the_frame_keeps_its_full_value_there():
    mask = torch.zeros(1, 1, 40, 40)
    mask[..., 10:30, :25] = 1
    soft = feather_inward(mask, 6)[0, 0]
    assert torch.equal(soft[20, :19], torch.ones(19))
    assert (soft[20, 19:25].diff() < 0).all()


def test_soft_mask_is_never_raised_and_width_zero_changes_nothing():
    mask = torch.rand(1, 1, 30, 30, generator=torch.Generator().manual_seed(0))
    mask[mask < 0.3] = 0
    assert (feather_inward(mask, 5) <= mask).all()
    assert torch.equal(feather_inward(mask, 0), mask)


def test_full_mask_stays_full():
    assert torch.equal(feather_inward(torch.ones(1, 1, 9, 9), 4), torch.ones(1, 1, 9, 9))
