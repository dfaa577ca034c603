import numpy as np
import pytest
import torch
from scipy import ndimage

from deepblend.blending_core.differences import adjoint_differences, forward_differences, sum_over_pairs
from deepblend.blending_core.guidance import on_flat_surroundings
from pictures import masks, smooth_picture, to_numpy, to_torch

MASKS = masks()


def test_laplacian_counts_only_neighbours_in_the_frame():
    picture = smooth_picture(11, 13, 0)
    padded = np.pad(picture, ((1, 1), (1, 1), (0, 0)), mode="edge")  # a repeated pixel adds a difference of 0
    expected = -ndimage.laplace(padded[..., 0], mode="constant")[1:-1, 1:-1]
    found = to_numpy(adjoint_differences(forward_differences(to_torch(picture, torch.float64))))[..., 0]
    assert np.abs(found - expected).max() < 1e-12


def test_sum_over_pairs_of_ones_counts_neighbours():
    ones = torch.ones(1, 1, 3, 4)
    count = sum_over_pairs(tuple(1 + d for d in forward_differences(ones)))
    assert count[0, 0].tolist() == [[2, 3, 3, 2], [3, 4, 4, 3], [2, 3, 3, 2]]


def test_difference_operators_are_differentiable():
    picture = torch.rand(1, 2, 4, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(forward_differences, picture)
    assert torch.autograd.gradcheck(lambda x: adjoint_differences(forward_differences(x)), picture)


@pytest.mark.parametrize("mask", ["ellipse", "at the left edge"])
def test_flat_surroundings_are_told_from_real_ones(mask):
    inside = to_torch(MASKS[mask])
    photograph = to_torch(smooth_picture(37, 53, 3))
    cut_out = torch.where(inside, photograph, torch.tensor([0.1, 0.9, 0.3])[:, None, None])
    noisy = cut_out + 0.02 * torch.randn(cut_out.shape, generator=torch.Generator().manual_seed(1))
    both = on_flat_surroundings(torch.cat([cut_out, photograph, noisy]), inside.expand(3, -1, -1, -1))
    assert both.tolist() == [True, False, False]


def test_surroundings_mixed_by_resampling_still_count_as_flat():
    inside = to_torch(MASKS["ellipse"])
    cut_out = torch.where(inside, to_torch(smooth_picture(37, 53, 3)), torch.ones(3, 1, 1))
    blurred = torch.nn.functional.avg_pool2d(cut_out, 5, 1, 2, count_include_pad=False)
    assert on_flat_surroundings(blurred, inside).tolist() == [True]


def test_object_that_fills_the_frame_has_no_surroundings():
    assert on_flat_surroundings(torch.ones(1, 3, 9, 9), torch.ones(1, 1, 9, 9, dtype=torch.bool)).tolist() == [False]
