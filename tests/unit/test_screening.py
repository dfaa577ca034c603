import numpy as np
import pytest
import torch
from scipy import ndimage

from deepblend.blending_core.screening import depth_rising_screening
from pictures import masks, to_torch

MASKS = masks()


def expected_screening(inside, strength):
    depth = ndimage.distance_transform_edt(inside)
    t = np.clip((depth / depth.max() - 0.25) / 0.5, 0, 1)
    return strength / inside.sum() * (3 * t**2 - 2 * t**3)


@pytest.mark.parametrize("mask", ["ellipse", "ring with a hole", "at the left edge", "three pieces", "random"])
def test_equals_the_formula_on_scipy_distances(mask):
    inside = MASKS[mask]
    found = depth_rising_screening(to_torch(inside), 16.0)[0, 0].numpy()
    expected = expected_screening(inside, 16.0)
    assert np.abs(found - expected).max() < 1e-6 * expected.max()


def test_large_pictures_measure_the_depth_on_a_coarser_grid():
    y, x = np.mgrid[:1100, :1501]
    inside = (x - 700) ** 2 + (y - 500) ** 2 < 480**2
    found = depth_rising_screening(to_torch(inside), 16.0)[0, 0].numpy()
    expected = expected_screening(inside, 16.0)
    assert np.abs(found - expected).max() < 0.03 * expected.max()
    assert not found[~inside].any()


def test_full_mask_is_screened_evenly_and_an_empty_one_not_at_all():
    full = torch.ones(1, 1, 8, 10, dtype=torch.bool)
    assert torch.allclose(depth_rising_screening(full, 40.0), torch.full((1, 1, 8, 10), 0.5))
    assert not depth_rising_screening(~full, 40.0).any()


@pytest.mark.parametrize("width", [3, 9, 41])
def test_thin_objects_in_large_pictures_are_screened_too(width):
    inside = np.zeros((1500, 900), bool)
    for row in range(30, 1470):  # a slanting pole
        inside[row, 100 + row // 3 : 100 + row // 3 + width] = True
    found = depth_rising_screening(to_torch(inside), 16.0)[0, 0].numpy()
    expected = expected_screening(inside, 16.0)
    assert np.abs(found - expected).max() < 0.06 * expected.max()


def test_distances_up_to_the_diagonal_count():
    inside = np.ones((60, 60), bool)
    inside[0, 0] = False
    found = depth_rising_screening(to_torch(inside), 16.0)[0, 0].numpy()
    expected = expected_screening(inside, 16.0)
    assert np.abs(found - expected).max() < 1e-6 * expected.max()


def test_samples_are_independent():
    inside = torch.cat([to_torch(MASKS[name]) for name in ("ellipse", "single pixels")])
    together = depth_rising_screening(inside, 16.0)
    assert torch.equal(together, torch.cat([depth_rising_screening(one, 16.0) for one in inside.split(1)]))
