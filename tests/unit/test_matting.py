import numpy as np
import pytest
import torch
from scipy import ndimage

from deepblend.blending_core.matting import extract_object, foreground_color
from pictures import smooth_picture, to_numpy, to_torch

SIZE = 200
Y, X = np.mgrid[:SIZE, :SIZE] - 99.5
DISTANCE = 60 - np.hypot(Y, X)  # to the outline, positive inside
ALPHA = np.clip(DISTANCE / 3 + 0.5, 0, 1)  # a soft edge, 3 pixels wide
EVERYWHERE = torch.ones(1, 1, SIZE, SIZE, dtype=torch.bool)
OBJECT = 0.1 * smooth_picture(SIZE, SIZE, 1) + (0.7, 0.3, 0.1)
GROUND = 0.1 * smooth_picture(SIZE, SIZE, 2) + (0.1, 0.4, 0.8)
MIXED = ALPHA[..., None] * OBJECT + (1 - ALPHA[..., None]) * GROUND


def extract(image, mask, real=EVERYWHERE):
    color, alpha = extract_object(to_torch(image), to_torch(mask.astype(float)), real)
    assert (alpha <= to_torch(mask.astype(float))).all()
    return to_numpy(color), to_numpy(alpha)[..., 0]


def test_blur_fusion_recovers_constant_colours_exactly():
    foreground, background = np.array([0.8, 0.2, 0.1]), np.array([0.1, 0.5, 0.9])
    image = ALPHA[..., None] * foreground + (1 - ALPHA[..., None]) * background
    found = to_numpy(foreground_color(to_torch(image), to_torch(ALPHA), (6.0, 1.5)))
    assert np.abs(found - foreground)[ALPHA > 0].max() < 1e-5


def test_blur_fusion_recovers_varying_colours():
    found = to_numpy(foreground_color(to_torch(MIXED), to_torch(ALPHA), (6.0, 1.5)))
    partial = (ALPHA > 0) & (ALPHA < 1)
    assert np.abs(found - OBJECT)[partial].mean() < 0.012  # of the mask itself up to 0.12
    assert np.abs(MIXED - OBJECT)[partial].mean() > 0.15
    assert np.array_equal(found[ALPHA == 1], MIXED[ALPHA == 1].astype(np.float32))


def test_blur_fusion_keeps_the_objects_texture():
    noise = 0.1 * np.random.default_rng(3).standard_normal((SIZE, SIZE, 1))
    image = ALPHA[..., None] * (OBJECT + noise) + (1 - ALPHA[..., None]) * GROUND
    found = to_numpy(foreground_color(to_torch(image), to_torch(ALPHA), (6.0, 1.5)))
    mostly = (ALPHA > 0.7) & (ALPHA < 1)
    assert np.abs(found - OBJECT - noise)[mostly].mean() < 0.03


@pytest.mark.parametrize("offset", [0, 1, 2, 4])
def test_a_mask_that_is_too_wide_shrinks_to_the_true_alpha(offset):
    mask = DISTANCE > -offset
    color, alpha = extract(MIXED, mask)
    assert np.abs(alpha - ALPHA)[mask].mean() < 0.012  # of the mask itself up to 0.12
    assert np.abs(color - OBJECT)[alpha > 0.2].mean() < 0.005
    painted = alpha[..., None] * color + (1 - alpha[..., None]) * 0.5
    assert np.abs(painted - (ALPHA[..., None] * OBJECT + (1 - ALPHA[..., None]) * 0.5))[mask].mean() < 0.005


def test_an_irregular_mask_gets_the_outline():
    noise = ndimage.gaussian_filter(np.random.default_rng(0).standard_normal((SIZE, SIZE)), 4)
    mask = np.clip(noise / noise.std(), -2, 2) - 2 < DISTANCE
    _, alpha = extract(MIXED, mask)
    assert np.abs(alpha - ALPHA)[mask].mean() < 0.01


def test_a_matte_is_kept_and_its_mixed_pixels_are_unmixed():
    color, alpha = extract(MIXED, ALPHA)
    assert np.array_equal(alpha, ALPHA.astype(np.float32))
    assert np.abs(color - OBJECT)[ALPHA > 0.05].mean() < 0.01


@pytest.mark.parametrize("width", [4, 12])
def test_a_feathered_mask_keeps_its_feather_and_the_objects_colours(width):
    hard = np.where((DISTANCE > 0)[..., None], OBJECT, GROUND)
    mask = np.clip((DISTANCE + 0.5) / width, 0, 1) * (DISTANCE > 0)
    color, alpha = extract(hard, mask)
    deep = DISTANCE > 3
    assert np.abs(alpha - mask)[deep].max() < 0.01
    assert np.abs(color - OBJECT)[deep].max() < 0.01


