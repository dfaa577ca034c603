"""Decisions and the equations of each mode; pictures are judged in tests/graph."""

import numpy as np
import pytest
import torch
from scipy import ndimage

from deepblend.blending_core.auto_blend import (
    HALF,
    LOOSE,
    MIXED,
    SAME_SCENE,
    TIGHT,
    Plan,
    Settings,
    decide,
    plan_seating,
    seat,
)
from deepblend.blending_core.color_transfer import Containment, Match
from deepblend.blending_core.scene_measures import SceneMeasures
from oracles import exact_poisson
from pictures import masks, smooth_picture, to_numpy, to_torch

MASKS = masks()
SOURCE, TARGET = (0.3 + 0.4 * smooth_picture(37, 53, seed) for seed in (1, 2))


def plan(mode, containment=None, ground_step=100.0):
    containment = containment or Containment((0.0, 1.0), (0.0, 1.0), 1.0)
    return Plan(mode, SceneMeasures(0.5, 0.0, 0.5, 10.0), ground_step, containment, Match(*[(0.5, 0.0, 0.0)] * 4))


def seated(mode, inside, source=SOURCE, settings=Settings(), **more):  # noqa: B008, a constant
    image, mask = seat(to_torch(source), to_torch(inside.astype(float)), to_torch(TARGET), plan(mode, **more), settings)
    return to_numpy(image), to_numpy(mask)[..., 0]


def source_step(p, q):
    return SOURCE[p] - SOURCE[q]


@pytest.mark.parametrize(
    ("measures", "mode"),
    [
        ((0.9, 0.61, 0.5, 10), SAME_SCENE),
        ((0.1, 0.61, 0.1, 1), SAME_SCENE),
        ((0.9, 0.45, 0.5, 10), HALF),
        ((0.1, 0.26, 0.1, 1), HALF),
        ((None, 0.1, 1.0, float("inf")), TIGHT),
        ((0.1, 0.1, 0.2, 1.0), MIXED),
        ((0.1, 0.1, 0.2, 3.0), LOOSE),
        ((0.1, 0.1, 0.5, 1.0), LOOSE),
        ((0.4, 0.1, 0.2, 1.0), LOOSE),
        ((0.6, 0.1, 0.5, 10), LOOSE),
        ((0.63, 0.1, 0.5, 10), TIGHT),
    ],
)
def test_decisions(measures, mode):
    assert decide(SceneMeasures(*measures)) == mode


@pytest.mark.parametrize("name", ["ellipse", "ring with a hole", "at the left edge", "random"])
def test_same_scene_is_the_exact_poisson_equation(name):
    result, mask = seated(SAME_SCENE, MASKS[name])
    expected = exact_poisson(TARGET, MASKS[name], source_step).clip(0, 1)
    assert np.abs(result - expected).max() < 1e-4
    assert np.array_equal(mask > 0, MASKS[name])


@pytest.mark.parametrize(("fidelity", "strength"), [(0.0, 0.0), (0.5, 1.0), (1.0, 16.0), (2.0, 256.0)])
def test_loose_is_poisson_with_screening_that_rises_with_depth(fidelity, strength):
    inside = MASKS["ellipse"]
    depth = ndimage.distance_transform_edt(inside)
    t = np.clip((depth / depth.max() - 0.25) / 0.5, 0, 1)
    screening = strength / inside.sum() * (3 * t**2 - 2 * t**3)
    result, _ = seated(LOOSE, inside, settings=Settings(color_fidelity=fidelity))
    expected = exact_poisson(TARGET, inside, source_step, screening, SOURCE)
    assert np.abs(result - expected).max() < 1e-4


def test_mixed_takes_the_stronger_difference():
    def stronger(p, q):
        source, target = SOURCE[p] - SOURCE[q], TARGET[p] - TARGET[q]
        return target if np.linalg.norm(target) > np.linalg.norm(source) else source

    result, _ = seated(MIXED, MASKS["ellipse"])
    assert np.abs(result - exact_poisson(TARGET, MASKS["ellipse"], stronger)).max() < 1e-4


