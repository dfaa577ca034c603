"""The region pass of a VGG: every layer computes only what can differ from the target's features and is read.

A convolution is linear, so its response is the sum of two: to the features that can differ, with zeros around them, and to
the target's features around those, with zeros in their place. The second is constant, and not zero in the outermost rows
and columns only; it is computed once. Where the picture ends the network itself has zeros around it, and so has the sum.
"""

from copy import copy
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from .feature_model import Features, RegionPass, cells_over
from .region import Region, grown


class VGGRegionPass(RegionPass):
    """Per layer: the box dilated by the receptive field, and of it only what is read and what deeper layers need."""

    def __init__(self, model, target: Tensor, box: Region, everything: bool):
        """model: a `VGG`; the other arguments are those of `FeatureModel.region_pass`."""
        self.model, self.rounds = model, False
        self.steps, self.places = {}, {}
        plans = [_plan(model, span, length, everything) for span, length in zip(box, target.shape[-2:], strict=True)]
        self.box = tuple(plan[0].given for plan in plans)
        with torch.no_grad():
            maps, scale = model.normalised(target), 1.0
            for layer, pools, convolution, *spans in zip(
                model.layers, model.pools, model.convolutions, *plans, strict=True
            ):
                # With the gains as part of the weights the activations are the features. Rectification lets them through.
                gain = model.gains.get(layer, scale)
                weight = (gain / scale * convolution.weight).contiguous(memory_format=torch.channels_last)
                bias, scale = gain * convolution.bias, gain
                if pools:
                    maps = F.max_pool2d(maps, 2)
                self.steps[layer] = _Step(pools, weight, bias, maps, *spans)
                if layer in model.gains:
                    self.places[layer] = tuple(span.computed for span in spans)
                maps = F.relu(F.conv2d(maps, weight, bias, padding=1))

    def __call__(self, picture: Tensor) -> Features:
        maps, features = self.model.normalised(picture[(..., *self.box)]), {}
        if self.rounds:
            maps = _in_two_parts(maps)
        for layer, step in self.steps.items():
            maps = step(maps)
            if layer in self.places:
                features[layer] = maps
        return features

    def in_bfloat16(self) -> "VGGRegionPass":
        other = copy(self)
        other.rounds = True
        other.steps = {layer: step.in_bfloat16() for layer, step in self.steps.items()}
        first = other.steps[self.model.layers[0]]
        first.weight = torch.cat([first.weight] * 2, 1).contiguous(memory_format=torch.channels_last)
        return other


def _in_two_parts(colors: Tensor) -> Tensor:
    """Colours in bfloat16, whose 8 bits are too few for them, and as further channels what those lack."""
    rounded = colors.bfloat16()
    return torch.cat([rounded, (colors - rounded).detach().bfloat16()], 1)


class _Span(NamedTuple):
    """Along one axis, in the grid of a layer: what is `given` of the features of the layer before, what is `taken` of that,
    and what is `computed` of this layer."""

    given: slice
    taken: slice
    computed: slice

    @property
    def lacking(self) -> tuple[int, int]:
        """Rows of the 3x3 windows that lie before and behind what is taken."""
        return self.taken.start - self.computed.start + 1, self.computed.stop - self.taken.stop + 1


class _Step:
    """Pooling, if there is, one convolution and its rectification."""

    def __init__(self, pools: bool, weight: Tensor, bias: Tensor, target_maps: Tensor, rows: _Span, columns: _Span):
        self.pools, self.weight, self.bias = pools, weight, bias
        spans = rows, columns
        self.taken = tuple(_within(span.taken, span.given) for span in spans)
        self.padding = tuple(min(span.lacking) for span in spans)
        (before, behind), (left, right) = (
            (span.lacking[0] - pad, span.lacking[1] - pad) for span, pad in zip(spans, self.padding, strict=True)
        )
        self.more_padding = left, right, before, behind  # on one side
        surroundings = F.pad(target_maps, (1, 1, 1, 1))
        surroundings[(..., *(slice(span.taken.start + 1, span.taken.stop + 1) for span in spans))] = 0
        self.constants = []
        for strip in _frame(rows, columns):
            windows = tuple(slice(part.start, part.stop + 2) for part in strip)
            response = F.conv2d(surroundings[(..., *windows)], weight)
            self.constants.append((tuple(map(_within, strip, (rows.computed, columns.computed))), response))

    def __call__(self, maps: Tensor) -> Tensor:
        if self.pools:
            maps = F.max_pool2d(maps, 2)
        maps = maps[(..., *self.taken)]
        if any(self.more_padding):
            maps = F.pad(maps, self.more_padding)
        maps = F.conv2d(maps, self.weight, self.bias, padding=self.padding)
        for place, response in self.constants:
            maps.detach()[(..., *place)] += response  # a constant: nothing to differentiate
        return F.relu(maps, inplace=True)

    def in_bfloat16(self) -> "_Step":
        other = copy(self)
        other.weight, other.bias = self.weight.bfloat16(), self.bias.bfloat16()
        other.constants = [(place, response.bfloat16()) for place, response in self.constants]
        return other


def _plan(model, box: slice, length: int, everything: bool) -> list[_Span]:
    """What each convolution takes and computes along an axis on which the picture has this length."""
    lengths, changed, span = [], [], box
    for pools in model.pools:
        if pools:
            length, span = length // 2, slice(span.start // 2, min(-(-span.stop // 2), length // 2))
        span = grown(span, 1, length)
        lengths.append(length)
        changed.append(span)
    computed: list[slice] = []
    needed = given = slice(length, 0)  # of nothing
    pooled = False
    for layer, pools, length, span in reversed(list(zip(model.layers, model.pools, lengths, changed, strict=True))):
        if layer in model.strides:
            needed = _hull(needed, span if everything else cells_over(box, model.strides[layer], length))
        span = _hull(given, _common(needed, span))
        if pooled:  # begins at an even place
            span = slice(span.start // 2 * 2, min(-(-span.stop // 2) * 2, length))
        computed.insert(0, span)
        needed, given = grown(span, 1, length), slice(span.start + 1, span.stop - 1)
        if pools:
            needed, given = slice(2 * needed.start, 2 * needed.stop), slice(2 * given.start, 2 * given.stop)
        pooled = pools
    plan, given = [], _hull(given, box)
    for pools, span in zip(model.pools, computed, strict=True):
        if pools:
            given = slice(given.start // 2, given.stop // 2)
        plan.append(_Span(given, _common(given, slice(span.start - 1, span.stop + 1)), span))
        given = span
    return plan


def _hull(a: slice, b: slice) -> slice:
    return slice(min(a.start, b.start), max(a.stop, b.stop))


def _common(a: slice, b: slice) -> slice:
    return slice(max(a.start, b.start), min(a.stop, b.stop))


def _within(part: slice, whole: slice) -> slice:
    return slice(part.start - whole.start, part.stop - whole.start)


def _frame(rows: _Span, columns: _Span) -> list[Region]:
    """Strips that cover, once, what the surroundings have a part in of all that is computed."""
    (top, middle, bottom), (left, _, right) = _divided(rows), _divided(columns)
    strips = (top, columns.computed), (bottom, columns.computed), (middle, left), (middle, right)
    return [strip for strip in strips if all(part.stop > part.start for part in strip)]


def _divided(span: _Span) -> tuple[slice, slice, slice]:
    (start, stop), (before, behind) = (span.computed.start, span.computed.stop), span.lacking
    first = min(start + before, stop)
    last = max(stop - behind, first)
    return slice(start, first), slice(first, last), slice(last, stop)
