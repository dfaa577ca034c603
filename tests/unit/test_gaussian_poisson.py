"""Gaussian-Poisson blending against the same levels written out with dense float64 matrices, and against cosine transforms."""

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.fft import dctn, idctn
from scipy.ndimage import correlate1d, laplace

from deepblend.blending_core import gaussian_poisson
from deepblend.blending_core.composite import composite
from deepblend.blending_core.gaussian_poisson import gaussian_poisson_blend, margin
from oracles import NEIGHBOURS
from pictures import masks, smooth_picture, to_numpy, to_torch
from transfer_sets import TRANSFER, place_inputs

HEIGHT, WIDTH = 21, 26
# Far from 0 and 1, so that nothing is cut off.
OBJECT, TARGET, GUIDE = (0.35 + 0.3 * smooth_picture(HEIGHT, WIDTH, seed) for seed in (1, 2, 3))
MASKS = {name: mask[3 : 3 + HEIGHT, 5 : 5 + WIDTH] for name, mask in masks().items()}
MASKS["whole frame"] = np.ones((HEIGHT, WIDTH), bool)
GAUSSIAN = np.exp(-2.0 * np.array([-1, 0, 1]) ** 2)  # standard deviation 1/2
GAUSSIAN /= GAUSSIAN.sum()


def laplacian_matrix(height, width):
    matrix = np.zeros((height * width,) * 2)
    for y in range(height):
        for x in range(width):
            for dy, dx in NEIGHBOURS:
                if 0 <= y + dy < height and 0 <= x + dx < width:
                    matrix[y * width + x, y * width + x] += 1
                    matrix[y * width + x, (y + dy) * width + x + dx] -= 1
    return matrix


def gaussian_matrix(height, width):
    units = np.eye(height * width).reshape(-1, height, width)
    for axis in (1, 2):
        units = correlate1d(units, GAUSSIAN, axis, mode="reflect")
    return units.reshape(height * width, -1).T


def solve_level(object_, inside, target, guide, color_weight):
    """All terms of the sums as rows of one least-squares problem."""
    height, width = inside.shape
    laplacian, gaussian = laplacian_matrix(height, width), gaussian_matrix(height, width)
    wanted = np.zeros_like(target)
    for y in range(height):
        for x in range(width):
            for dy, dx in NEIGHBOURS:
                v, u = y + dy, x + dx
                if 0 <= v < height and 0 <= u < width:
                    picture = object_ if inside[y, x] or inside[v, u] else target
                    wanted[y, x] += picture[y, x] - picture[v, u]
    free = inside.flatten()
    rows = np.vstack([laplacian, np.sqrt(color_weight) * gaussian[free]])
    known = np.vstack([wanted.reshape(-1, 3), np.sqrt(color_weight) * guide.reshape(-1, 3)[free]])
    result = target.reshape(-1, 3).copy()
    known = known - rows[:, ~free] @ result[~free]
    result[free] = np.linalg.lstsq(rows[:, free], known, rcond=None)[0]
    return result.reshape(target.shape)


def blocks(image):
    """Means of 2 x 2 blocks, fewer pixels at the end."""
    height, width = image.shape[:2]
    return np.array(
        [[image[y : y + 2, x : x + 2].mean((0, 1)) for x in range(0, width, 2)] for y in range(0, height, 2)]
    )


def enlarged(image, height, width):
    for axis in (0, 1):
        image = np.repeat(image, 2, axis)
        image = correlate1d(image, [0.25, 0.5, 0.25], axis, mode="nearest")
    return image[:height, :width]


def expected(object_, inside, target, guide, color_weight, halvings):
    if halvings:
        share = blocks(inside.astype(float))[..., None]
        own = np.where(share > 0, blocks(object_ * inside[..., None]) / np.maximum(share, 1e-9), blocks(object_))
        coarse = expected(own, share[..., 0] > 0, blocks(target), blocks(guide), color_weight, halvings - 1)
        guide = enlarged(coarse, *inside.shape)
    return solve_level(object_, inside, target, guide, color_weight)


def found(object_, inside, target, guide=None, dtype=torch.float32, **options):
    guide = None if guide is None else to_torch(guide, dtype)
    result = gaussian_poisson_blend(
        to_torch(object_, dtype), to_torch(inside), to_torch(target, dtype), guide, **options
    )
    assert result.dtype == dtype
    return to_numpy(result)


