"""Mathematical morphology with flat structuring elements, on binary and on soft masks.

Erosion and dilation are the minimum and the maximum over the structuring element placed on each pixel (Serra 1982).
Pixels outside the frame take no part: erosion treats them as object, so an object cut off by the frame is not eaten
away there, and dilation adds nothing from them.
"""

import math

import torch
from torch import Tensor

SHAPES = ("disk", "square", "cross")


def dilate(mask: Tensor, radius: int, shape: str = "disk") -> Tensor:
    """Grow the mask by exactly `radius` pixels.

    shape: "disk" (all offsets with dx^2 + dy^2 <= radius^2), "square" (|dx|, |dy| <= radius) or "cross" (the two axes
    of the disk). mask: `[B, 1, H, W]`.
    """
    if radius == 0:
        return mask
    if shape == "square":
        return _widened(_widened(mask, radius).mT, radius).mT
    if shape == "cross":
        return torch.maximum(_widened(mask, radius), _widened(mask.mT, radius).mT)
    # Row by row of the disk, from its ends, where rows are short, to its middle: each row widens the one before.
    height = mask.shape[-2]
    row, reach = mask, 0
    result = torch.full_like(mask, -math.inf)
    for offset in range(min(radius, height - 1), -1, -1):
        wider = math.isqrt(radius**2 - offset**2)
        row, reach = _widened(row, wider - reach), wider
        upper, lower = slice(None, height - offset), slice(offset, None)
        result[..., upper, :] = torch.maximum(result[..., upper, :], row[..., lower, :])
        result[..., lower, :] = torch.maximum(result[..., lower, :], row[..., upper, :])
    return result


def erode(mask: Tensor, radius: int, shape: str = "disk") -> Tensor:
    """Shrink the mask by exactly `radius` pixels; arguments as for `dilate`."""
    return -dilate(-mask, radius, shape)


def seam_band(mask: Tensor, inward: int, outward: int, shape: str = "disk") -> Tensor:
    """Band along the mask's edge: `inward` pixels into the object, `outward` pixels out of it; none along the frame."""
    return dilate(mask, outward, shape) - erode(mask, inward, shape)


def _widened(mask: Tensor, reach: int) -> Tensor:
    """Maximum over `reach` pixels to the left and to the right, in a number of steps that grows with log(reach)."""
    reach = min(reach, mask.shape[-1] - 1)
    if reach == 0:
        return mask
    result = torch.nn.functional.pad(mask, (reach, reach), value=-math.inf)
    length, wanted = 1, 2 * reach + 1
    while length < wanted:
        step = min(length, wanted - length)
        result = torch.maximum(result[..., :-step], result[..., step:])
        length += step
    return result
