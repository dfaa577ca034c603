"""Screening weights: how strongly a Poisson solution is held to the object's own colours."""

import torch
import torch.nn.functional as F
from torch import Tensor

from .distance import distance_to_outside
from .feather import smoothstep

# The weight varies slowly, so in large pictures its depth is measured on a coarser grid of at most DEPTH_GRID cells a
# side, provided that the object is at least LEAST_DEPTH cells deep there; thinner ones are measured exactly.
DEPTH_GRID = 512
LEAST_DEPTH = 16


def depth_rising_screening(inside: Tensor, strength: float) -> Tensor:
    """Screening weight that is 0 near the object's edge and rises to `strength / area` in its middle.

    lambda(p) = strength / |Omega| * smoothstep((d(p)/R - 1/4) / (1/2)), d the distance to the edge, R the largest d.
    The edge stays free to meet the target, the middle keeps its colour. The division by the area makes a strength
    mean the same at every picture size, because the Laplacian scales with the inverse square of the size.

    inside: bool `[B, 1, H, W]`. Returns float32 `[B, 1, H, W]`, 0 outside. With every pixel inside there is no edge and
    the weight is constant.
    """
    relative_depth = torch.cat([_relative_depth(sample) for sample in inside.split(1)])
    area = inside.sum((-1, -2), keepdim=True).clamp_min(1)
    return torch.where(
        inside, strength / area * smoothstep((relative_depth - 0.25) / 0.5), torch.zeros_like(relative_depth)
    )


def _relative_depth(inside: Tensor) -> Tensor:
    """Distance to the object's edge divided by the largest distance, of one sample."""
    height, width = inside.shape[-2:]
    factor = -(-max(height, width) // DEPTH_GRID)
    # A cell is inside when all its pixels are, hence the minimum; cells past the frame repeat its last pixels.
    padded = F.pad(inside.float(), (0, -width % factor, 0, -height % factor), mode="replicate")
    cells = -F.max_pool2d(-padded, factor) > 0
    depth = distance_to_outside(cells, sum(cells.shape[-2:]))  # no distance in a frame is larger
    if factor > 1 and depth.max() < LEAST_DEPTH:
        depth, factor = distance_to_outside(inside, height + width), 1
    depth = F.interpolate(depth / depth.max().clamp_min(1), scale_factor=factor, mode="bilinear")
    return depth[..., :height, :width]
