"""Histogram loss: every channel of the features takes on the distribution that it has in the target.

It is optimal transport in one dimension, for all channels at once: their values are sorted and laid one channel behind the
other along one axis, on which each takes as much room as it counts, and the target's likewise. The mean of what lies at the
same place on the target's axis is a difference of two running sums of the target's values.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from .feature_model import Features

SAMPLES = 65536  # positions of a layer that are enough to know its distribution by
TRACE = 1e-6  # of the largest weight; a share of the ranks below it is lost in rounding
# Values that are matched at a time, with about 100 bytes of working memory each: on a CPU as many as its cache holds;
# elsewhere many, because each operation has its price there.
VALUES_ON_CPU, VALUES = 2**17, 2**20


class Distribution(NamedTuple):
    """sums: of the values of all channels, sorted and one channel behind the other; `sums[k]` is that of the first k, in
    double precision, `[N * count + 2]`, the last one twice. count: of each channel's values."""

    sums: Tensor
    count: int


def measure_distribution(values: Tensor) -> Distribution:
    """Of features, `[N, n]`: n values of every channel."""
    values = _where_doubles_are(values)
    if values.device.type == "cpu":  # NumPy's sort is vectorised, torch's is not
        values = _copy(values)
        values.numpy().sort(1)
    else:
        values = values.sort(1).values
    sums = values.cumsum(1, dtype=torch.float64)
    sums[1:] += sums[:-1, -1:].cumsum(0)
    return Distribution(torch.cat([sums.new_zeros(1), sums.flatten(), sums[-1, -1:]]), values.shape[1])


def match_histogram(features: Tensor, weights: Tensor, target: Distribution) -> Tensor:
    """Each value replaced by the target's value of the same rank; equal values by their ranks' mean value.

    The mean over the ranks that equal values share keeps them equal (the zeros of rectified features would be spread
    apart) and makes the result the closest of its kind to the features (optimal transport in one dimension).

    features: `[1, N, H, W]`; weights: `[1, 1, H, W]`, how much each position counts. Values without weight, or with a trace
    of it only, stay as they are. The result is in single precision if the features are in less.
    """
    device = features.device
    features, weights = _where_doubles_are(features), _where_doubles_are(weights).flatten().double()
    (chosen,) = (weights > TRACE * weights.max()).nonzero(as_tuple=True)
    result = _copy(features.detach()[0].flatten(1))
    if len(chosen):
        step = max((VALUES_ON_CPU if features.device.type == "cpu" else VALUES) // len(chosen), 1)
        for first in range(0, len(result), step):
            part = target._replace(sums=target.sums[first * target.count :])
            _match(result[first : first + step], chosen, weights, part)
    return result.view_as(features).to(device)


def _where_doubles_are(values: Tensor) -> Tensor:
    """On the CPU what lies on Apple's Metal, which has single precision only."""
    return values.cpu() if values.device.type == "mps" else values


def _copy(values: Tensor) -> Tensor:
    """Channel after channel in memory, in single precision at least."""
    dtype = torch.promote_types(values.dtype, torch.float32)
    return values.to(dtype, copy=True, memory_format=torch.contiguous_format)


def _match(values: Tensor, chosen: Tensor, weights: Tensor, target: Distribution) -> None:
    """In place, at the chosen ones of the positions of values `[N, n]`; the target may have more channels behind these."""
    ranked, places = _sort(values.index_select(1, chosen), chosen)
    ends = weights.index_select(0, places.flatten()).view_as(places).cumsum(1)
    ends *= target.count / ends[:, -1:]
    ends += target.count * torch.arange(len(ends), device=ends.device)[:, None]
    # Runs of equal values within a channel: where each begins, the sum up to there, and how many began up to each value.
    begins = torch.ones_like(ranked, dtype=torch.bool)
    torch.ne(ranked[:, 1:], ranked[:, :-1], out=begins[:, 1:])
    begins, ends = begins.flatten(), ends.flatten()
    (last,) = begins[1:].nonzero(as_tuple=True)
    borders = torch.cat([ends.new_zeros(1), ends.index_select(0, last), ends[-1:]])
    means = _sum_up_to(borders, target.sums).diff() / borders.diff()
    matched = means.to(values).index_select(0, begins.cumsum(0) - 1)
    values.scatter_(1, places, matched.view_as(places))


def _sort(values: Tensor, places: Tensor) -> tuple[Tensor, Tensor]:
    """Every channel of values `[N, n]` in order, as numbers that differ where the values do, and the place of each, `[N, n]`.

    places: of the values, `[n]`, ascending.
    """
    if values.device.type != "cpu" or values.dtype != torch.float32:
        ranked, order = values.sort(1)
        return ranked, places[order]
    # NumPy's sort is vectorised, torch's is not: value and place in one number, the place in its lower half. The bits of a
    # float are in order where it is positive and in reverse where it is negative; adding 0 leaves no -0.
    bits = (values + 0.0).view(torch.int32)
    bits ^= (bits >> 31) & 0x7FFFFFFF
    keys = bits.long().bitwise_left_shift_(32).bitwise_or_(places)
    keys.numpy().sort(1)
    return keys >> 32, keys.bitwise_and_(0xFFFFFFFF)


def _sum_up_to(places: Tensor, sums: Tensor) -> Tensor:
    """Sum of values laid along an axis, one at each unit of it, from 0 to each of the places."""
    below = places.long()
    return torch.lerp(sums.index_select(0, below), sums.index_select(0, below + 1), places.frac())


def histogram_loss(features: Features, targets: dict[str, Distribution], masks: Features) -> Tensor:
    """Mean over the layers of the masked mean square of F - R, R the features matched to the target (eq. 11).

    R counts as constant: its derivative has no part in the gradient of the distance that is measured, because R is the
    closest point of the features with the target's distribution.
    """
    terms = [
        _SquaredDistance.apply(features[layer].to(masks[layer]), masks[layer], target)
        for layer, target in targets.items()
    ]
    return sum(terms) / len(terms)


class _SquaredDistance(torch.autograd.Function):
    """The mask's mean of the squares of F - R and its derivative, 2 (F - R) times the mask's share, in one product."""

    @staticmethod
    def forward(ctx, features, mask, target):
        deviation = features - match_histogram(features, mask, target)
        total = mask.sum().clamp_min(torch.finfo(mask.dtype).tiny)
        share = mask / (total * features.shape[1])
        ctx.save_for_backward(deviation, share)
        return (share * deviation.square().sum(1, keepdim=True)).sum()

    @staticmethod
    def backward(ctx, gradient):
        deviation, share = ctx.saved_tensors
        return deviation * (2 * gradient * share), None, None
