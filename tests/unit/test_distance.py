import numpy as np
import pytest
import torch
from scipy import ndimage

from deepblend.blending_core.distance import distance_to_outside
from pictures import masks, to_torch

MASKS = masks()


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("limit", [1, 4, 100])
def test_equals_scipy_up_to_the_limit(mask, limit):
    expected = np.minimum(ndimage.distance_transform_edt(MASKS[mask]), limit)
    found = distance_to_outside(to_torch(MASKS[mask]), limit)
    assert np.allclose(found[0, 0].numpy(), expected, rtol=1e-6, atol=0)


def test_without_outside_the_distance_is_the_limit():
    inside = torch.ones(1, 1, 5, 7, dtype=torch.bool)
    assert torch.equal(distance_to_outside(inside, 9), torch.full((1, 1, 5, 7), 9.0))


def test_samples_are_independent():
    inside = torch.cat([to_torch(MASKS[name]) for name in ("ellipse", "random", "single pixels")])
    together = distance_to_outside(inside, 30)
    alone = torch.cat([distance_to_outside(inside[index : index + 1], 30) for index in range(3)])
    assert torch.equal(together, alone)