def halvings_of(inside, coarsest):
    side, count = np.sqrt(inside.sum()), 0
    while side > coarsest * 2**count:
        count += 1
    return count


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("coarsest", [32, 4])
@pytest.mark.parametrize("color_weight", [0.1, 1.0, 10.0])
def test_equals_dense_least_squares_on_every_level(monkeypatch, mask, coarsest, color_weight):
    monkeypatch.setattr(gaussian_poisson, "COARSEST_SIDE", coarsest)
    inside = MASKS[mask]
    halvings = halvings_of(inside, coarsest)
    assert (halvings > 0) == (coarsest == 4 and inside.sum() > 16)
    right = expected(OBJECT, inside, TARGET, GUIDE, color_weight, halvings)
    assert np.abs(found(OBJECT, inside, TARGET, GUIDE, color_weight=color_weight) - right).max() < 1e-4


@pytest.mark.parametrize("color_weight", [0.1, 3.0])
def test_without_anything_outside_it_is_the_closed_form_of_cosine_transforms(color_weight):
    frequencies = [2 - 2 * np.cos(np.pi * np.arange(length) / length) for length in (HEIGHT, WIDTH)]
    squared = (frequencies[0][:, None] + frequencies[1]) ** 2
    responses = [GAUSSIAN[1] + 2 * GAUSSIAN[2] * (1 - f / 2) for f in frequencies]
    gaussian = responses[0][:, None] * responses[1]
    own, guide = (dctn(image, axes=(0, 1)) for image in (OBJECT, GUIDE))
    spectrum = squared[..., None] * own + color_weight * gaussian[..., None] * guide
    right = idctn(spectrum / (squared + color_weight * gaussian**2)[..., None], axes=(0, 1))
    assert np.abs(found(OBJECT, MASKS["whole frame"], TARGET, GUIDE, color_weight=color_weight) - right).max() < 1e-5


def test_the_guide_is_the_paste_when_there_is_none(monkeypatch):
    monkeypatch.setattr(gaussian_poisson, "COARSEST_SIDE", 4)
    inside = MASKS["ellipse"]
    paste = np.where(inside[..., None], OBJECT, TARGET)
    right = expected(OBJECT, inside, TARGET, paste, 1.0, halvings_of(inside, 4))
    assert np.abs(found(OBJECT, inside, TARGET) - right).max() < 1e-4


@pytest.mark.parametrize("offset", [0.25, -0.2])
def test_colours_are_the_guides_in_large_and_the_details_are_the_objects(offset):
    """The object is the target and a constant more: with the target as guide nothing of the constant may be left."""
    size = 160
    noise = np.random.default_rng(5).uniform(-0.05, 0.05, (size, size, 3))
    target = 0.35 + 0.2 * smooth_picture(size, size, 4) + noise
    inside = np.hypot(*(np.mgrid[:size, :size] - size / 2)) < 60
    blurred = to_numpy(torch.nn.functional.interpolate(to_torch(target), size=(20, 20), mode="area"))
    blurred = to_numpy(torch.nn.functional.interpolate(to_torch(blurred), size=(size, size), mode="bilinear"))
    result = found(target + offset, inside, target, blurred)
    assert np.abs(result - target)[inside].max() < 0.04
    # The guide itself lacks the detail.
    assert np.abs(result - target)[inside].mean() < 0.6 * np.abs(blurred - target)[inside].mean()
    detail, lost = (laplace(image - target, axes=(0, 1))[inside] for image in (result, blurred))
    assert np.abs(detail).mean() < 0.1 * np.abs(lost).mean()

    own = found(target + offset, inside, target)
    middle = np.hypot(*(np.mgrid[:size, :size] - size / 2)) < 30
    assert np.abs(own - target - offset)[middle].max() < 0.05
    across = np.diff(inside.astype(int), axis=1) != 0
    jump = np.abs(np.diff(own - target, axis=1))[across]
    assert jump.max() < 0.2 * abs(offset)


