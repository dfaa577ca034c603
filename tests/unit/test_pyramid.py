"""Against SciPy's and OpenCV's convolutions; in these tests a level's first row and column is that of node -1."""

import cv2
import numpy as np
import pytest
import torch
from scipy import ndimage

from deepblend.blending_core.pyramid import expand, fill, reduce, reduced_length, weighted_reduce, with_border
from pictures import to_numpy, to_torch

KERNEL = np.outer([1, 4, 6, 4, 1], [1, 4, 6, 4, 1]) / 256
SIZES = [(1, 1), (2, 3), (16, 16), (17, 16), (37, 53), (64, 33)]
MARGIN = 8  # nodes of an unbounded plane that are looked at around a picture


def random_level(size, channels=3, seed=0):
    """A level that begins with node -1, and the same in the middle of a plane of zeros."""
    level = np.random.default_rng(seed).random((*size, channels))
    plane = np.pad(level, ((MARGIN - 1, MARGIN), (MARGIN - 1, MARGIN), (0, 0)))  # node 0 lies at MARGIN
    return to_torch(level, torch.float64), plane


@pytest.mark.parametrize("size", SIZES)
def test_reduce_is_the_convolution_at_every_second_node_of_an_unbounded_plane(size):
    level, plane = random_level(size)
    reduced = ndimage.convolve(plane, KERNEL[..., None], mode="constant")[::2, ::2]  # node 0 lies at MARGIN / 2
    found = to_numpy(reduce(level))
    first = MARGIN // 2 - 1
    window = (slice(first, first + found.shape[0]), slice(first, first + found.shape[1]))
    assert found.shape[:2] == tuple(map(reduced_length, size))
    assert np.abs(found - reduced[window]).max() < 1e-15
    reduced[window] = 0
    assert not reduced.any()  # no node that touches the level is missing


@pytest.mark.parametrize("size", SIZES)
def test_expand_is_the_convolution_of_the_nodes_spread_apart(size):
    nodes, plane = random_level([reduced_length(length) for length in size])
    spread = np.zeros((2 * plane.shape[0], 2 * plane.shape[1], 3))
    spread[::2, ::2] = plane  # node 0 lies at 2 MARGIN
    expected = ndimage.convolve(spread, 4 * KERNEL[..., None], mode="constant")
    first = 2 * MARGIN - 1
    found = to_numpy(expand(nodes, size))
    assert found.shape[:2] == size
    assert np.abs(found - expected[first : first + size[0], first : first + size[1]]).max() < 1e-15


def test_inside_they_are_those_of_opencv():
    picture = np.random.default_rng(1).random((40, 52, 3))
    level = with_border(to_torch(picture, torch.float64))
    down = cv2.pyrDown(picture)
    reduced = reduce(level)
    assert np.abs(to_numpy(reduced)[2:-3, 2:-3] - down[1:-1, 1:-1]).max() < 1e-12
    up = cv2.pyrUp(down)
    expanded = to_numpy(expand(reduced, level.shape[-2:]))[1:-1, 1:-1]
    assert np.abs(expanded[5:-6, 5:-6] - up[5:-6, 5:-6]).max() < 1e-12


@pytest.mark.parametrize("size", SIZES)
def test_constants_stay_up_to_the_border(size):
    known = torch.rand(1, 1, *size, dtype=torch.float64, generator=torch.Generator().manual_seed(2)) > 0.6
    known[..., 0, 0] = True
    weight = with_border(known.double())
    level = torch.where(weight > 0, 0.25, 100.0).double()
    for _ in range(4):
        means, total = weighted_reduce(level, weight)
        assert (means - 0.25)[total > 0].abs().max() < 1e-12
        assert not means[total == 0].any()
        # Wherever the level below has a weight all nodes that it is expanded from have one.
        expanded = expand(means, level.shape[-2:])
        assert (expanded - 0.25)[weight > 0].abs().max() < 1e-12
        level, weight = means, total


def test_filled_is_what_is_known_and_elsewhere_only_what_the_known_say():
    generator = np.random.default_rng(3)
    known = ndimage.gaussian_filter(generator.standard_normal((60, 80)), 6) > 0.03
    assert 0.2 < known.mean() < 0.6
    picture = 0.4 + 0.2 * generator.random((60, 80, 2))
    weight = with_border(to_torch(known).double())
    results = []
    for unknown in (0.0, 50.0):
        level = with_border(to_torch(np.where(known[..., None], picture, unknown), torch.float64))
        results.append(fill(level, weight))
    assert torch.equal(*results)
    filled = to_numpy(results[0])[1:-1, 1:-1]
    assert np.array_equal(filled[known], picture[known])
    assert 0.4 <= filled.min() <= filled.max() <= 0.6
    # Next to what is known it is a mean of many pixels.
    beside = ndimage.binary_dilation(known) & ~known
    assert np.abs(filled[beside] - 0.5).mean() < 0.03


@pytest.mark.parametrize("size", SIZES)
def test_a_single_known_pixel_fills_everything_and_none_gives_0(size):
    weight = torch.zeros(1, 1, *size, dtype=torch.float64)
    level = torch.rand(1, 3, *size, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    assert not fill(level, weight).any()
    weight[..., -1, 0] = 1
    assert (fill(level, weight) - level[..., -1:, :1]).abs().max() < 1e-12


def test_half_known_is_the_mean_of_its_value_and_of_those_around():
    level = torch.full((1, 1, 33, 33), 0.2, dtype=torch.float64)
    weight = torch.ones_like(level)
    level[..., 16, 16], weight[..., 16, 16] = 0.8, 1e-9
    ignored = fill(level, weight)[..., 16, 16]
    weight[..., 16, 16] = 0.5
    assert ignored == pytest.approx(0.2, abs=1e-6)
    assert 0.5 < fill(level, weight)[..., 16, 16] < 0.6
