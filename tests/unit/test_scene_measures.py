import cv2
import numpy as np
import pytest
import skimage.data
import torch
from scipy import ndimage
from skimage.color import lab2rgb

from deepblend.blending_core.scene_measures import (
    contour_tightness,
    ink,
    measure_scene,
    real_surroundings,
    scene_correlation,
    signed_distance,
)
from pictures import smooth_picture, to_numpy, to_torch

HEIGHT, WIDTH = 240, 260
Y, X = np.mgrid[:HEIGHT, :WIDTH]
RADIUS = np.hypot(Y - 120, X - 130)
DISK = RADIUS < 64
EVERYWHERE = torch.ones(1, 1, HEIGHT, WIDTH, dtype=torch.bool)


def lab_picture(inside, step):
    """Lab picture with a lightness of 50, and 50 + step inside."""
    lab = np.zeros((*inside.shape, 3))
    lab[..., 0] = np.where(inside, 50 + step, 50)
    return lab


def tightness(picture, mask, real=EVERYWHERE):
    return contour_tightness(to_torch(picture), signed_distance(to_torch(mask)), real)


@pytest.mark.parametrize(("step", "share"), [(0, 0), (5, 0), (7, 0.25), (9, 0.5), (11, 0.75), (13, 1), (40, 1)])
def test_a_known_step_along_the_contour_gives_the_known_tightness(step, share):
    assert tightness(lab_picture(DISK, step), DISK) == pytest.approx(share, abs=1e-4)


def test_a_step_along_part_of_the_contour_counts_for_that_part():
    half = np.where((X > 130)[..., None], lab_picture(DISK, 40), lab_picture(DISK, 0))
    assert tightness(half, DISK) == pytest.approx(0.5, abs=0.03)


def straight_tightness(step, moved):
    """What the definition gives for a straight contour and a step `moved` pixels outside it: sums over one row of pixels."""

    def share(offset):
        distance = np.arange(-40, 40) + 0.5
        value = np.where(distance > -moved, step, 0)
        steps = distance + offset + 0.5  # from the pixel just outside the moved contour
        weight = np.exp(-((steps / 2) ** 2) / 2) * (abs(steps) <= 8)
        inner, outer = (np.average(value[side], weights=weight[side]) for side in (steps > 3, steps < -2))
        return np.clip((inner - outer - 5) / 8, 0, 1)

    outward, inward = (np.mean([share(offset) for offset in offsets]) for offsets in ((0, 1, 2, 3), (-1, -2, -3)))
    return max(outward, inward - 0.25)


@pytest.mark.parametrize("step", [8, 12, 30])
@pytest.mark.parametrize("moved", [-9, -6, -4, -3, -2, -1, 0, 2, 4, 6, 8])
def test_a_straight_step_beside_a_straight_contour_gives_what_the_definition_says(moved, step):
    expected = straight_tightness(step, moved)
    assert tightness(lab_picture(X < 130 + moved, step), X < 130) == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize(
    ("moved", "low", "high"),
    [(1, 1, 1), (2, 1, 1), (3, 1, 1), (-2, 0.75, 0.75), (-3, 0.75, 0.75), (-5, 0.3, 0.6), (-8, 0, 0), (-20, 0, 0)],
)
def test_a_step_beside_the_contour_is_found_a_step_deep_inside_is_not(moved, low, high):
    """moved: how far the object's outline lies outside the mask's contour; inside it counts less."""
    assert low - 1e-4 <= tightness(lab_picture(RADIUS < 64 + moved, 20), DISK) <= high + 1e-4


@pytest.mark.parametrize("waves", [6, 12, 20])
def test_a_contour_that_strays_to_both_sides_of_the_outline_is_tighter_than_one_with_a_thin_margin(waves):
    outline = RADIUS < 64 + 2 * np.sin(waves * np.arctan2(Y - 120, X - 130))
    assert tightness(lab_picture(outline, 20), DISK) > 0.85


