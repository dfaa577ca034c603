"""Histogram loss: every channel of the features takes on the distribution that it has in the target."""

from typing import NamedTuple

import torch
from torch import Tensor

from .feature_model import Features

CHANNELS = 8  # matched at a time, which bounds the memory
SAMPLES = 65536  # positions of a layer that are enough to know its distribution by
TRACE = 1e-6  # of the largest weight; a share of the ranks below it is lost in rounding


class Distribution(NamedTuple):
    """Of every channel: `integral[c, k]` is the sum of the k smallest of its n values, divided by n. `[N, n + 1]`."""

    integral: Tensor


def measure_distribution(values: Tensor) -> Distribution:
    """Of features, `[N, n]`: n values of every channel."""
    values = values.double().sort(1).values
    integral = values.cumsum(1) / values.shape[1]
    return Distribution(torch.cat([torch.zeros_like(integral[:, :1]), integral], 1))


def match_histogram(features: Tensor, weights: Tensor, target: Distribution) -> Tensor:
    """Each value replaced by the target's value of the same rank; equal values by their ranks' mean value.

    The mean over the ranks that equal values share keeps them equal (the zeros of rectified features would be spread
    apart) and makes the result the closest of its kind to the features (optimal transport in one dimension).

    features: `[1, N, H, W]`; weights: `[1, 1, H, W]`, how much each position counts. Values without weight, or with a trace
    of it only, stay as they are.
    """
    chosen = (weights > TRACE * weights.max()).flatten()
    counts = weights.flatten()[chosen].double()
    result = features.clone()
    parts = result[0].flatten(1).split(CHANNELS), target.integral.split(CHANNELS)
    for values, integral in zip(*parts, strict=True):
        values[:, chosen] = _match(values[:, chosen].double(), counts, Distribution(integral)).to(features)
    return result


def _match(values: Tensor, counts: Tensor, target: Distribution) -> Tensor:
    """For values `[N, n]`, each of which counts as `counts[n]`."""
    ranked = values.sort(1)
    counted = counts[ranked.indices].cumsum(1)
    shares = torch.cat([torch.zeros_like(counted[:, :1]), counted / counted[:, -1:]], 1)
    first = torch.searchsorted(ranked.values, values)
    behind = torch.searchsorted(ranked.values, values, right=True)
    low, high = shares.gather(1, first), shares.gather(1, behind)
    return (_integral(target, high) - _integral(target, low)) / (high - low)


def histogram_loss(features: Features, targets: dict[str, Distribution], masks: Features) -> Tensor:
    """Mean over the layers of the masked mean square of F - R, R the features matched to the target (eq. 11).

    R counts as constant: its derivative has no part in the gradient of the distance that is measured, because R is the
    closest point of the features with the target's distribution.
    """
    terms = []
    for layer, target in targets.items():
        maps, mask = features[layer], masks[layer]
        matched = match_histogram(maps.detach(), mask, target)
        deviation = (maps - matched).square().sum(1, keepdim=True)
        total = mask.sum().clamp_min(torch.finfo(mask.dtype).tiny)
        terms.append((mask * deviation).sum() / (total * maps.shape[1]))
    return sum(terms) / len(terms)


def _integral(target: Distribution, share: Tensor) -> Tensor:
    """Integral of the target's quantile function from 0 to `share`, `[N, n]`."""
    count = target.integral.shape[1] - 1
    position = share * count
    below = position.floor().clamp(0, count - 1).long()
    low, high = target.integral.gather(1, below), target.integral.gather(1, below + 1)
    return torch.lerp(low, high, position - below)