def test_outside_is_the_target_and_hidden_colours_have_no_part():
    inside, alpha = MASKS["ellipse"], np.ones((HEIGHT, WIDTH))
    alpha[:, WIDTH // 2 :] = 0
    results = []
    for hidden in (0.0, 1.0):
        target = np.dstack([np.where(alpha[..., None] > 0, TARGET, hidden), alpha])
        results.append(found(OBJECT, inside, target))
        assert np.array_equal(results[-1][~inside], target[..., :3].astype(np.float32)[~inside])
    assert np.abs(results[0] - results[1])[inside].max() < 1e-5


def test_a_cut_outs_flat_surroundings_have_no_part():
    size = 60
    inside = np.hypot(*(np.mgrid[:size, :size] - size / 2)) < 15
    own, target = 0.2 + 0.3 * smooth_picture(size, size, 1), 0.3 + 0.3 * smooth_picture(size, size, 2)
    white, green = (np.where(inside[..., None], own, color) for color in ([1.0, 1.0, 1.0], [0.1, 0.9, 0.1]))
    results = [found(image, inside, target) for image in (white, green)]
    assert np.abs(results[0] - results[1]).max() < 1e-5


@pytest.mark.parametrize("coarsest", [32, 4])
def test_a_cut_out_of_one_colour_on_nothing_stays_as_it_is(monkeypatch, coarsest):
    """Neither its flat ground nor the hidden colours of a transparent target may come in along its edge."""
    monkeypatch.setattr(gaussian_poisson, "COARSEST_SIDE", coarsest)
    size = 60
    inside = np.hypot(*(np.mgrid[:size, :size] - size / 2)) < 15
    own = np.where(inside[..., None], [0.8, 0.1, 0.1], [1.0, 1.0, 1.0])
    result = found(own, inside, np.zeros((size, size, 4)))
    assert np.abs(result - own)[inside].max() < 1e-4


@pytest.mark.parametrize("coarsest", [32, 4])
def test_what_lies_beyond_the_margin_has_no_part(monkeypatch, coarsest):
    monkeypatch.setattr(gaussian_poisson, "COARSEST_SIDE", coarsest)
    height, width = 150, 170
    own, target = 0.35 + 0.3 * smooth_picture(height, width, 1), 0.35 + 0.3 * smooth_picture(height, width, 2)
    inside = np.zeros((height, width), bool)
    inside[70:87, 81:98] = True
    around = max(margin(to_torch(inside)), 8)
    part = slice(70 - around, 87 + around), slice(81 - around, 98 + around)
    alone = found(own[part], inside[part], target[part])
    # A larger part that begins at the same place of the coarsest grid.
    grid = 2 ** halvings_of(inside, coarsest)
    wider = tuple(slice(span.start - grid, span.stop + grid) for span in part)
    together = found(own[wider], inside[wider], target[wider])[grid:-grid, grid:-grid]
    assert np.abs(alone - together).max() < 1e-4


def test_progress_goes_up_to_the_end_and_a_cancelled_run_stops():
    size = 160
    own, target = smooth_picture(size, size, 1), smooth_picture(size, size, 2)
    inside = np.hypot(*(np.mgrid[:size, :size] - size / 2)) < 60
    steps = []
    found(own, inside, target, on_step=lambda step, total, terms, image: steps.append((step, total, image.shape)))
    numbers = [step for step, _, _ in steps]
    assert numbers == sorted(numbers)
    assert numbers[-1] == steps[-1][1]
    assert {shape for _, _, shape in steps} == {(1, 3, size, size)}

    class CancelledError(Exception):
        pass

    def cancel(*_):
        raise CancelledError

    with pytest.raises(CancelledError):
        found(own, inside, target, on_step=cancel)


@pytest.mark.skipif(not TRANSFER.is_dir(), reason="the developers' pictures are not here")
def test_with_the_authors_colours_at_64_pixels_it_comes_close_to_their_picture():
    """Their picture, made by a network and this equation over the whole frame, is blurred along the frame's edge."""
    inputs = place_inputs("gpgan_lake")
    source, target = (inputs[key].movedim(-1, 1) for key in ("source", "target"))
    mask = (inputs["mask"][:, None] > 0.5).float()
    path = TRANSFER / "gpgan_lake" / "reference_gpgan.png"
    authors = to_torch(np.asarray(Image.open(path).convert("RGB"), np.float64) / 255)
    guide = torch.nn.functional.interpolate(authors, (64, 64), mode="area")
    guide = torch.nn.functional.interpolate(guide, target.shape[-2:], mode="bilinear")
    inner = torch.zeros_like(mask)
    inner[..., 12:-12, 12:-12] = mask[..., 12:-12, 12:-12]

    def decibels(image):
        error = (image - authors).square().mean(1, keepdim=True)
        return -10 * np.log10(float((error * inner).sum() / inner.sum()))

    blended = gaussian_poisson_blend(source, mask > 0, target, guide)
    assert decibels(blended) > decibels(guide) + 2.5
    assert decibels(blended) > decibels(composite(source, mask, target)) + 0.5
