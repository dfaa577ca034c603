import colorsys

import numpy as np
import pytest
import torch
from scipy import ndimage
from skimage.color import rgb2hsv

from deepblend.blending_core.saturation import (
    BLACK_LEVEL,
    GREY_VARIATION,
    HUBER_DELTA,
    ROUNDING,
    SaturationLoss,
    SaturationSettings,
    saturation,
)
from pictures import masks, smooth_picture, to_numpy, to_torch

MASKS = masks()
WHOLE = slice(0, 37), slice(0, 53)
FORMS = [(form, region) for form in ("relative", "paper") for region in ("object", "seam")]


def pictures():
    random = np.random.default_rng(0).random((23, 31, 3))
    return {
        "noise": random,
        "smooth": smooth_picture(23, 31, 1),
        "dark": 0.05 * random,
        "nearly grey": 0.5 + 0.01 * random,
        "pure colours": np.round(random),
        "black": np.zeros((5, 6, 3)),
        "white": np.ones((5, 6, 3)),
    }


def with_black_level(hsv):
    """HSV's saturation is (max - min) / max; the black level is added below the line."""
    return hsv[..., 1] * hsv[..., 2] / (hsv[..., 2] + BLACK_LEVEL)


@pytest.mark.parametrize("name", pictures())
def test_equals_hsv_with_a_black_level(name):
    picture = pictures()[name]
    found = to_numpy(saturation(to_torch(picture, torch.float64)))[..., 0]
    assert np.abs(found - with_black_level(rgb2hsv(picture))).max() < 1e-12
    plain = np.apply_along_axis(lambda color: colorsys.rgb_to_hsv(*color), 2, picture)
    assert np.abs(found - with_black_level(plain)).max() < 1e-12
    assert found.min() >= 0 and found.max() <= 1


def test_values_beyond_the_range_are_cut_off():
    picture = np.random.default_rng(1).uniform(-0.5, 1.5, (20, 20, 3))
    found = to_numpy(saturation(to_torch(picture, torch.float64)))[..., 0]
    assert np.abs(found - with_black_level(rgb2hsv(picture.clip(0, 1)))).max() < 1e-12


@pytest.mark.parametrize("name", pictures())
def test_gradient_is_bounded(name):
    picture = to_torch(pictures()[name]).requires_grad_()
    saturation(picture).sum().backward()
    assert picture.grad.abs().max() <= 1 / BLACK_LEVEL + 1e-3


def test_equal_channels_share_the_gradient():
    grey = torch.full((1, 3, 4, 5), 0.4, requires_grad=True)
    saturation(grey).sum().backward()
    assert grey.grad.abs().max() < 1e-5
    yellow = torch.tensor([0.8, 0.8, 0.2]).view(1, 3, 1, 1).requires_grad_()
    saturation(yellow).sum().backward()
    red, green, blue = yellow.grad.flatten().tolist()
    assert red == pytest.approx(green) and red > 0 > blue


def variation(picture, right=None, down=None, counts=None):
    """Mean absolute difference along rows plus that along columns, over chosen pairs."""
    found = with_black_level(rgb2hsv(picture))
    steps = np.abs(np.diff(found, axis=1)), np.abs(np.diff(found, axis=0))
    chosen = [
        np.ones(step.shape, bool) if pairs is None else pairs for step, pairs in zip(steps, (right, down), strict=True)
    ]
    counts = [pairs.sum() for pairs in chosen] if counts is None else counts
    return sum(step[pairs].sum() / max(count, 1) for step, pairs, count in zip(steps, chosen, counts, strict=True))


def written_out(composite, target, inside, form, region, width=4):
    if region == "object":
        near = inside[:, 1:] | inside[:, :-1], inside[1:] | inside[:-1]
    else:
        near = ndimage.distance_transform_edt(inside) <= width
        near &= ndimage.distance_transform_edt(~inside) <= width
        near = near[:, 1:] & near[:, :-1], near[1:] & near[:-1]
    if form == "paper":
        pairs = (None, None) if region == "object" else near
        return np.sqrt((variation(composite, *pairs) - variation(target, *pairs)) ** 2 + ROUNDING**2)
    off = variation(composite, *near) / max(variation(target), GREY_VARIATION) - 1
    return off**2 / 2 if abs(off) < HUBER_DELTA else HUBER_DELTA * (abs(off) - HUBER_DELTA / 2)


def scene(name, seed=3, strength=1.0):
    """A composite that equals the target outside."""
    inside, target = MASKS[name], 0.1 + 0.8 * smooth_picture(37, 53, seed)
    own = np.random.default_rng(seed).random((37, 53, 3))
    return np.where(inside[..., None], strength * own + (1 - strength) * target, target), target, inside


