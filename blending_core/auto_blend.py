"""Seating an object without a knob: what the pictures say decides how, and every decision can be overruled.

A mask with background all around the object wants Poisson blending: its contour meets the target in open ground. A mask cut
along the object's outline wants the opposite: Poisson blending would carry the target's colours through the object, so only
the outline itself is worked on.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from .color import oklab_to_srgb, srgb_to_lab, srgb_to_oklab
from .color_transfer import Containment, Match, contain, match, measure_containment, measure_match
from .composite import composite
from .differences import Pairs, forward_differences, pairwise
from .distance import distance_to_outside
from .guidance import is_cut_out, without_surroundings
from .matting import extract_object, length
from .poisson import OnStep
from .poisson_blend import poisson_blend
from .resample import MASK_ROUNDING, resize, resize_visible
from .scene_measures import SceneMeasures, measure_scene, real_surroundings
from .screening import depth_rising_screening

LOOSE, TIGHT, MIXED, SAME_SCENE, HALF = "loose", "tight", "mixed", "same scene", "half loose, half tight"

# Of detail around the object: unrelated pictures reach 0.18, the same place at another time 0.4 to 0.5, recoloured copies
# of one picture 0.95.
SAME_SCENE_CORRELATION, SAME_PLACE_CORRELATION = 0.6, 0.25
# Writing on paper: little of the mask is object, and the paper is even.
INK_TIGHTNESS, INK_SHARE, INK_DEVIATION = 0.25, 0.35, 2.0
# With masks up to 2 pixels wrong, loose ones reach 0.58 (one that nearly follows the outline, 0.71), tight ones fall to 0.65.
TIGHT_TIGHTNESS = 0.615

# Strengths at which a setting of 1, the neutral middle, works. Lengths are shares of the object's diameter (the square root
# of its area), so that a picture and its enlargement look alike, but at least so many pixels.
COLOR_FIDELITY = 16.0
REACH = 0.012, 1.0
SURROUNDINGS = 0.25, 12.0  # how far around the object its source is looked at
MATCH_RING = 0.5  # the target's colours this far around the object are what colours are matched to
SAME_COLOR = 8.0  # Lab units; a smaller mean step to the target's ground is no change of light
STATISTICS_SIZE = 512  # pixels; colour statistics are taken from pictures reduced to this


class Plan(NamedTuple):
    """How an object is to be seated; may be reused for the other frames of a video.

    ground_step: mean Lab distance of source and target just outside the mask, infinite where there is nothing to see."""

    mode: str
    measures: SceneMeasures
    ground_step: float
    containment: Containment
    match: Match


class Settings(NamedTuple):
    """Each as an effect on the picture; the defaults are the automatic values.

    edge_softness 0..2: how far the target reaches into a hard edge of a tight mask. color_fidelity 0..2: how far the middle of
    a loosely cut object keeps its own colours, and above 1 of one in mixed and same scene mode. color_containment 0..2: 0
    never, 2 always fits lightness and chroma to the target's. color_match 0..1: share of the way to the mean and
    contrast of the colours around."""

    edge_softness: float = 1.0
    color_fidelity: float = 1.0
    color_containment: float = 1.0
    color_match: float = 0.0


def plan_seating(object: Tensor, mask: Tensor, target: Tensor, mode: str | None = None) -> Plan | None:
    """Measure one sample and decide; None for an empty mask.

    object: the placed source with its surroundings, `[1, 3, H, W]` in 0..1; mask: `[1, 1, H, W]`; target: `[1, 3 or 4, H, W]`;
    mode: overrules the decision.
    """
    measures = measure_scene(object, mask, target)
    if measures is None:
        return None
    factor = min(1.0, STATISTICS_SIZE / max(mask.shape[-2:]))
    size = [max(1, round(length * factor)) for length in mask.shape[-2:]]
    object, mask = resize(object, size), resize(mask, size)
    target, alpha = resize_visible(target, size)
    visible = alpha > 0.5
    solid = mask >= mask.max() / 2
    outside = distance_to_outside(~solid, int(MATCH_RING * float(solid.sum()) ** 0.5) + 2)
    # Statistics are of the object, without the rim that may hold background, unless there is nothing else.
    depth = distance_to_outside(solid, STATISTICS_SIZE)
    core = depth > min(4.0, float(depth.max()) / 2)
    ring = (outside > 0) & (outside <= outside.max() - 1) & visible
    contour = (outside > 0) & (outside < 2) & visible

    object_pixels, target_pixels = (_pixels(srgb_to_oklab(image)) for image in (object, target))
    own = object_pixels[core.flatten()]

    def seen(where: Tensor) -> Tensor:
        """The target's pixels there; the whole target, or the object itself, where there is nothing to see."""
        for candidate in (where, visible):
            if candidate.any():
                return target_pixels[candidate.flatten()]
        return own

    step = srgb_to_lab(target) - srgb_to_lab(object)
    ground_step = float(_pixels(step)[contour.flatten()].mean(0).norm()) if contour.any() else float("inf")
    return Plan(
        mode or decide(measures),
        measures,
        ground_step,
        measure_containment(own, seen(visible)),
        measure_match(own, seen(ring)),
    )


