"""Deep blending of a video: what a frame leaves to the next."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from blending_scenes import disk, scene

from deepblend.blending_core.composite import composite
from deepblend.blending_core.deep_blend import Settings, deep_blend, deep_blend_frame
from deepblend.blending_core.opponent_edge_bank import OpponentEdgeBank
from deepblend.blending_core.recipes import PAINTING, PHOTOGRAPH, RECIPES
from deepblend.blending_core.saturation import SaturationSettings
from deepblend.blending_core.vgg import VGG
from deepblend.blending_core.warm_start import WarmStart, change_of
from networks import small_vgg_weights
from pictures import smooth_picture, to_torch

BANK = OpponentEdgeBank()
VISIBLE = 1 / 255


def settings(recipe=PAINTING, stage=1, evaluations=12, **more):
    weights = getattr(RECIPES[recipe], f"stage_{stage}").scaled(histogram=0, total_variation=0)
    return Settings(weights, evaluations, saturation=SaturationSettings(), **more)


def video(frames, how, model=BANK, warm=True):
    """Pictures and numbers of evaluations of frames (object, mask, target, start)."""
    images, evaluations, left = [], [], None
    for frame in frames:
        image, history, left = deep_blend_frame(*frame, model, how, before=left if warm else None)
        images.append(image)
        evaluations.append(len(history["total"]))
    return images, evaluations


def jump(before, after, mask):
    """The largest difference of two pictures inside the object."""
    return float((before - after).abs().where(mask == 1, torch.zeros(())).max())


def grainy(frames, sigma):
    own, mask, target, _ = scene(disk(y=24, x=32, radius=14))
    generator = torch.Generator().manual_seed(3)
    noises = [sigma * torch.randn(target.shape, generator=generator) for _ in range(frames)]
    targets = [(target + noise).clamp(0, 1) for noise in noises]
    return [(own, mask, grain, composite(own, mask, grain)) for grain in targets], mask


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    "how", [settings(PHOTOGRAPH, keep_color=0.5), settings(PAINTING), settings(PAINTING, stage=2, keep_color=0.6)]
)
def test_an_object_in_front_of_a_still_target_stands_still(how, precision):
    frames = [scene("soft disk")] * 4
    mask = frames[0][1]
    model = VGG(small_vgg_weights()) if precision == torch.bfloat16 else BANK
    how = how._replace(precision=precision)
    images, evaluations = video(frames, how, model)
    assert evaluations[0] > 6, "what is tested is an optimisation"
    rounding = precision == torch.bfloat16
    assert evaluations[1:] == [2 + rounding] * 3
    assert torch.equal(images[0], deep_blend(*frames[0], model, how)[0])
    changed = jump(images[0], frames[0][3], mask)
    assert changed > 2 * VISIBLE, "and one that is seen"
    for before, after in pairwise(images):
        assert float((before - after).abs().max()) < 0.01 * VISIBLE


@pytest.mark.parametrize("how", [settings(PAINTING), settings(PAINTING, stage=2)])
def test_grain_of_the_target_does_not_make_the_object_flicker(how):
    frames, mask = grainy(5, sigma=2 / 255)

    def largest(images):
        return max(jump(before, after, mask) for before, after in pairwise(images))

    (warm, evaluations), (cold, _) = video(frames, how), video(frames, how, warm=False)
    assert max(evaluations[1:]) <= 4 < evaluations[0]
    assert largest(warm) <= VISIBLE
    assert largest(warm) < 0.5 * largest(cold)


def test_the_change_moves_with_the_object():
    """A wrap-around shift by a multiple of the features' stride is a symmetry but for what the borders see."""
    own, mask, target, start = scene(disk(y=22, x=30, radius=9))
    frames = [
        tuple(image.roll((2 * step, 4 * step), (2, 3)) for image in (own, mask, target, start)) for step in (0, 1, 2)
    ]
    images, evaluations = video(frames, settings(evaluations=30))
    assert max(evaluations[1:]) <= 4 < evaluations[0]
    back = [image.roll((-2 * step, -4 * step), (2, 3)) for step, image in enumerate(images)]
    assert jump(back[0], start, mask) > 4 * VISIBLE
    assert max(jump(back[0], image, mask) for image in back[1:]) <= VISIBLE


