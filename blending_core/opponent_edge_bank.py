"""The built-in feature model: 40 closed-form filters of 3x3 pixels on two levels of a pyramid.

The first layer of a trained network hardly looks at mean brightness. It looks at smooth oriented edges of luminance and at
chroma, both in units of their natural spread. This bank does the same without a file, at a tenth of the cost; it sees
low-level style only, no brush strokes and no texture larger than some pixels.
"""

import math
from statistics import NormalDist

import torch
import torch.nn.functional as F
from torch import Tensor

from .color import opponent_axes
from .feature_model import FeatureModel, Features, RegionPass, cells_over
from .region import Region, grown

# A Gaussian channel of unit spread has a mean of about 1 after this gain and the rectification.
GAIN = 2.5
IMAGENET_MEAN = (0.485, 0.456, 0.406)
# Root mean squares, in natural pictures, of the filters' responses: mean, first and second derivative of luminance, mean of
# the two chroma axes, and their first derivatives.
SPREAD_MEAN, SPREAD_FIRST, SPREAD_SECOND = 1.37, 0.136, 0.064
SPREAD_CHROMA, SPREAD_CHROMA_EDGE = (0.477, 0.14), (0.045, 0.018)
# Gradients of the content loss then are as strong as with relu2_2 of VGG-19.
CONTENT_GAIN = 4.9**0.5


class OpponentEdgeBank(FeatureModel):
    """Two layers: `edges` at full and `half_edges` at half size, 40 channels each."""

    style_layers = ("edges", "half_edges")
    content_layers = ("edges",)
    strides = {"edges": 1, "half_edges": 2}  # noqa: RUF012, read only
    channels = {"edges": 40, "half_edges": 40}  # noqa: RUF012
    reach = 6
    values_per_pixel = 2 * (40 + 40 / 4)  # before and after rectification

    def __init__(self):
        super().__init__()
        self.register_buffer("filters", opponent_edge_filters().float())
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1))

    def forward(self, picture: Tensor) -> Features:
        full, half = self.responses(picture)
        return {"edges": CONTENT_GAIN * full, "half_edges": half}

    def responses(self, picture: Tensor) -> tuple[Tensor, Tensor]:
        """Rectified responses at full and at half size. The picture is at least 4 pixels wide and high."""
        level = picture - self.mean
        return self.respond(level), self.respond(_half_size(level))

    def respond(self, level: Tensor, place: Region = (slice(None), slice(None)), gain: float = 1.0) -> Tensor:
        """Rectified responses to a level of the pyramid, times the gain, in some of its rows and columns."""
        windows = (slice(span.start, span.stop and span.stop + 2) for span in place)
        level = _mirrored(level)[(..., *windows)].contiguous(memory_format=torch.channels_last)  # faster
        return F.relu(F.conv2d(level, gain * self.filters), inplace=True)

    def region_pass(self, target: Tensor, box: Region, everything: bool) -> RegionPass:
        return _BankRegionPass(self, target.shape[-2:], box, everything)


