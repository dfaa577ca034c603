"""Exact distances inside a mask."""

import torch
from torch import Tensor


def distance_to_outside(inside: Tensor, limit: int) -> Tensor:
    """Distance of every pixel inside to the nearest pixel outside, at most `limit`; 0 outside.

    Distances are in pixels between pixel centres, so pixels at the edge have 1. Only pixels of the frame count as
    outside: an object cut off by the frame has no edge there. Exact up to `limit`; the cost grows with the largest
    distance present. Separable minimum of squares (Felzenszwalb and Huttenlocher 2012, section 3, with the lower
    envelope replaced by a bounded search, which runs on any device).

    inside: bool `[B, 1, H, W]`. Returns float32 of the same shape.
    """
    squared = vertical_distance(inside, limit) ** 2
    columns, squared = squared, squared.clone()
    for offset in range(1, min(limit, inside.shape[-1] - 1) + 1):
        if offset**2 >= squared.max():
            break
        for here, there in ((slice(offset, None), slice(None, -offset)), (slice(None, -offset), slice(offset, None))):
            squared[..., here] = torch.minimum(squared[..., here], columns[..., there] + offset**2)
    return squared.sqrt().clamp_max(limit)


def vertical_distance(inside: Tensor, limit: int) -> Tensor:
    """`distance_to_outside`, if only pixels of the same column count."""
    rows = torch.arange(inside.shape[-2], dtype=torch.float32, device=inside.device)[:, None].expand_as(inside)
    far = inside.shape[-2] + limit
    above = torch.where(inside, torch.full_like(rows, -far), rows).cummax(-2).values
    below = torch.where(inside, torch.full_like(rows, 2 * far), rows).flip(-2).cummin(-2).values.flip(-2)
    return torch.minimum(rows - above, below - rows).clamp_max(limit)