@pytest.mark.parametrize("softness", [0.0, 1.0, 2.0])
def test_tight_lets_the_target_reach_a_little_way_into_a_hard_edge(softness):
    """A source of one colour has no outline to find: the mask is kept, and screening is 1 / reach^2 everywhere."""
    flat, inside = np.full_like(SOURCE, 0.4), MASKS["ellipse"]
    result, mask = seated(TIGHT, inside, flat, Settings(edge_softness=softness))
    assert np.array_equal(mask, inside.astype(float))
    if softness == 0:
        expected = np.where(inside[..., None], flat, TARGET)
    else:
        reach = softness * max(1.0, 0.012 * inside.sum() ** 0.5)
        expected = exact_poisson(TARGET, inside, lambda p, q: np.zeros(3), 1 / reach**2, flat)
    assert np.abs(result - expected).max() < 1e-4


def test_a_soft_edge_is_not_softened_again():
    """A true matte is composited as it is; the target's reach is for edges that end abruptly."""
    y, x = np.mgrid[:120, :120] - 59.5
    alpha = np.clip((40 - np.hypot(y, x)) / 6 + 0.5, 0, 1)[..., None]
    object_, ground, target = np.array([0.8, 0.3, 0.1]), np.array([0.1, 0.3, 0.8]), np.full((120, 120, 3), 0.5)
    source = alpha * object_ + (1 - alpha) * ground
    image, mask = seat(to_torch(source), to_torch(alpha[..., 0]), to_torch(target), plan(TIGHT), Settings())
    assert np.abs(to_numpy(mask) - alpha).max() < 0.01
    assert np.abs(to_numpy(image) - alpha * object_ - (1 - alpha) * target).max() < 0.015


def test_half_is_the_mean_of_loose_and_tight():
    inside = MASKS["ellipse"]
    loose, tight, half = (seated(mode, inside)[0] for mode in (LOOSE, TIGHT, HALF))
    assert np.abs(half - (loose + tight) / 2).max() < 1e-5


def test_containment_fits_a_tight_object_as_far_as_the_setting_says():
    """Grey target: chroma goes to 0; the reach is 0 so that nothing else changes."""
    grey = Containment((0.0, 1.0), (0.0, 1.0), 0.0)
    inside, core = MASKS["ellipse"], ndimage.distance_transform_edt(MASKS["ellipse"]) > 6
    chroma = {}
    for setting in (0.0, 0.5, 1.0, 2.0):
        result, _ = seated(
            TIGHT, inside, settings=Settings(edge_softness=0, color_containment=setting), containment=grey
        )
        chroma[setting] = np.ptp(result[core], axis=1).mean()
    assert chroma[1.0] == chroma[2.0] < 1e-3
    assert chroma[0.0] == pytest.approx(np.ptp(SOURCE[core], axis=1).mean(), rel=1e-4)
    assert chroma[0.5] == pytest.approx(chroma[0.0] / 2, rel=0.1)


@pytest.mark.parametrize(
    ("mode", "ground_step", "changes"),
    [(SAME_SCENE, 7.9, True), (SAME_SCENE, 8.1, False), (LOOSE, 0, False), (MIXED, 0, False)],
)
def test_containment_elsewhere_only_in_the_same_scene_and_light(mode, ground_step, changes):
    grey = Containment((0.0, 1.0), (0.0, 1.0), 0.0)
    inside = MASKS["ellipse"]
    contained, _ = seated(mode, inside, containment=grey, ground_step=ground_step)
    assert changes == (np.abs(contained - seated(mode, inside)[0]).max() > 0.01)
    always, _ = seated(mode, inside, containment=grey, ground_step=ground_step, settings=Settings(color_containment=2))
    assert np.abs(always - seated(mode, inside)[0]).max() > 0.01


def test_statistics_are_of_the_visible_target_and_of_the_object_without_its_rim():
    inside = ndimage.binary_dilation(MASKS["ellipse"])
    source = np.where(MASKS["ellipse"][..., None], (0.6, 0.3, 0.3), (0.0, 1.0, 0.0))  # a rim of green
    target = np.concatenate([np.full((37, 53, 3), 0.5), np.ones((37, 53, 1))], 2)
    target[:5] = (1, 0, 1, 0)  # hidden magenta
    found = plan_seating(to_torch(source), to_torch(inside.astype(float)), to_torch(target))
    assert found.containment.chroma_ratio < 0.01
    assert found.containment.lightness[1] < 0.6
    assert found.match.target_deviation == pytest.approx((0, 0, 0), abs=1e-4)
    assert found.mode == TIGHT
    assert plan_seating(to_torch(source), to_torch(0.0 * inside), to_torch(target)) is None
    assert plan_seating(to_torch(source), to_torch(inside.astype(float)), to_torch(target), mode=LOOSE).mode == LOOSE


