import numpy as np
import pytest
import torch
from scipy import ndimage

from deepblend.blending_core import multiband
from deepblend.blending_core.auto_blend import HALF, LOOSE, MIXED, SAME_SCENE, TIGHT
from deepblend.blending_core.multiband import (
    MOST_LEVELS,
    _band_weights,
    _blend_bands,
    automatic_levels,
    multiband_blend,
)
from deepblend.blending_core.pyramid import with_border
from deepblend.blending_core.region import spanned_region
from pictures import masks, smooth_picture, to_numpy, to_torch

HEIGHT, WIDTH = 37, 53
NOISE = np.random.default_rng(3).uniform(-0.1, 0.1, (2, HEIGHT, WIDTH, 3))
OBJECT, TARGET = (0.2 + 0.6 * smooth_picture(HEIGHT, WIDTH, seed) + NOISE[seed] for seed in (0, 1))
MASKS = masks() | {"everything": np.ones((HEIGHT, WIDTH), bool)}
TAPS = np.array([1, 4, 6, 4, 1]) / 16
TRANSITION = 2  # nodes
FAR = 10**6


def blend(object_, inside, target, levels, dtype=torch.float64):
    return to_numpy(multiband_blend(to_torch(object_, dtype), to_torch(inside), to_torch(target, dtype), levels))


def ramp(x):
    x = np.clip(x, 0, 1)
    return 3 * x**2 - 2 * x**3


def depth_of(inside):
    """Chessboard distance to the nearest pixel outside; beyond the frame the mask goes on."""
    if inside.all():
        return np.full(inside.shape, FAR)
    return ndimage.distance_transform_cdt(inside, metric="chessboard")


def convolved(plane):
    for axis in (0, 1):
        plane = ndimage.convolve1d(plane, TAPS, axis=axis, mode="constant")
    return plane


def expanded(plane, shape):
    spread = np.zeros(shape)
    spread[::2, ::2] = 4 * plane
    return convolved(spread)


def divided(values, weight):
    return np.divide(values, weight, out=np.zeros_like(values), where=weight > 0)


def blended_on_a_plane(object_, inside, target, levels):
    """The definition, on a plane of zeros so large that no border is ever met."""
    spacing = 2 ** (levels - 1)
    margin = 8 * spacing
    rows, columns = np.nonzero(inside)
    pads = []
    for first, length in ((rows.min(), inside.shape[0]), (columns.min(), inside.shape[1])):
        before = margin + -(margin + first) % spacing  # the first row of the object falls on a node of every level
        pads.append((before, margin + -(before + length + margin) % spacing))
    known = np.pad(inside.astype(float), pads)[..., None]
    mean = np.pad((object_ - target) * inside[..., None], [*pads, (0, 0)])
    around = np.pad(inside, 1, mode="edge")
    depth = np.pad(depth_of(around), [(before - 1, after - 1) for before, after in pads], mode="edge")
    terms = []
    for level in range(levels):
        apart = 2**level
        weight = ramp((depth[::apart, ::apart] - 2 * (apart - 1)) / (TRANSITION * apart))[..., None]
        coarser = convolved(known)[::2, ::2]
        broad = divided(convolved(mean * known)[::2, ::2], coarser)
        term = weight * (mean if level == levels - 1 else mean - expanded(broad, mean.shape))
        terms.append(term)
        mean, known = broad, coarser
    change = terms[-1]
    for term in terms[-2::-1]:
        change = expanded(change, term.shape) + term
    (top, _), (left, _) = pads
    change = change[top : top + inside.shape[0], left : left + inside.shape[1]]
    return np.where(inside[..., None], target + change, target).clip(0, 1)


@pytest.mark.parametrize("levels", [1, 2, 3, 4, 6])
@pytest.mark.parametrize("mask", MASKS)
def test_equals_its_definition_on_an_unbounded_plane(mask, levels):
    inside = MASKS[mask]
    expected = blended_on_a_plane(OBJECT, inside, TARGET, levels)
    assert np.abs(blend(OBJECT, inside, TARGET, levels) - expected).max() < 1e-6
    assert np.abs(blend(OBJECT, inside, TARGET, levels, torch.float32) - expected).max() < 2e-6