def decide(measures: SceneMeasures) -> str:
    """The mode that the measures call for."""
    tightness, correlation, object_share, ground_deviation = measures
    if correlation > SAME_SCENE_CORRELATION:
        return SAME_SCENE
    if correlation > SAME_PLACE_CORRELATION:
        return HALF
    if tightness is None:
        return TIGHT
    if tightness < INK_TIGHTNESS and object_share < INK_SHARE and ground_deviation < INK_DEVIATION:
        return MIXED
    return TIGHT if tightness > TIGHT_TIGHTNESS else LOOSE


def margin(mask: Tensor) -> int:
    """Pixels around the mask that `seat` looks at."""
    return round(length(SURROUNDINGS, float((mask > 0).sum()) ** 0.5))


def seat(
    object: Tensor, mask: Tensor, target: Tensor, plan: Plan, settings: Settings, on_step: OnStep | None = None
) -> tuple[Tensor, Tensor]:
    """Seat one sample as planned.

    object, mask and target as for `plan_seating`, or the part of them within `margin` of the mask, which is not empty. Returns
    the picture, bit-equal to the target where the returned mask is 0, and that mask: the given one, or less where it held
    background.
    """

    def fitted(image: Tensor) -> Tensor:
        return _in_target_colors(image, plan, settings)

    # 1 is the automatic value; the fourth power spans, from 0 to 2, all that can be told apart.
    fidelity = settings.color_fidelity**4
    if plan.mode == TIGHT:
        color, alpha = _tight(object, mask, target, fitted, settings.edge_softness, on_step)
        return composite(color, alpha, target), alpha
    if plan.mode == HALF:
        color, alpha = _tight(object, mask, target, fitted, settings.edge_softness, on_step)
        loose = _loose(fitted(object), mask, target, fidelity, on_step)
        return composite(_mean_color(loose, composite(color, alpha, target)), mask, target), mask
    if plan.mode != LOOSE:
        # Exact in the same scene, and for ink, whose paper is to become the target's.
        fidelity = max(0.0, fidelity - 1)
    color = _loose(fitted(object), mask, target, fidelity, on_step, mixed=plan.mode == MIXED)
    return composite(color, mask, target), mask


def _loose(object, mask, target, fidelity, on_step, mixed=False):
    """Poisson blending that keeps the object's own colours in its middle."""
    inside, differences = mask > 0, forward_differences(object)
    if is_cut_out(object, inside).item():
        differences = without_surroundings(differences, inside)
    screening = depth_rising_screening(inside, COLOR_FIDELITY * fidelity) if fidelity else 0.0
    return poisson_blend(object, inside, target, differences, mixed=mixed, screening=screening, on_step=on_step)


def _tight(object, mask, target, fitted, edge_softness, on_step):
    """Colour and alpha of the object without its background; the target reaches a little way into hard edges."""
    color, alpha = extract_object(object, mask, real_surroundings(object))
    alpha = torch.where(alpha < MASK_ROUNDING, torch.zeros_like(alpha), alpha)
    color = fitted(color)
    reach = edge_softness * length(REACH, float((mask > 0).sum()) ** 0.5)
    if reach > 0:
        color = poisson_blend(
            color,
            alpha > 0,
            target,
            forward_differences(color),
            screening=1 / reach**2,
            conductance=_abruptness(alpha),
            on_step=on_step,
        )
    return color, alpha


def _in_target_colors(image: Tensor, plan: Plan, settings: Settings) -> Tensor:
    strength = _containment_strength(plan, settings.color_containment)
    if strength == 0 and settings.color_match == 0:
        return image
    oklab = contain(srgb_to_oklab(image), plan.containment, strength)
    return oklab_to_srgb(match(oklab, plan.match, settings.color_match))


def _containment_strength(plan: Plan, setting: float) -> float:
    """0 at 0, the automatic strength at 1, full at 2."""
    if plan.mode in (TIGHT, HALF):
        automatic = plan.containment.automatic_strength
    else:
        # In the same scene and light the ground cannot show a change of light, only the object's own colours can.
        automatic = float(plan.mode == SAME_SCENE and plan.ground_step < SAME_COLOR)
    return automatic * min(setting, 1.0) + (1 - automatic) * max(setting - 1.0, 0.0)


def _abruptness(alpha: Tensor) -> Pairs:
    """Conductance to the target: that of alpha squared where the mask ends, so that a soft edge is not softened again."""
    ends = pairwise(torch.logical_xor, alpha > 0)
    larger = pairwise(torch.maximum, alpha)
    return tuple(torch.where(end, value**2, torch.ones_like(value)) for end, value in zip(ends, larger, strict=True))


def _mean_color(loose: Tensor, tight: Tensor) -> Tensor:
    """Mean of two results; where the second left a transparent pixel of the target it shows no colour."""
    if tight.shape[1] == 3:
        return (loose + tight) / 2
    shown = tight[:, 3:]
    return (loose + shown * tight[:, :3]) / (1 + shown)


def _pixels(image: Tensor) -> Tensor:
    """`[1, C, H, W]` as `[H * W, C]`."""
    return image[0].flatten(1).T