def test_colour_match_dyes_a_tight_object():
    target = np.full((37, 53, 3), (0.2, 0.3, 0.8))
    mask = to_torch(MASKS["ellipse"].astype(float))
    flat = to_torch(np.full((37, 53, 3), (0.7, 0.4, 0.3)))
    found = plan_seating(flat, mask, to_torch(target), mode=TIGHT)
    result, _ = seat(flat, mask, to_torch(target), found, Settings(color_match=1.0))
    assert np.abs(to_numpy(result) - target).max() < 2e-3


@pytest.mark.parametrize("mode", [LOOSE, TIGHT, MIXED, SAME_SCENE, HALF])
def test_every_iteration_is_reported_and_the_work_can_be_stopped(mode):
    class Stopped(Exception):
        pass

    def on_step(step, total, loss_terms, image):
        assert 0 <= step <= total
        assert image.shape == (1, 3, 37, 53)
        raise Stopped

    with pytest.raises(Stopped):
        seat(
            to_torch(SOURCE),
            to_torch(MASKS["ellipse"].astype(float)),
            to_torch(TARGET),
            plan(mode),
            Settings(),
            on_step,
        )


def test_nothing_is_carried_from_one_call_to_the_next():
    arguments = to_torch(SOURCE), to_torch(MASKS["ellipse"].astype(float)), to_torch(TARGET)
    copies = [z.clone() for z in arguments]
    first = seat(*arguments, plan(HALF), Settings())
    second = seat(*arguments, plan(HALF), Settings())
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert all(torch.equal(a, b) for a, b in zip(arguments, copies, strict=True))


@pytest.mark.parametrize("size", [(60, 70), (700, 620)])
def test_hidden_colours_of_a_transparent_target_decide_nothing(size):
    generator = torch.Generator().manual_seed(1)
    object_, color = torch.rand(1, 3, *size, generator=generator), torch.rand(1, 3, *size, generator=generator)
    alpha = (torch.rand(1, 1, *size, generator=generator) > 0.5).float()
    mask = torch.zeros(1, 1, *size)
    mask[..., size[0] // 3 : -size[0] // 3, size[1] // 3 : -size[1] // 3] = 1
    plans = [
        plan_seating(object_, mask, torch.cat([torch.where(alpha > 0, color, hidden), alpha], 1))
        for hidden in (torch.zeros_like(color), 1 - object_, object_)
    ]
    assert plans[0] == plans[1] == plans[2]
    half = torch.ones_like(mask)
    half[..., size[1] // 2 :] = 0
    assert plan_seating(object_, mask, torch.cat([object_, half], 1)).measures.correlation > 0.9
    invisible = plan_seating(object_, mask, torch.cat([object_, torch.zeros_like(mask)], 1))
    assert invisible.measures.correlation == 0


def test_a_cut_out_blended_loosely_by_hand_is_not_tinted_by_its_flat_ground():
    inside = MASKS["ellipse"]
    white = np.where(inside[..., None], SOURCE, 1.0)
    black = np.where(inside[..., None], SOURCE, 0.0)
    assert np.abs(seated(LOOSE, inside, white)[0] - seated(LOOSE, inside, black)[0]).max() < 1e-4


@pytest.mark.parametrize("mode", [LOOSE, TIGHT, MIXED, SAME_SCENE, HALF])
@pytest.mark.parametrize("margin", [0, 3])
def test_hidden_colours_of_a_transparent_target_do_not_reach_the_object(mode, margin):
    inside = MASKS["ellipse"]
    solid = ndimage.binary_erosion(inside, iterations=margin) if margin else inside
    source = np.where(solid[..., None], SOURCE, (0.1, 0.2, 0.9)) if margin else SOURCE
    alpha = np.where(np.arange(53) < 26, 1.0, 0.0)[None, :, None].repeat(37, 0)
    shown = []
    for hidden in (0.0, 1.0):
        target = np.concatenate([np.where(alpha > 0, TARGET, hidden), alpha], 2)
        arguments = to_torch(source), to_torch(inside.astype(float)), to_torch(target)
        image = to_numpy(seat(*arguments, plan(mode), Settings())[0])
        assert np.array_equal(image[~inside], target[~inside].astype(np.float32))
        shown.append(np.where(image[..., 3:] > 0, image, 0))
    assert np.abs(shown[0] - shown[1]).max() < 1e-4
