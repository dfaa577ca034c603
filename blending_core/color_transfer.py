"""Fitting the object's colours to the target's, in OKLab."""

from typing import NamedTuple

import torch
from torch import Tensor

LIGHTNESS_PERCENTILES = 1.0, 99.0
CHROMA_PERCENTILE = 95.0
# The automatic strength of containment: none while the target has at least two fifths of the object's chroma, as between any
# two photographs; full when it has a quarter or less, as a drawing or a black-and-white picture has.
CHROMA_RATIO_NONE, CHROMA_RATIO_FULL = 0.4, 0.25
VISIBLE_CHROMA = 0.02  # an object with less is grey, and there is nothing to contain
GAIN_LIMITS = 0.5, 2.0  # of the contrast, when colours are matched


class Containment(NamedTuple):
    """lightness: the object's range, L 0..1; contained: the part of it that the target has too; chroma_ratio: target's
    chroma over the object's, at most 1."""

    lightness: tuple[float, float]
    contained: tuple[float, float]
    chroma_ratio: float

    @property
    def automatic_strength(self) -> float:
        """How much containment the pictures call for, 0..1."""
        share = (CHROMA_RATIO_NONE - self.chroma_ratio) / (CHROMA_RATIO_NONE - CHROMA_RATIO_FULL)
        return min(max(share, 0.0), 1.0)


def measure_containment(object: Tensor, target: Tensor) -> Containment:
    """object, target: OKLab pixels `[N, 3]` and `[M, 3]`, none of them empty."""
    (p, q), (low, high) = (
        [_percentile(pixels[:, 0], percent) for percent in LIGHTNESS_PERCENTILES] for pixels in (object, target)
    )
    chroma, target_chroma = (_percentile(pixels[:, 1:].norm(dim=1), CHROMA_PERCENTILE) for pixels in (object, target))
    ratio = min(1.0, target_chroma / chroma) if chroma > VISIBLE_CHROMA else 1.0
    return Containment((p, q), (max(p, low), min(q, high)), ratio)


def contain(oklab: Tensor, containment: Containment, strength: float) -> Tensor:
    """Bring lightness range and chroma of an object into those of the target.

    At strength 1 the measured lightness range becomes the contained one, linearly, and chroma is multiplied by the ratio;
    less moves the colours that share of the way. Ranges that do not overlap, and objects of one lightness, keep
    their lightness. oklab: `[B, 3, H, W]`.
    """
    (p, q), (low, high) = containment.lightness, containment.contained
    lightness, chroma = oklab[:, :1], oklab[:, 1:]
    if high > low and q > p:
        lightness = torch.lerp(lightness, low + (lightness - p) * ((high - low) / (q - p)), strength)
    return torch.cat([lightness, chroma * (1 + strength * (containment.chroma_ratio - 1))], 1)


class Match(NamedTuple):
    """Mean and standard deviation of every OKLab channel, of the object and of the colours it is matched to."""

    mean: tuple[float, ...]
    deviation: tuple[float, ...]
    target_mean: tuple[float, ...]
    target_deviation: tuple[float, ...]


def measure_match(object: Tensor, target: Tensor) -> Match:
    """object, target: OKLab pixels `[N, 3]` and `[M, 3]`, none of them empty."""
    moments = [
        tuple(values.tolist())
        for pixels in (object, target)
        for values in (pixels.mean(0), pixels.std(0, correction=0))
    ]
    return Match(*moments)


def match(oklab: Tensor, statistics: Match, strength: float) -> Tensor:
    """Give the object the mean and the contrast of other colours, `strength` 0..1 of the way.

    Reinhard et al. 2001, "Color Transfer between Images", eqs. 10-11, in OKLab; a channel's contrast changes at most by
    a factor of 2. oklab: `[B, 3, H, W]`.
    """
    mean, deviation, target_mean, target_deviation = (oklab.new_tensor(values)[:, None, None] for values in statistics)
    gain = (target_deviation / deviation.clamp_min(1e-6)).clamp(*GAIN_LIMITS)
    return torch.lerp(oklab, target_mean + gain * (oklab - mean), strength)


def _percentile(values: Tensor, percent: float) -> float:
    return float(values.float().quantile(percent / 100))