@pytest.mark.parametrize("size", [(1, 1), (2, 5), (16, 16), (17, 32), (37, 53)])
@pytest.mark.parametrize("levels", [1, 2, 5, MOST_LEVELS])
def test_with_the_whole_frame_masked_the_object_is_reconstructed_exactly(size, levels):
    generator = np.random.default_rng(0)
    object_, target = generator.random((2, *size, 3))
    assert np.abs(blend(object_, np.ones(size, bool), target, levels) - object_).max() < 1e-14


@pytest.mark.parametrize("levels", [1, 2, 3, 4])
@pytest.mark.parametrize("mask", MASKS)
def test_deep_inside_is_the_object(mask, levels):
    inside = MASKS[mask]
    spacing = 2 ** (levels - 1)
    # Of the coarsest nodes that a pixel is expanded from all have full weight.
    deep = depth_of(np.pad(inside, 1, mode="edge"))[1:-1, 1:-1] >= 2 * (spacing - 1) + (2 + TRANSITION) * spacing
    result = blend(OBJECT, inside, TARGET, levels)
    assert np.abs(result - OBJECT)[deep].max(initial=0) < 1e-12


def test_what_overshoots_is_cut_off():
    """Black and white noise without its mean goes half a unit beyond a black and a white target."""
    noise = np.random.default_rng(1).integers(0, 2, (HEIGHT, WIDTH, 3)).astype(float)
    target = np.repeat(np.arange(WIDTH) < 26, HEIGHT).reshape(WIDTH, HEIGHT).T[..., None] * np.ones(3)
    result = blend(noise, MASKS["ellipse"], target, 6)
    assert result.min() == 0
    assert result.max() == 1
    assert np.abs(result - blended_on_a_plane(noise, MASKS["ellipse"], target, 6)).max() < 1e-6


def test_one_level_is_a_paste_with_a_soft_edge():
    inside = MASKS["ring with a hole"]
    weight = ramp(depth_of(inside) / 2)[..., None]
    result = blend(OBJECT, inside, TARGET, 1)
    assert np.abs(result - (weight * OBJECT + (1 - weight) * TARGET)).max() < 1e-6


@pytest.mark.parametrize("mask", MASKS)
def test_every_band_stays_inside(mask):
    """Without the cut along the mask nothing would leave it."""
    inside = to_torch(MASKS[mask])
    region = spanned_region(inside[0, 0])
    known = with_border(inside[(..., *region)].double())
    difference = known * with_border(to_torch(OBJECT - TARGET, torch.float64)[(..., *region)])
    for levels in range(1, 7):
        weights = [weight.double() for weight in _band_weights(inside, region, levels)]
        change = _blend_bands(difference, known, weights)
        outside = ~inside[(..., *region)].expand(-1, 3, -1, -1)
        assert not change[..., 1:-1, 1:-1][outside].any()


@pytest.mark.parametrize("levels", range(1, 6))
@pytest.mark.parametrize("mask", [name for name in MASKS if name != "random"])
def test_a_constant_step_passes_as_gently_as_its_last_level_allows(mask, levels):
    """Each row of weights rises by 1.5 / TRANSITION from node to node at most, and expanding never makes that steeper."""
    step = 0.5
    object_, target = np.full((HEIGHT, WIDTH, 3), 0.25 + step), np.full((HEIGHT, WIDTH, 3), 0.25)
    change = blend(object_, MASKS[mask], target, levels)[..., 0] - 0.25
    assert change.min() >= -1e-7
    assert change.max() <= step + 1e-7
    steepest = max(np.abs(np.diff(change, axis=axis)).max() for axis in (0, 1))
    assert steepest <= step * 1.5 / TRANSITION / 2 ** (levels - 1) + 1e-6
    if mask in ("inside", "at the left edge", "across the lower right corner") and levels <= 2:
        assert change.max() == pytest.approx(step)
        assert steepest > step * 0.5 / TRANSITION / 2 ** (levels - 1)