def test_uniform_opacity_stays():
    mask = 0.3 * (DISTANCE > 0)
    color, alpha = extract(MIXED, mask)
    assert np.allclose(alpha[DISTANCE > 5], 0.3)
    assert np.abs(color - OBJECT)[DISTANCE > 5].max() < 0.01


def test_without_contrast_the_mask_is_kept():
    noise = 0.5 + 0.1 * np.random.default_rng(1).standard_normal((SIZE, SIZE, 3))
    mask = DISTANCE > 0
    _, alpha = extract(noise, mask)
    assert (alpha[mask] > 0.99).mean() > 0.99


def test_background_colour_within_the_object_stays():
    """A stripe of the ground's colour through the object, that does not touch the outside."""
    stripe = (np.abs(Y) < 3) & (np.abs(X) < 45)
    image = np.where(stripe[..., None], GROUND, MIXED)
    _, alpha = extract(image, DISTANCE > 0)
    assert (alpha[stripe] == 1).all()


def test_background_colour_just_inside_the_outline_stays():
    """It does not touch the outside, so it belongs to the object."""
    stripe = (DISTANCE > 2) & (DISTANCE < 3.5) & (X > 0)
    image = np.where(((DISTANCE > 0) & ~stripe)[..., None], OBJECT, GROUND)
    _, alpha = extract(image, DISTANCE > 0)
    assert alpha[stripe].mean() > 0.95


def test_shading_towards_the_backgrounds_colour_is_not_transparency():
    """The object's rim, 5 pixels wide, is lit by its surroundings."""
    rim = np.clip(1 - DISTANCE / 5, 0, 1)[..., None] * 0.6
    image = np.where((DISTANCE > 0)[..., None], OBJECT + rim * (GROUND - OBJECT), GROUND)
    _, alpha = extract(image, DISTANCE > 0)
    assert alpha[DISTANCE > 2.5].min() > 0.95


@pytest.mark.parametrize(
    "mask", [np.ones((SIZE, SIZE)), (np.abs(X) < 1) & (np.abs(Y) < 50), (np.abs(X) < 1) & (np.abs(Y) < 1)]
)
def test_masks_without_a_core_or_without_ground_are_kept(mask):
    mask = mask.astype(float)
    color, alpha = extract(MIXED, mask)
    assert np.array_equal(alpha, mask)
    assert np.allclose(color[mask == 1], MIXED[mask == 1], atol=1e-6)


def test_a_source_that_shows_nothing_around_the_object_keeps_the_mask():
    mask = DISTANCE > 0
    _, alpha = extract(MIXED, mask, ~EVERYWHERE)
    assert np.array_equal(alpha, mask)


@pytest.mark.parametrize("factor", [2, 5])
def test_large_objects_look_like_small_ones(factor):
    """Above 256 pixels the outline is found on a reduced picture and follows the full one's edges."""

    def enlarged(z):
        return ndimage.zoom(z, (factor, factor, 1)[: z.ndim], order=1, grid_mode=True, mode="nearest")

    mask = DISTANCE > -3
    image, truth, mask = enlarged(MIXED), enlarged(ALPHA), enlarged(mask.astype(float)) > 0.5
    _, alpha = extract(image, mask, torch.ones(1, 1, *mask.shape, dtype=torch.bool))
    assert np.abs(alpha - truth)[mask].mean() < 0.005


@pytest.mark.parametrize("color", [(1.0, 1.0, 1.0), (0.0, 0.0, 0.0), (0.2, 0.8, 0.2)])
@pytest.mark.parametrize("width", [1, 3, 5])
def test_thin_parts_of_another_colour_stay(color, width):
    """A stick has no core that its colour could be learnt from."""
    stick = (np.abs(X) < width / 2 + 0.1) & (Y > 50)
    image = np.where(stick[..., None], color, MIXED)
    _, alpha = extract(image, (DISTANCE > 0) | stick)
    assert alpha[stick & (DISTANCE < -8)].mean() > 0.8


@pytest.mark.parametrize("sigma", [4, 8])
def test_most_background_under_a_blurred_mask_goes(sigma):
    mask = ndimage.gaussian_filter((DISTANCE > 0).astype(float), sigma)
    mask[mask < 1 / 255] = 0
    _, alpha = extract(MIXED, mask)
    outside = ALPHA == 0
    assert alpha[outside].sum() < 0.5 * mask[outside].sum()
    assert np.abs(alpha - mask)[DISTANCE > 4].max() < 0.05


def test_a_matte_need_not_reach_1():
    color, alpha = extract(MIXED, 0.99 * ALPHA)
    assert np.allclose(alpha, 0.99 * ALPHA)
    assert np.abs(color - OBJECT)[(ALPHA > 0.05) & (ALPHA < 0.9)].mean() < 0.03