def test_a_cut_begins_anew():
    first, second = scene("disk"), scene("disk")
    second = second[0].flip(1) * 0.3, second[1], 1 - second[2], second[3]
    second = (*second[:3], composite(second[0], *second[1:3]))
    how = settings(PHOTOGRAPH, evaluations=60)
    _, _, left = deep_blend_frame(*first, BANK, how)
    # A change that fits nothing: it makes every loss worse.
    noise = 0.3 * torch.randn(left.change.shape, generator=torch.Generator().manual_seed(0))
    after_cut, its_history, its_left = deep_blend_frame(*second, BANK, how, before=WarmStart(noise, 0.5))
    anew, its_own = deep_blend(*second, BANK, how)
    assert torch.equal(after_cut, anew)
    assert its_left.share == min(its_own["total"]) / its_own["total"][0]
    assert [its_history["total"][0], *its_history["total"][2:]] == its_own["total"]


def test_a_change_that_no_longer_fits_is_optimised_further():
    own, mask, target, start = scene("disk")
    how = settings(PAINTING, evaluations=40)
    _, _, left = deep_blend_frame(own, mask, target, start, BANK, how)
    half = left._replace(change=left.change / 4)
    _, history, after = deep_blend_frame(own, mask, target, start, BANK, how, before=half)
    _, own_history = deep_blend(own, mask, target, start, BANK, how)
    first, fallen = own_history["total"][0], own_history["total"][0] - min(own_history["total"])
    assert history["total"][0] == first
    assert first > history["total"][1] > first - 0.9 * fallen, "a quarter of the change is not enough"
    assert len(own_history["total"]) > len(history["total"]) > 2
    assert min(history["total"]) <= first - 0.89 * fallen
    assert after.share == left.share, "or with every frame a little less would be enough"
    assert (after.change - half.change).abs().max() > VISIBLE


@pytest.mark.parametrize("evaluations", [1, 2, 3])
def test_with_few_evaluations_no_more_are_made(evaluations):
    frames = [scene("disk")] * 3
    _, made = video(frames, settings(evaluations=evaluations))
    assert max(made) <= evaluations
    # A change that helps but is not enough, so that all of them are used.
    _, _, left = deep_blend_frame(*frames[0], BANK, settings(evaluations=40))
    before = left._replace(change=left.change / 4)
    _, history, _ = deep_blend_frame(*frames[0], BANK, settings(evaluations=evaluations), before=before)
    assert len(history["total"]) == evaluations


@pytest.mark.parametrize("evaluations", [3, 4, 7])
def test_a_change_that_does_not_fit_takes_no_more_evaluations_than_are_allowed(evaluations):
    frame, how = scene("disk"), settings(evaluations=30)
    _, _, left = deep_blend_frame(*frame, BANK, how)
    left = left._replace(change=left.change / 4, share=0.0)
    _, history, _ = deep_blend_frame(*frame, BANK, how._replace(evaluations=evaluations), before=left)
    assert len(history["total"]) == evaluations


def test_an_object_of_another_size_gets_the_change_stretched():
    def ramps(rows, columns):
        return to_torch(np.stack([0.01 * rows, 0.02 * columns, 0 * rows], -1))

    change = ramps(*np.mgrid[:9, :11])
    picture = to_torch(smooth_picture(40, 50, 1) * 0.4 + 0.2)
    small, large = torch.zeros(2, 1, 1, 40, 50, dtype=torch.bool)
    small[..., 5:14, 20:31] = True
    large[..., 10:28, 6:28] = True
    start = WarmStart(change, 0.5)
    moved, grown = start.added_to(picture, small), start.added_to(picture, large)
    assert torch.equal(moved[..., 5:14, 20:31], picture[..., 5:14, 20:31] + change)
    # A ramp stays one, but for its ends.
    wanted = ramps(*((np.mgrid[:18, :22] + 0.5) / 2 - 0.5))
    stretched = (grown - picture)[..., 10:28, 6:28]
    torch.testing.assert_close(stretched[..., 1:-1, 1:-1], wanted[..., 1:-1, 1:-1], atol=1e-5, rtol=0)
    for inside, changed in ((small, moved), (large, grown)):
        assert torch.equal(changed.where(~inside, picture), picture)
    torch.testing.assert_close(change_of(picture, moved, small), change, atol=1e-6, rtol=0)


def test_values_stay_in_the_box():
    picture = to_torch(np.full((20, 20, 3), 0.9))
    inside = torch.ones(1, 1, 20, 20, dtype=torch.bool)
    assert WarmStart(torch.full((1, 3, 20, 20), 0.5), 0.5).added_to(picture, inside).max() == 1
