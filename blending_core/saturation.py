"""Saturation of HSV, made differentiable, and the saturation loss (Xue et al. 2023, "Image Blending Algorithm with Automatic
Mask Generation", eqs. 2 and 3)."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from .differences import Pairs, forward_differences, pairwise
from .distance import distance_to_outside
from .region import Region

# Added to the maximum of a colour, which divides its saturation: in black it is 0, and noise in near-black pixels does
# not jump between grey and full colour.
BLACK_LEVEL = 0.02
GREY_VARIATION = 0.02  # the variation of a target with less, such as a pencil drawing, counts as this
HUBER_DELTA = 0.25
ROUNDING = 1e-3  # of the absolute value in the paper's form, whose kink would stop an optimiser

RELATIVE, PAPER = "relative", "paper"
OBJECT, SEAM = "object", "seam"


def saturation(image: Tensor) -> Tensor:
    """S = (max - min) / (max + BLACK_LEVEL) over the channels, 0..1: `[B, 1, H, W]` of `[B, 3, H, W]`.

    Values beyond 0..1 are cut off. The gradient is at most 1 / BLACK_LEVEL; equal channels share it.
    """
    image = image.clamp(0, 1)
    largest = image.amax(1, keepdim=True)
    return (largest - image.amin(1, keepdim=True)) / (largest + BLACK_LEVEL)


class SaturationSettings(NamedTuple):
    """weight: a factor of the recipe's, from 0.

    form: "relative" (Huber loss of the object's variation of saturation divided by the target's, minus 1) or "paper" (the
    absolute difference of both pictures' variations, rounded at 0). region: "object", or "seam": only `width` pixels on
    either side of the mask's edge.
    """

    weight: float = 1.0
    form: str = RELATIVE
    region: str = OBJECT
    width: int = 4


class SaturationLoss:
    """Compares the variation of saturation: the mean absolute difference of S along rows, plus that along columns (eq. 3).

    A composite varies too much at its seam, and so does style refinement all along the mask's edge. The object's variation
    is that of all pairs of neighbours that touch it. In the paper's form both are taken over the whole picture, which
    differs from the target only there.
    """

    def __init__(
        self, mask: Tensor, target: Tensor, settings: SaturationSettings, part: Region, visible: Tensor | None = None
    ):
        """mask `[1, 1, H, W]` and target `[1, 3, H, W]` of the whole picture; `part` of it will be compared, and holds
        the object and the seam. visible: bool `[1, 1, H, W]`, what is to be seen of the target; None for all of it."""
        inside = mask > 0
        if settings.region == SEAM:
            near = pairwise(torch.logical_and, _near_edge(inside, settings.width))
        else:
            near = pairwise(torch.logical_or, inside)
        whole = pairwise(torch.logical_and, torch.ones_like(inside) if visible is None else visible)
        counted = whole if (settings.form, settings.region) == (PAPER, OBJECT) else near
        self.counts = [int(pairs.sum()) for pairs in counted]
        self.pairs = _pairs_in(near, part)
        if settings.form == PAPER:
            self.reference = _variation(target[(..., *part)], self.pairs, self.counts)
        else:
            everywhere = _variation(target, whole, [int(pairs.sum()) for pairs in whole])
            self.reference = everywhere.clamp_min(GREY_VARIATION)
        self.form = settings.form

    def __call__(self, image: Tensor) -> Tensor:
        """The loss of the part `[1, 3, h, w]` of a composite."""
        variation = _variation(image, self.pairs, self.counts)
        if self.form == PAPER:
            return ((variation - self.reference).square() + ROUNDING**2).sqrt()
        return F.huber_loss(variation / self.reference, torch.ones_like(variation), delta=HUBER_DELTA)


def _pairs_in(pairs: Pairs, part: Region) -> Pairs:
    """The pairs that lie in a part of the picture."""
    rows, columns = part
    right, down = pairs
    return (
        right[..., rows, columns.start : columns.stop - 1],
        down[..., rows.start : rows.stop - 1, columns],
    )


def _near_edge(inside: Tensor, width: int) -> Tensor:
    return (distance_to_outside(inside, width + 1) <= width) & (distance_to_outside(~inside, width + 1) <= width)


def _variation(image: Tensor, pairs: Pairs, counts: list[int]) -> Tensor:
    differences = forward_differences(saturation(image))
    return sum(
        (difference.abs() * chosen).sum() / max(count, 1)
        for difference, chosen, count in zip(differences, pairs, counts, strict=True)
    )
