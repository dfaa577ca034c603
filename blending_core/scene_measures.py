"""What a source, a mask and a target say about how the object should be seated: four numbers.

All are measured at one working size, at which the object covers 128 x 128 pixels, because they depend on the size: so a
picture and its enlargement get the same numbers. Lengths below are pixels of that size.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from .blur import masked_mean
from .color import srgb_to_lab
from .differences import forward_differences, pairwise
from .distance import distance_to_outside
from .guidance import is_cut_out
from .region import spanned_region
from .resample import resize, resize_visible

WORKING_DIAMETER = 128  # square root of the object's area
LONGEST_SIDE = 512  # of the working picture; only an object of far-flung specks is measured smaller
SURROUNDINGS = 0.4  # width of what is measured around the object, in diameters

# Contour tightness: colours farther than SIDE_GAP from the contour on either side, means with SIDE_SIGMA; a step of
# STEP_START Lab units counts nothing, one of STEP_END fully.
SIDE_GAP, SIDE_SIGMA, LEAST_WEIGHT = 2.5, 2.0, 0.01
STEP_START, STEP_END = 5.0, 13.0
# No mask is perfect: along its contour the step lies now on one side, now on the other, and no single offset shows all of
# it, but the mean over several does. Seen from inside the contour a step may also be that of a mask which leaves a thin
# margin on purpose; it counts as much less as keeps those apart. A step at the contour lies within SIDE_GAP at all offsets.
OUTWARD_OFFSETS, INWARD_OFFSETS, INWARD_DISCOUNT = (0, 1, 2, 3), (-1, -2, -3), 0.25

CORRELATION_BAND = 10.0
DETAIL_SIGMAS = 1.0, 4.0  # the detail that is compared lies between these two blurs
OUTLIER = 3.0  # medians beyond which a difference is cut off

INK_RING, GROUND_SIGMA = 19.0, 32.0
INK_START, INK_END, INK_SIGMA = 4.0, 16.0, 0.7

FARTHEST = 24  # no distance beyond this matters here


class SceneMeasures(NamedTuple):
    """tightness: share of the contour with a colour step in the source, 0..1; None where nothing can be measured.
    correlation: of source and target detail just outside the mask, -1..1. object_share: share of the masked pixels that
    differ from the source's ground, 0..1. ground_deviation: how much that ground varies, Lab units."""

    tightness: float | None
    correlation: float
    object_share: float
    ground_deviation: float


def measure_scene(object: Tensor, mask: Tensor, target: Tensor) -> SceneMeasures | None:
    """Measure one sample; None for an empty mask.

    object: the placed source with its surroundings, `[1, 3, H, W]` in 0..1; mask: `[1, 1, H, W]`; target: `[1, 3 or 4, H, W]`.
    """
    # A soft mask may be a blurred one, with the outline at 1/2, or one that fades inwards, with the outline at its end.
    supports = [mask > 0] if (mask < 0.5).all() else [mask >= 0.5, mask > 0]
    diameter = float(supports[0].sum()) ** 0.5
    region = spanned_region(supports[-1][0, 0], margin=round(SURROUNDINGS * diameter) + 2)
    if region is None:
        return None
    part = (slice(None), slice(None), *region)
    real = real_surroundings(object)[part]
    factor = min(WORKING_DIAMETER / diameter, LONGEST_SIDE / max(real.shape[-2:]))
    size = [max(1, round(length * factor)) for length in real.shape[-2:]]

    target, alpha = resize_visible(target[part], size)
    source, target = srgb_to_lab(resize(object[part], size)), srgb_to_lab(target)
    real = resize(real.to(alpha.dtype), size) > 0.99
    seen = real & (alpha > 0.99)
    distances = [signed_distance(resize(support[part].to(alpha.dtype), size) > 0.5) for support in supports]
    tightness = None
    if not is_cut_out(object[part], supports[0][part]).item():
        measured = [contour_tightness(source, distance, real) for distance in distances]
        tightness = max((share for share in measured if share is not None), default=None)
    return SceneMeasures(
        tightness,
        scene_correlation(source[:, :1], target[:, :1], distances[0], seen),
        *ink(source, distances[0], real),
    )


def real_surroundings(object: Tensor) -> Tensor:
    """Pixels of a placed source that are not mere repetitions of its border row or column: bool `[1, 1, H, W]`.

    Found as equal rows or columns along the frame. Rows of one flat colour are kept: they say the same either way. A
    repetition at an angle, of a turned source, is not found. object: `[1, C, H, W]`.
    """
    rows, columns = _repeated(object), _repeated(object.mT)
    return ~(rows[:, None] | columns)[None, None]


