"""Screening weights: how strongly a Poisson solution is held to the object's own colours."""

import torch
import torch.nn.functional as F
from torch import Tensor

from .distance import distance_to_outside
from .feather import smoothstep

# The weight varies so slowly that its depth is measured on at most this many pixels a side.
DEPTH_GRID = 512


def depth_rising_screening(inside: Tensor, strength: float) -> Tensor:
    """Screening weight that is 0 near the object's edge and rises to `strength / area` in its middle.

    lambda(p) = strength / |Omega| * smoothstep((d(p)/R - 1/4) / (1/2)), d the distance to the edge, R the largest d.
    The edge stays free to meet the target, the middle keeps its colour. The division by the area makes a strength
    mean the same at every picture size, because the Laplacian scales with the inverse square of the size.

    inside: bool `[B, 1, H, W]`. Returns float32 `[B, 1, H, W]`, 0 outside. With every pixel inside there is no edge and
    the weight is constant.
    """
    factor = -(-max(inside.shape[-2:]) // DEPTH_GRID)
    # A coarse cell is inside when all its pixels are, hence the minimum; cells past the frame repeat its last pixels.
    padding = (0, -inside.shape[-1] % factor, 0, -inside.shape[-2] % factor)
    grid = -F.max_pool2d(-F.pad(inside.float(), padding, mode="replicate"), factor)
    depth = distance_to_outside(grid > 0, max(grid.shape[-2:]))
    deepest = depth.amax((-1, -2), keepdim=True).clamp_min(1)
    depth = F.interpolate(depth / deepest, scale_factor=factor, mode="bilinear")[
        ..., : inside.shape[-2], : inside.shape[-1]
    ]
    area = inside.sum((-1, -2), keepdim=True).clamp_min(1)
    return torch.where(inside, strength / area * smoothstep((depth - 0.25) / 0.5), torch.zeros_like(depth))
