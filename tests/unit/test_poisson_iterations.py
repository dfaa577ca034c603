"""How many iterations the Poisson solver needs, counted, and what residual they leave, in float64 by plain differences."""

import numpy as np
import pytest
import torch

from deepblend.blending_core.differences import forward_differences
from deepblend.blending_core.poisson import solve_poisson
from pictures import smooth_picture, to_numpy, to_torch

MOST_ITERATIONS = 10
RESIDUAL = 0.01 / 255


def ellipse(size):
    y, x = np.mgrid[:size, :size] / size - 0.5
    return (x / 0.47) ** 2 + (y / 0.44) ** 2 < 1


def holed(size):
    generator, mask = np.random.default_rng(0), ellipse(size)
    for y, x, side in zip(
        *generator.integers(0, size, (2, size // 4)), generator.integers(1, 7, size // 4), strict=True
    ):
        mask[y : y + side, x : x + side] = False
    return mask


def many_components(size):
    return np.random.default_rng(1).random((size, size)) < 0.5


def thin(size):
    """A line 3 pixels wide, wound up."""
    y, x = np.mgrid[:size, :size] - size / 2
    return (np.hypot(y, x) + np.arctan2(y, x) * 10 / np.pi) % 20 < 3


def touching_the_frame(size):
    y, x = np.mgrid[:size, :size]
    return (x > size // 8) & (y > size // 7)


def all_but_one_pixel(size):
    mask = np.ones((size, size), bool)
    mask[0, 0] = False
    return mask


def even(size, inside):
    return 0.0, np.ones((size, size - 1)), np.ones((size - 1, size))


def screened(size, inside):
    """Over seven orders of magnitude, and nothing at most pixels."""
    generator = np.random.default_rng(2)
    screening = 10 ** generator.uniform(-6, 1, (size, size)) * (generator.random((size, size)) < 0.3)
    return screening, *even(size, inside)[1:]


def soft_outline(size, inside):
    """As Auto Blend has it: along the outline conductances over orders of magnitude, and screening in proportion to size."""
    alpha = inside * np.random.default_rng(3).random((size, size)) ** 6
    right, down = (
        np.where(p != q, np.maximum(a, b) ** 2, 1.0)
        for p, q, a, b in (
            (inside[:, 1:], inside[:, :-1], alpha[:, 1:], alpha[:, :-1]),
            (inside[1:], inside[:-1], alpha[1:], alpha[:-1]),
        )
    )
    return 1 / max(1.0, 0.012 * inside.sum() ** 0.5) ** 2, right, down


def barely_held(size, inside):
    """The same with next to no screening."""
    return 1e-5, *soft_outline(size, inside)[1:]


def rough(size, inside):
    """Every pair by itself, 0.1 to 1."""
    generator = np.random.default_rng(4)
    return 0.0, 0.1 ** generator.random((size, size - 1)), 0.1 ** generator.random((size - 1, size))


def parted(size, inside):
    """Rings that conduct 1/20 as well, two pixels wide."""
    y, x = np.mgrid[:size, :size] - size / 3
    pixels = np.where(np.hypot(y, x) % 23 < 2, 0.05, 1.0)
    return 0.0, np.minimum(pixels[:, 1:], pixels[:, :-1]), np.minimum(pixels[1:], pixels[:-1])


def check(size, mask, weights):
    inside = mask(size)
    screening, right, down = weights(size, inside)
    source, target = smooth_picture(size, size, 1), smooth_picture(size, size, 2)
    errors = []
    found = solve_poisson(
        torch.where(to_torch(inside), to_torch(source), to_torch(target)),
        to_torch(inside),
        forward_differences(to_torch(source)),
        screening=to_torch(screening * np.ones(inside.shape)),
        reference=to_torch(source),
        conductance=(to_torch(right), to_torch(down)),
        on_step=lambda step, total, terms, picture: errors.append(terms["error"]),
    )
    assert len(errors) - 1 <= MOST_ITERATIONS
    change = to_numpy(found) - source
    residual = np.broadcast_to(screening, inside.shape)[..., None] * change
    flow = right[..., None] * np.diff(change, axis=1)
    residual[:, :-1] -= flow
    residual[:, 1:] += flow
    flow = down[..., None] * np.diff(change, axis=0)
    residual[:-1] -= flow
    residual[1:] += flow
    assert np.abs(residual[inside]).max() <= RESIDUAL


@pytest.mark.parametrize("size", [64, 101, 256])
@pytest.mark.parametrize("mask", [ellipse, holed, many_components, thin, touching_the_frame, all_but_one_pixel])
def test_ten_iterations_are_enough_for_regions_of_any_shape(size, mask):
    check(size, mask, even)


@pytest.mark.parametrize("size", [64, 101, 256])
@pytest.mark.parametrize("weights", [screened, soft_outline, barely_held, rough, parted])
def test_ten_iterations_are_enough_with_screening_and_conductances(size, weights):
    check(size, ellipse, weights)


@pytest.mark.parametrize(
    ("mask", "weights"), [(ellipse, even), (all_but_one_pixel, even), (holed, soft_outline), (ellipse, barely_held)]
)
def test_ten_iterations_are_enough_for_large_regions(mask, weights):
    check(1024, mask, weights)


def test_a_part_that_nothing_holds_keeps_its_mean():
    """A square inside the region, cut off by conductances of 0, takes the differences and nothing else."""
    size = 48
    inside = ellipse(size)
    square = np.zeros_like(inside)
    square[16:29, 15:30] = True
    right, down = (~np.logical_xor(square[:, 1:], square[:, :-1]), ~np.logical_xor(square[1:], square[:-1]))
    source, start = smooth_picture(size, size, 1), smooth_picture(size, size, 2)
    found = to_numpy(
        solve_poisson(
            to_torch(start),
            to_torch(inside),
            forward_differences(to_torch(source)),
            conductance=(to_torch(right.astype(float)), to_torch(down.astype(float))),
        )
    )
    shift = (found - source)[square]
    assert np.ptp(shift, axis=0).max() < 1e-4
    assert np.abs(shift).max() < 1