def test_where_the_source_shows_nothing_beside_the_contour_nothing_is_measured():
    picture = lab_picture(DISK, 40)
    assert tightness(picture, DISK, ~to_torch(~DISK)) is None
    assert tightness(picture, np.ones_like(DISK)) is None
    left_half = to_torch(X < 120)
    weak_left = np.where((X < 120)[..., None], lab_picture(DISK, 9), picture)
    assert tightness(weak_left, DISK, left_half) == pytest.approx(0.5, abs=0.02)


def test_signed_distance_equals_scipy():
    inside = smooth_picture(60, 70, 3)[..., 0] > 0.5
    found = to_numpy(signed_distance(to_torch(inside)))[..., 0]
    expected = np.where(
        inside, ndimage.distance_transform_edt(inside) - 0.5, 0.5 - ndimage.distance_transform_edt(~inside)
    )
    near = np.abs(expected) < 20
    assert np.abs(found - expected)[near].max() < 1e-5


def correlation(source, target, mask=DISK, real=EVERYWHERE):
    return scene_correlation(to_torch(source), to_torch(target), signed_distance(to_torch(mask)), real)


def test_the_same_detail_in_other_light_correlates_and_other_detail_does_not():
    generator = np.random.default_rng(0)
    a, b = (ndimage.gaussian_filter(generator.standard_normal((HEIGHT, WIDTH)), 1.5) * 50 + 50 for _ in range(2))
    ramp = 0.3 * X - 0.2 * Y
    assert correlation(a, 0.6 * a + ramp) > 0.98
    assert correlation(a, 100 - a) < -0.98
    assert abs(correlation(a, b)) < 0.15
    assert abs(correlation(a + ramp, b + ramp)) < 0.15
    assert 0.4 < correlation(a, (a + b) / 2) < 0.9  # 1 / sqrt(2), had the band no end


def test_neither_shared_slow_shading_nor_one_strong_edge_makes_the_same_scene():
    generator = np.random.default_rng(6)
    a, b = (ndimage.gaussian_filter(generator.standard_normal((HEIGHT, WIDTH)), 1.5) * 10 + 50 for _ in range(2))
    shading = 60 * np.sin(X / 30 + Y / 40)
    assert abs(correlation(a + shading, b + shading)) < 0.2
    edge = 80 * (X > 60)
    assert abs(correlation(a + edge, b + edge)) < 0.4


def test_colours_that_are_not_real_are_not_mixed_in():
    picture = lab_picture(DISK, 9)
    picture[:, ::3] = 1000
    assert tightness(picture, DISK, to_torch(X % 3 > 0)) == pytest.approx(0.5, abs=1e-3)


def test_what_lies_inside_the_mask_or_is_not_real_has_no_part_in_the_correlation():
    generator = np.random.default_rng(1)
    a, b = (ndimage.gaussian_filter(generator.standard_normal((HEIGHT, WIDTH)), 1.5) * 50 + 50 for _ in range(2))
    assert correlation(a, np.where(DISK, b, a)) == pytest.approx(1, abs=1e-6)
    real = to_torch(X < 120)
    assert correlation(a, np.where(X < 120, a, b), real=real) == pytest.approx(1, abs=1e-6)
    assert correlation(a, a, real=~EVERYWHERE) == 0
    assert correlation(np.zeros_like(a), a) == 0


def test_writing_is_a_small_share_on_even_ground():
    generator = np.random.default_rng(2)
    paper = lab_picture(DISK, 0) + generator.standard_normal((HEIGHT, WIDTH, 3)) * 0.5
    strokes = DISK & (X % 16 < 2)
    paper[strokes, 0] -= 40
    share, deviation = ink(to_torch(paper), signed_distance(to_torch(DISK)), EVERYWHERE)
    assert share == pytest.approx(strokes[DISK].mean(), abs=0.02)
    assert deviation == pytest.approx(0.5 * 3**0.5, rel=0.1)
    assert ink(to_torch(paper), signed_distance(to_torch(DISK)), ~EVERYWHERE) == (1.0, float("inf"))
    rough = lab_picture(DISK, 0) + generator.standard_normal((HEIGHT, WIDTH, 3)) * 3
    assert ink(to_torch(rough), signed_distance(to_torch(DISK)), EVERYWHERE)[0] < 0.03