@pytest.mark.parametrize("levels", [1, 2, 3])
@pytest.mark.parametrize("side", ["left", "right", "top", "bottom"])
def test_the_frame_is_no_edge(side, levels):
    """Where the mask goes straight across the frame the step is the same along it as further in."""
    inside = np.zeros((41, 60), bool)
    inside[:, 15:50] = True
    if side in ("left", "right"):
        inside = inside.T
    cut = {"left": np.s_[:, 20:], "right": np.s_[:, :20], "top": np.s_[20:], "bottom": np.s_[:20]}[side]
    inside = inside[cut]
    change = blend(np.full((*inside.shape, 3), 0.75), inside, np.full((*inside.shape, 3), 0.25), levels)[..., 0] - 0.25
    lines = change if side in ("top", "bottom") else change.T
    assert lines.max() > 0.49
    assert not lines.min()
    assert np.ptp(lines, axis=0).max() < 1e-6


@pytest.mark.parametrize("levels", [1, 3, 5])
@pytest.mark.parametrize("mask", ["ellipse", "three pieces", "across the lower right corner"])
def test_what_lies_around_the_object_has_no_say(mask, levels):
    inside = MASKS[mask]
    cut_out = np.where(inside[..., None], OBJECT, 1.0)
    assert np.array_equal(blend(OBJECT, inside, TARGET, levels), blend(cut_out, inside, TARGET, levels))


@pytest.mark.parametrize("shift", [(1, 0), (0, 1), (3, 2), (-2, -5)])
def test_moved_with_the_picture_the_result_moves_along(shift):
    inside = MASKS["ellipse"]
    moved = [np.roll(values, shift, (0, 1)) for values in (OBJECT, inside, TARGET)]
    expected = np.roll(blend(OBJECT, inside, TARGET, 4), shift, (0, 1))
    assert np.array_equal(blend(*moved, 4), expected)


def test_a_picture_cut_to_the_surroundings_of_the_object_gives_the_same():
    inside = MASKS["ellipse"]
    region = spanned_region(torch.from_numpy(inside), margin=1)
    cut = [values[region] for values in (OBJECT, inside, TARGET)]
    assert np.array_equal(blend(*cut, 4), blend(OBJECT, inside, TARGET, 4)[region])


@pytest.mark.parametrize("mask", ["at the left edge", "across the lower right corner", "random"])
def test_rows_and_columns_are_alike(mask):
    inside = MASKS[mask]
    turned = blend(OBJECT.swapaxes(0, 1), inside.T, TARGET.swapaxes(0, 1), 4).swapaxes(0, 1)
    assert np.abs(turned - blend(OBJECT, inside, TARGET, 4)).max() < 1e-12


def test_where_the_grid_lies_is_hardly_to_be_seen():
    """A pixel further up and to the left moves the grid under the rest of the object."""
    y, x = np.mgrid[:300, :300] - 155
    inside = np.maximum(abs(0.94 * y + 0.34 * x), abs(0.94 * x - 0.34 * y)) < 90
    top, left = (index.min() for index in np.nonzero(inside))
    object_, target = np.full((300, 300, 3), 0.9), np.full((300, 300, 3), 0.1)
    results = []
    for shift in (1, 2, 5, 11, 16):
        with_pixel = inside.copy()
        with_pixel[top - shift, left - shift] = True
        results.append(blend(object_, with_pixel, target, 5)[inside])
    assert max(np.abs(result - results[0]).max() for result in results) < 0.08 * 0.8


def test_levels_too_coarse_for_the_object_add_nothing_and_leave_the_targets_colours():
    object_, target = np.full((HEIGHT, WIDTH, 3), 0.8), np.full((HEIGHT, WIDTH, 3), 0.3)
    object_[14:22:2] += 0.1
    result = blend(object_, MASKS["ellipse"], target, 6)
    assert np.array_equal(result, blend(object_, MASKS["ellipse"], target, MOST_LEVELS))
    assert result[14:22, 22:30].mean() == pytest.approx(0.3, abs=0.05)
    assert np.abs(result[14:21:2] - result[15:22:2])[:, 22:30].mean() == pytest.approx(0.1, abs=0.01)


def rgba(color, alpha):
    return np.concatenate([color, alpha[..., None]], 2)


def test_on_a_transparent_target_the_object_stays_as_it_is():
    target = rgba(TARGET, np.zeros((HEIGHT, WIDTH)))
    for mask in ("ellipse", "single pixels"):
        inside = MASKS[mask]
        assert np.abs(blend(OBJECT, inside, target, 4) - OBJECT)[inside].max() < 1e-12