@pytest.mark.parametrize(("form", "region"), FORMS)
@pytest.mark.parametrize("name", MASKS)
@pytest.mark.parametrize("strength", [0.03, 0.2, 1.0])
def test_loss_equals_the_formula(name, form, region, strength):
    composite, target, inside = scene(name, strength=strength)
    settings = SaturationSettings(form=form, region=region, width=4)
    loss = SaturationLoss(to_torch(inside, torch.float64).double(), to_torch(target, torch.float64), settings, WHOLE)
    found = loss(to_torch(composite, torch.float64)).item()
    assert found == pytest.approx(written_out(composite, target, inside, form, region), rel=1e-6)


@pytest.mark.parametrize("width", [1, 2, 7])
@pytest.mark.parametrize("form", ["relative", "paper"])
def test_the_seam_is_as_wide_as_asked(form, width):
    composite, target, inside = scene("ring with a hole")
    settings = SaturationSettings(form=form, region="seam", width=width)
    loss = SaturationLoss(to_torch(inside).double(), to_torch(target, torch.float64), settings, WHOLE)
    expected = written_out(composite, target, inside, form, "seam", width)
    assert loss(to_torch(composite, torch.float64)).item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(("form", "region"), FORMS)
def test_the_part_around_the_object_is_enough(form, region):
    composite, target, inside = scene("ring with a hole")
    mask, target = to_torch(inside).double(), to_torch(target, torch.float64)
    settings = SaturationSettings(form=form, region=region, width=3)
    big = [
        np.pad(to_numpy(image), ((9, 30), (22, 11), (0, 0)), mode="symmetric")
        for image in (target, to_torch(composite, torch.float64))
    ]
    mask = torch.nn.functional.pad(mask, (22, 11, 9, 30))
    big_target, big_composite = (to_torch(image, torch.float64) for image in big)
    # Outside of the object both are the target.
    big_composite = big_composite.where(mask > 0, big_target)
    whole = SaturationLoss(mask, big_target, settings, (slice(0, 76), slice(0, 86)))(big_composite)
    rows, columns = slice(9 - 4, 46 + 4), slice(22 - 4, 75 + 4)
    part = SaturationLoss(mask, big_target, settings, (rows, columns))(big_composite[..., rows, columns])
    assert part.item() == pytest.approx(whole.item(), rel=1e-9)


@pytest.mark.parametrize(("form", "region"), FORMS)
def test_derivative_of_the_loss(form, region):
    composite, target, inside = scene("across the lower right corner")
    rows, columns = slice(12, 20), slice(27, 36)
    inside, target = inside[rows, columns], to_torch(target[rows, columns], torch.float64)
    loss = SaturationLoss(
        to_torch(inside).double(),
        target,
        SaturationSettings(form=form, region=region, width=2),
        (slice(0, 8), slice(0, 9)),
    )
    assert torch.autograd.gradcheck(loss, to_torch(composite[rows, columns], torch.float64).requires_grad_(), eps=1e-8)


@pytest.mark.parametrize(("form", "region"), FORMS)
@pytest.mark.parametrize("level", [0.0, 0.5, 1.0])
def test_grey_targets_and_composites(form, region, level):
    inside = MASKS["ellipse"]
    grey = np.full((37, 53, 3), level)
    loss = SaturationLoss(to_torch(inside).float(), to_torch(grey), SaturationSettings(form=form, region=region), WHOLE)
    for composite in (grey, np.where(inside[..., None], scene("ellipse")[0], grey)):
        image = to_torch(composite).requires_grad_()
        value = loss(image)
        value.backward()
        expected = written_out(composite, grey, inside, form, region)
        assert value.item() == pytest.approx(expected, rel=1e-4)
        assert image.grad.isfinite().all()
        # The steepest there is: every pair of a pixel, relative to the least variation that counts.
        assert image.grad.abs().max() < 4 / BLACK_LEVEL / GREY_VARIATION


@pytest.mark.parametrize(("form", "region"), FORMS)
def test_no_edge_and_no_object_give_a_finite_loss(form, region):
    target = to_torch(smooth_picture(9, 8, 1))
    for mask in (torch.ones(1, 1, 9, 8), torch.zeros(1, 1, 9, 8)):
        image = target.clone().requires_grad_()
        loss = SaturationLoss(mask, target, SaturationSettings(form=form, region=region), (slice(0, 9), slice(0, 8)))(
            image
        )
        loss.backward()
        assert loss.isfinite() and image.grad.isfinite().all()
