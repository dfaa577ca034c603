"""What the losses compare with of the whole target: Gram matrices and distributions of its features, gathered in tiles."""

from typing import NamedTuple

import torch
from torch import Tensor

from .feature_model import FeatureModel, Features, features_in_tiles
from .histogram import SAMPLES, Distribution, measure_distribution
from .losses import gram_matrix
from .region import Region


class TargetStatistics(NamedTuple):
    """Of every style layer. grams: `[1, N, N]`, over all that is to be seen of the target. distributions: of its values, if
    they were asked for. around: what the features outside of the object's places add to the Gram matrix over the picture.
    shares: the part 0..1 of all features that lie in those places."""

    grams: Features
    distributions: dict[str, Distribution]
    around: Features
    shares: dict[str, float]


def target_statistics(
    model: FeatureModel, target: Tensor, visible: Tensor, places: dict[str, Region], with_distributions: bool
) -> TargetStatistics:
    """target: `[1, 3, H, W]`; visible: `[1, 1, H, W]` in 0..1; places: of each layer the rows and columns of the object."""
    grams, around, totals, samples = {}, {}, {}, {}
    for maps, part in features_in_tiles(model, target):
        shares = model.layer_masks(visible[(..., *part)])
        for layer in model.style_layers:
            features, share, stride = maps[layer], shares[layer], model.strides[layer]
            outside = torch.ones_like(share)
            outside[
                (..., *(_within(place, i.start // stride) for place, i in zip(places[layer], part, strict=True)))
            ] = 0
            for sums, weights in ((grams, share), (around, outside)):
                sums[layer] = sums.get(layer, 0) + gram_matrix(features, weights) * weights.sum()
            totals[layer] = totals.get(layer, 0) + share.sum()
            if with_distributions:
                step = -(-target.shape[-2] * target.shape[-1] // (stride**2 * SAMPLES))
                seen = share.flatten().nonzero()[::step, 0]
                samples.setdefault(layer, []).append(features[0].flatten(1).T.index_select(0, seen))
    shares = {}
    for layer in grams:
        stride = model.strides[layer]
        count = (target.shape[-2] // stride) * (target.shape[-1] // stride)
        rows, columns = places[layer]
        shares[layer] = (rows.stop - rows.start) * (columns.stop - columns.start) / count
        grams[layer] /= totals[layer].clamp_min(torch.finfo(target.dtype).tiny)
        around[layer] /= count
    distributions = {layer: measure_distribution(torch.cat(samples.pop(layer)).T) for layer in list(samples)}
    return TargetStatistics(grams, distributions, around, shares)


def _within(place: slice, start: int) -> slice:
    """The place in a tile that begins at `start`."""
    return slice(max(place.start - start, 0), max(place.stop - start, 0))
