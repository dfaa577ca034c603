"""Multiband blending: every band of frequencies passes from the target to the object over about its own wavelength.

Burt and Adelson 1983, "A Multiresolution Spline with Application to Image Mosaics". There the bands of both pictures mix on
either side of a seam; here all transitions lie inside the mask, so that nothing beyond it changes.
"""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from .auto_blend import HALF, LOOSE, MIXED, SAME_SCENE, TIGHT, decide
from .distance import vertical_distance
from .feather import smoothstep
from .pyramid import expand, fill, reduced_length, weighted_reduce, with_border
from .region import Region, spanned_region
from .scene_measures import measure_scene

MOST_LEVELS = 12
# Nodes over which a band passes from the target to the object. With 1 the coarse grid begins to show, with 3 more of the
# object is lost and its edge looks no softer.
TRANSITION = 2
# How many levels are right, as the share of the object that is to keep its own broad colours. A tightly cut object turns to
# glass where it loses them; writing, and a scene in other light, should have none of their own.
OWN_SHARE = {TIGHT: 0.7, LOOSE: 0.25, HALF: 0.4, MIXED: 0.0, SAME_SCENE: 0.0}


def multiband_blend(object: Tensor, inside: Tensor, target: Tensor, levels: int) -> Tensor:
    """The object inside, each of its bands passing to the target's towards the edge.

    With D = object - target and the bands L_0, L_1, ... of D's Laplacian pyramid, of which the last is D's low-pass,

        result = target + sum over l of expand^l(w_l L_l).

    The weight w_l is 1 deep inside, where the result is the object, and 0 at nodes whose expansion would leave the mask. Where
    an object is too thin for a coarse band the target's own band stays, as it does at the edge.

    D is known inside only, so its means are taken there and what lies around the object has no part in them, nor have the
    hidden colours of transparent target pixels. The pyramid begins at the object: the result does not hang on where in the
    picture it lies.

    Args:
        object: `[1, 3, H, W]` in 0..1.
        inside: bool `[1, 1, H, W]`; beyond the frame it goes on as at the frame.
        target: `[1, 3 or 4, H, W]`.
        levels: number of bands, 1 or more. 1 is a paste with an edge of two pixels; each further one lets broader detail and
            colours pass over twice as many pixels.

    Returns:
        `[1, 3, H, W]` in 0..1; the target's colours outside.
    """
    color, alpha = target[:, :3], target[:, 3:]
    region = spanned_region(inside[0, 0])
    if region is None:
        return color
    part = (..., *region)
    known = with_border(inside[part].to(object.dtype))
    difference = known * with_border(object[part] - color[part])
    if alpha.shape[1]:
        difference = known * fill(difference, known * with_border(alpha[part]))
    weights = [weight.to(object.dtype) for weight in _band_weights(inside, region, levels)]
    missing = _blend_bands(difference, known, weights) - difference
    result = color.clone()
    result[part] = torch.where(inside[part], object[part] + missing[..., 1:-1, 1:-1], color[part])
    return result.clamp(0, 1)


def automatic_levels(object: Tensor, mask: Tensor, target: Tensor) -> int:
    """Levels that suit the object's size, and its mask as Auto Blend judges it; arguments as for `measure_scene`."""
    measures = measure_scene(object, mask, target)
    if measures is None:
        return 1
    inside = mask > 0
    least = OWN_SHARE[decide(measures)] * float(inside.sum())
    levels = 1
    for level, weight in enumerate(_band_weights(inside, spanned_region(inside[0, 0]), MOST_LEVELS)):
        if float(weight.sum()) * 4**level < least:
            break
        levels = level + 1
    return levels


def _blend_bands(difference: Tensor, known: Tensor, weights: list[Tensor]) -> Tensor:
    """Sum over l of expand^l(w_l L_l), on the difference's grid."""
    means = [difference]
    for _ in weights[1:]:
        mean, known = weighted_reduce(means[-1], known)
        means.append(mean)
    result = weights[-1] * means[-1]
    for weight, mean, broader in zip(weights[-2::-1], means[-2::-1], means[:0:-1], strict=True):
        size = mean.shape[-2:]
        band = (mean - expand(broader, size)).mul_(weight)
        result = band.add_(expand(result, size))
    return result


def _band_weights(inside: Tensor, region: Region, levels: int) -> Iterator[Tensor]:
    """Weight of each band at its nodes, from the finest to the last, or to the first that has none.

    A node of level l is expanded to all pixels up to 2 (2^l - 1) rows and columns away, so what counts is how many rows or
    columns away (Chebyshev distance) the nearest pixel outside is. The weight rises smoothly beyond that distance and not
    from node to node, so that it hardly depends on where the grid lies.
    """
    rows, columns = region
    # One pixel around the region; beyond the frame the mask goes on.
    around = F.pad(inside.float(), (1, 1, 1, 1), mode="replicate") > 0
    around = around[..., rows.start : rows.stop + 2, columns.start : columns.stop + 2]
    size = counts = around.shape[-2:]
    vertical = vertical_distance(around, (2 + TRANSITION) * 2 ** (levels - 1))
    for level in range(levels):
        spacing = 2**level
        nodes = [
            (spacing * torch.arange(-1, count - 1, device=inside.device) + 1).clamp(0, length - 1)
            for count, length in zip(counts, size, strict=True)
        ]
        reach, width = 2 * (spacing - 1), TRANSITION * spacing
        weight = smoothstep((_depth(vertical, *nodes, reach + width) - reach) / width)
        yield weight
        if not weight.any():
            return
        counts = [reduced_length(count) for count in counts]


def _depth(vertical: Tensor, rows: Tensor, columns: Tensor, limit: int) -> Tensor:
    """Chebyshev distance to the nearest pixel outside, at most `limit`, of the pixels in these rows and columns."""
    near = vertical.index_select(-2, rows).mT.contiguous()  # in columns, which are gathered faster than single pixels
    last = near.shape[-2] - 1
    depth = near.new_full((*near.shape[:-2], len(columns), len(rows)), limit)
    farthest = min(limit - 1, last)
    for offset in range(-farthest, farthest + 1):
        at_offset = near.index_select(-2, (columns + offset).clamp(0, last))
        depth = torch.minimum(depth, at_offset.clamp_min(abs(offset)))
    return depth.mT.contiguous()