class _BankRegionPass(RegionPass):
    def __init__(self, model: OpponentEdgeBank, size: tuple[int, int], box: Region, everything: bool):
        self.model, spans = model, []
        for span, length in zip(box, size, strict=True):
            if everything:
                edges = grown(span, 1, length)
                half = grown(cells_over(grown(span, 2, length), 2, length // 2), 1, length // 2)
            else:
                edges, half = span, cells_over(span, 2, length // 2)
            # What the features at half size depend on is more than what those at full size do.
            part = slice(max(2 * half.start - 4, 0), min(2 * half.stop + 4, length))
            spans.append((edges, half, part))
        edges, half, self.part = zip(*spans, strict=True)
        self.places = {"edges": edges, "half_edges": half}

    def __call__(self, picture: Tensor) -> Features:
        level = picture[(..., *self.part)] - self.model.mean
        edges = _within(self.places["edges"], self.part, 1)
        half = _within(self.places["half_edges"], self.part, 2)
        return {
            "edges": self.model.respond(level, edges, CONTENT_GAIN),
            "half_edges": self.model.respond(_half_size(level), half),
        }


def _within(place: Region, part: Region, stride: int) -> Region:
    return tuple(
        slice(span.start - whole.start // stride, span.stop - whole.start // stride)
        for span, whole in zip(place, part, strict=True)
    )


def opponent_edge_filters() -> Tensor:
    """`[40, 3, 3, 3]` float64: 2 of mean luminance, 6 of chroma, 18 edges, 6 against checkerboards, 8 chroma edges."""
    rows = torch.tensor([[1, 1, 1], [1, 0, -1], [1, -2, 1]], dtype=torch.float64)
    rows = rows / rows.norm(dim=1, keepdim=True)  # of the discrete cosine transform of 3 values
    basis = torch.einsum("ai,bj->abij", rows, rows)
    luminance, red_green, yellow_blue = opponent_axes()
    edge_luminance = luminance + 0.05 * red_green - 0.10 * yellow_blue
    chroma = 0.50 * red_green + 0.87 * yellow_blue, 0.87 * red_green - 0.50 * yellow_blue
    mean = basis[0, 0]
    across = basis[0, 1] - 0.27 * basis[2, 1], basis[1, 0] - 0.27 * basis[1, 2]
    curved = basis[0, 2] - 0.162 * basis[2, 2], basis[2, 0] - 0.162 * basis[2, 2]

    def tint(first: float, second: float) -> Tensor:
        return first / SPREAD_CHROMA[0] * chroma[0] + second / SPREAD_CHROMA[1] * chroma[1]

    filters = [0.5 * sign / SPREAD_MEAN * _filter(luminance, mean) for sign in (1, -1)]
    for index in range(6):
        hue = 2 * math.pi * (index + 0.5) / 6
        filters.append(0.6 * _filter(tint(math.cos(hue), math.sin(hue)), mean))
    for index in range(18):
        angle = 2 * math.pi * _fraction(index * (5**0.5 - 1) / 2)
        even, odd = 0.45 * _spread_normal(2, index), 0.45 * _spread_normal(3, index)
        bend = 0.8 * even + 0.2 * odd, 0.8 * even - 0.2 * odd
        colors = 0.0, 0.0
        if index % 2:
            strength, hue = 0.4 * abs(_spread_normal(5, index)), 2 * math.pi * _fraction(index * 7**0.5)
            colors = strength * math.cos(hue), strength * math.sin(hue)
        kernel = (math.cos(angle) * across[0] + math.sin(angle) * across[1]) / SPREAD_FIRST
        kernel = kernel + (bend[0] * curved[0] + bend[1] * curved[1]) / SPREAD_SECOND
        length = math.hypot(1, *bend, *colors)
        filters.append((_filter(edge_luminance, kernel) + _filter(tint(*colors), mean)) / length)
    for kernel in (basis[2, 2] / 0.025, (basis[0, 2] + basis[2, 0]) / 0.09, basis[1, 1] / 0.038):
        filters += [0.3 * sign * _filter(luminance, kernel) for sign in (1, -1)]
    for axis, spread in zip(chroma, SPREAD_CHROMA_EDGE, strict=True):
        filters += [
            0.5 * sign / spread * _filter(axis, kernel) for sign in (1, -1) for kernel in (basis[0, 1], basis[1, 0])
        ]
    return GAIN * torch.stack(filters)


def _filter(color: Tensor, kernel: Tensor) -> Tensor:
    return color[:, None, None] * kernel


def _fraction(value: float) -> float:
    return value - math.floor(value)


def _spread_normal(root: int, index: int) -> float:
    """Normal quantiles of an evenly spread sequence (multiples of an irrational number): no random numbers needed."""
    return NormalDist().inv_cdf(0.98 * _fraction(0.5 + index * math.sqrt(root)) + 0.01)


def _half_size(level: Tensor) -> Tensor:
    """Gaussian blur of 5 pixels (sigma 0.8), then the means of 2x2 pixels."""
    taps = torch.exp(-0.5 * (torch.arange(-2, 3, dtype=level.dtype, device=level.device) / 0.8) ** 2)
    taps = taps / taps.sum()
    channels = level.shape[1]
    level = _continued(level, 2)
    level = F.conv2d(level, taps.view(1, 1, 1, 5).expand(channels, 1, 1, 5), groups=channels)
    level = F.conv2d(level, taps.view(1, 1, 5, 1).expand(channels, 1, 5, 1), groups=channels)
    return F.avg_pool2d(level, 2)


# Both by joining slices, because the gradient of torch's own padding is not deterministic on every device.


def _mirrored(level: Tensor) -> Tensor:
    """One more row and column on each side, mirrored at the outermost ones."""
    for axis in (-2, -1):
        length = level.shape[axis]
        level = torch.cat([level.narrow(axis, 1, 1), level, level.narrow(axis, length - 2, 1)], axis)
    return level


def _continued(level: Tensor, width: int) -> Tensor:
    """`width` more rows and columns on each side, which repeat the outermost ones."""
    for axis in (-2, -1):
        length = level.shape[axis]
        first, last = level.narrow(axis, 0, 1), level.narrow(axis, length - 1, 1)
        level = torch.cat([*[first] * width, level, *[last] * width], axis)
    return level