def _repeated(image: Tensor) -> Tensor:
    """Which rows, counted from the top and from the bottom, equal their neighbours: bool `[H]`."""
    equal = (image[..., 1:, :] == image[..., :-1, :]).all((0, 1, 3))
    repeated = torch.zeros(image.shape[2], dtype=torch.bool, device=image.device)
    if equal.all():
        return repeated
    first, last = int((~equal).nonzero()[0]), int((~equal).nonzero()[-1])
    # The row between the repetition and the picture is left out with it: within the mask its colours may differ.
    for count, border, side in ((first, 0, slice(0, first + 1)), (len(equal) - 1 - last, -1, slice(last + 1, None))):
        is_flat = (image[..., border, 1:] == image[..., border, :-1]).all()
        if count and not is_flat:
            repeated[side] = True
    return repeated


def signed_distance(inside: Tensor) -> Tensor:
    """Distance to the contour, positive inside and negative outside, half a pixel at the pixels along it."""
    return torch.where(
        inside, distance_to_outside(inside, FARTHEST) - 0.5, 0.5 - distance_to_outside(~inside, FARTHEST)
    )


def contour_tightness(lab: Tensor, distance: Tensor, real: Tensor) -> float | None:
    """Share of the contour along which the source has a colour step: 1 for a mask cut along the object's outline.

    For a mask in open ground, with background all around the object, it is 0. It is the larger of two means of that share:
    along the contour moved by each of OUTWARD_OFFSETS, and, less INWARD_DISCOUNT, by each of INWARD_OFFSETS. None if the
    source shows nothing on one side of the contour. lab: `[1, 3, H, W]`; distance: `signed_distance` of the mask; real: bool.
    """

    def at_offset(offset: float) -> float | None:
        """The share along the contour moved outwards by `offset` pixels."""
        moved = distance + offset
        inner, inner_weight = masked_mean(lab, ((moved > SIDE_GAP) & real).to(lab.dtype), SIDE_SIGMA)
        outer, outer_weight = masked_mean(lab, ((moved < -SIDE_GAP) & real).to(lab.dtype), SIDE_SIGMA)
        along = (moved > -1) & (moved <= 0) & real & (inner_weight > LEAST_WEIGHT) & (outer_weight > LEAST_WEIGHT)
        if not along.any():
            return None
        step = (inner - outer).square().sum(1, keepdim=True).sqrt()[along]
        return float(((step - STEP_START) / (STEP_END - STEP_START)).clamp(0, 1).mean())

    def mean_share(offsets: tuple[float, ...]) -> float | None:
        shares = [share for share in map(at_offset, offsets) if share is not None]
        return sum(shares) / len(shares) if shares else None

    outward, inward = mean_share(OUTWARD_OFFSETS), mean_share(INWARD_OFFSETS)
    if outward is None or inward is None:
        return outward
    return max(outward, inward - INWARD_DISCOUNT)


def scene_correlation(source: Tensor, target: Tensor, distance: Tensor, real: Tensor) -> float:
    """Correlation of fine detail of source and target just outside the mask: near 1 for the same scene.

    Pearson's coefficient of the differences between neighbours of the band-passed lightness. Slow ramps, that any two
    skies share, are filtered out, and the few largest differences are cut off so that one strong edge does not decide.
    source, target: lightness `[1, 1, H, W]`.
    """
    outside = (distance < 0) & real
    band = outside & (distance > -CORRELATION_BAND)
    pairs = pairwise(torch.logical_and, band)
    if sum(int(pair.sum()) for pair in pairs) < 40:
        return 0.0

    def detail(lightness: Tensor) -> Tensor:
        fine, coarse = (masked_mean(lightness, outside.to(lightness.dtype), sigma)[0] for sigma in DETAIL_SIGMAS)
        differences = torch.cat([d[p] for d, p in zip(forward_differences(fine - coarse), pairs, strict=True)])
        limit = OUTLIER * differences.abs().median()
        return differences.clamp(-limit, limit)

    a, b = (detail(lightness).cpu().double() for lightness in (source, target))  # Apple's Metal has no doubles
    a, b = a - a.mean(), b - b.mean()
    norm = float(a.norm() * b.norm())
    return float(a @ b) / norm if norm > 0 else 0.0


def ink(lab: Tensor, distance: Tensor, real: Tensor) -> tuple[float, float]:
    """Share of the masked pixels that differ from the ground around the mask, and how much that ground varies.

    Writing on paper: a small share on an even ground. With no ground to be seen the deviation is infinite.
    """
    inside, ring = distance > 0, (distance < 0) & (distance > -INK_RING) & real
    if not ring.any():
        return 1.0, float("inf")
    ground, _ = masked_mean(lab, ring.to(lab.dtype), GROUND_SIGMA)
    difference = (lab - ground).square().sum(1, keepdim=True).sqrt()
    deviation = float(difference[ring].square().mean().sqrt())
    share = ((difference - 1.5 * deviation - INK_START) / (INK_END - INK_START)).clamp(0, 1)
    share, _ = masked_mean(share, torch.ones_like(share), INK_SIGMA)
    return float(share[inside].mean()), deviation