def test_an_opaque_target_is_the_same_with_and_without_alpha():
    inside = MASKS["ring with a hole"]
    opaque = blend(OBJECT, inside, rgba(TARGET, np.ones((HEIGHT, WIDTH))), 4)
    assert np.array_equal(opaque, blend(OBJECT, inside, TARGET, 4))


def test_hidden_colours_have_no_part_and_the_visible_ones_pass_on():
    """Left half visible and everywhere brighter than the object by a constant: so it is taken to be on the right."""
    inside = MASKS["ellipse"]
    alpha = np.zeros((HEIGHT, WIDTH))
    alpha[:, :26] = 1
    object_ = OBJECT * 0.7
    results = [
        blend(object_, inside, rgba(np.where(alpha[..., None] > 0, object_ + 0.2, hidden), alpha), 3)
        for hidden in (np.zeros(3), np.ones(3), 1 - object_)
    ]
    for result in results:
        assert np.abs(result - results[0])[inside].max() < 1e-12
    everywhere = blend(object_, inside, object_ + 0.2, 3)
    assert np.abs(results[0] - everywhere)[inside].max() < 1e-12


def test_empty_masks_and_inputs_are_left_alone():
    arguments = to_torch(OBJECT), to_torch(MASKS["ellipse"]), to_torch(TARGET)
    copies = [values.clone() for values in arguments]
    first = multiband_blend(*arguments, 3)
    assert torch.equal(first, multiband_blend(*arguments, 3))
    assert all(torch.equal(a, b) for a, b in zip(arguments, copies, strict=True))
    empty = torch.zeros_like(arguments[1])
    assert torch.equal(multiband_blend(arguments[0], empty, arguments[2], 3), arguments[2])


def automatic_scene(size, ground):
    """A disk of noise on its own ground, cut along its outline or with so much of the ground around it."""
    y, x = np.mgrid[:size, :size] / size - 0.5
    radius = np.hypot(y, x)
    noises = np.random.default_rng(0).uniform(-0.15, 0.15, (2, 32, 32, 3))
    noise, other = (ndimage.zoom(values, (size / 32, size / 32, 1), order=1) for values in noises)
    object_ = np.where(radius[..., None] < 0.38, 0.7 + noise, (0.2, 0.3, 0.2))
    return to_torch(object_), to_torch((radius < 0.38 + ground).astype(float)), to_torch(0.4 + other)


def levels_by_share(inside, share):
    """How many levels leave this share of the object its own broad colours, measured at every pixel."""
    depth = depth_of(inside)[inside]
    kept = [ramp((depth - 2 * (2**level - 1)) / (TRANSITION * 2**level)).mean() for level in range(MOST_LEVELS)]
    return max(sum(value >= share for value in kept), 1)


def test_automatic_levels_follow_the_size_and_the_kind_of_mask():
    """Twice the size has one level more."""
    for ground, share in ((0, 0.7), (0.06, 0.25)):
        found = []
        for size in (128, 256, 512):
            object_, mask, target = automatic_scene(size, ground)
            found.append(automatic_levels(object_, mask, target))
            assert found[-1] == levels_by_share(mask[0, 0].numpy() > 0, share)
        assert found == [found[0], found[0] + 1, found[0] + 2]
    assert automatic_levels(object_, 0 * mask, target) == 1


@pytest.mark.parametrize(("mode", "share"), [(TIGHT, 0.7), (HALF, 0.4), (LOOSE, 0.25), (MIXED, 0), (SAME_SCENE, 0)])
def test_automatic_levels_leave_each_kind_of_mask_its_share_of_own_colours(monkeypatch, mode, share):
    monkeypatch.setattr(multiband, "decide", lambda measures: mode)
    inside = torch.zeros(1, 1, 240, 240)
    inside[..., 20:220, 20:220] = 1
    picture = torch.rand(1, 3, 240, 240, generator=torch.Generator().manual_seed(0))
    levels = automatic_levels(picture, inside, picture.flip(-1))
    if share:
        assert levels == levels_by_share(inside[0, 0].numpy() > 0, share)
    else:
        without, further = (multiband_blend(picture, inside > 0, picture.flip(-1), n) for n in (levels, MOST_LEVELS))
        assert torch.equal(without, further)
        assert not torch.equal(without, multiband_blend(picture, inside > 0, picture.flip(-1), levels - 1))