@pytest.mark.parametrize("factor", [0.5, 2.0, 4.0])
def test_a_picture_and_its_enlargement_have_the_same_measures(factor):
    source, target = (skimage.data.astronaut()[:400, :420] / 255, skimage.data.coffee()[:400, :420] / 255)
    mask = np.hypot(*(np.mgrid[:400, :420] - np.array([180, 200])[:, None, None])) < 70

    def measure(scale):
        size = round(420 * scale), round(400 * scale)
        kind = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
        return measure_scene(
            *(to_torch(cv2.resize(z, size, interpolation=kind)) for z in (source, mask.astype(float), target))
        )

    base, scaled = measure(1.0), measure(factor)
    assert scaled.tightness == pytest.approx(base.tightness, abs=0.05)
    assert scaled.correlation == pytest.approx(base.correlation, abs=0.05)
    assert scaled.object_share == pytest.approx(base.object_share, abs=0.05)
    assert scaled.ground_deviation == pytest.approx(base.ground_deviation, rel=0.1)


def test_a_cut_out_on_a_flat_colour_has_no_tightness_and_an_empty_mask_no_measures():
    inside = to_torch(DISK)
    object = torch.where(inside, to_torch(smooth_picture(HEIGHT, WIDTH, 1)), torch.tensor(1.0))
    target = to_torch(smooth_picture(HEIGHT, WIDTH, 2))
    assert measure_scene(object, inside.float(), target).tightness is None
    assert measure_scene(object, torch.zeros_like(inside).float(), target) is None


@pytest.mark.parametrize("sides", [(7, 0, 0, 0), (0, 9, 0, 0), (0, 0, 5, 0), (0, 0, 0, 30), (4, 5, 6, 7), (0, 0, 0, 0)])
def test_repeated_border_pixels_are_not_real(sides):
    top, bottom, left, right = sides
    picture = np.random.default_rng(3).random((40, 50, 3))
    padded = np.pad(picture, ((top, bottom), (left, right), (0, 0)), mode="edge")
    found = real_surroundings(to_torch(padded))[0, 0].numpy()
    expected = np.pad(np.ones((40, 50), bool), ((top, bottom), (left, right)))
    # One row or column of the picture itself may be left out with the repetition.
    assert not found[~expected].any()
    assert found[ndimage.binary_erosion(expected, np.ones((3, 3)), border_value=1)].all()
    if not any(sides):
        assert found.all()


def test_flat_colour_is_as_real_as_its_repetition():
    page = np.ones((60, 80, 3))
    page[20:40, 20:60] = np.random.default_rng(4).random((20, 40, 3))
    assert real_surroundings(to_torch(page)).all()
    assert real_surroundings(torch.full((1, 3, 5, 6), 0.5)).all()
    assert real_surroundings(torch.rand(1, 3, 1, 1)).all()


@pytest.mark.parametrize("mask", ["binary", "blurred across the outline", "faded inwards"])
def test_pictures_and_masks_of_every_softness_are_measured_at_the_outline(mask):
    soft = {
        "binary": DISK.astype(float),
        "blurred across the outline": ndimage.gaussian_filter(DISK.astype(float), 3),
        "faded inwards": np.clip((64 - RADIUS) / 25, 0, 1),
    }[mask]
    noise = np.random.default_rng(5).standard_normal((HEIGHT, WIDTH, 1)) * 0.04
    source, target = lab2rgb(lab_picture(DISK, 30)) + noise, smooth_picture(HEIGHT, WIDTH, 2)
    assert measure_scene(to_torch(source), to_torch(soft), to_torch(target)).tightness > 0.9
