"""Soft mask edges that reach inward only."""

from torch import Tensor

from .distance import distance_to_outside


def smoothstep(x: Tensor) -> Tensor:
    """3x^2 - 2x^3 of x clamped to 0..1."""
    x = x.clamp(0, 1)
    return x * x * (3 - 2 * x)


def feather_inward(mask: Tensor, width: int) -> Tensor:
    """Let the mask rise from its edge to its full value over `width` pixels inward.

    The set of pixels with mask > 0 does not change and nothing outside it is touched. The frame is not an edge: an
    object cut off by the frame keeps its full value there. mask: `[B, 1, H, W]` in 0..1; width 0 returns it as it is.
    """
    if width == 0:
        return mask
    depth = distance_to_outside(mask > 0, width + 1)
    return mask * smoothstep(depth / (width + 1)).to(mask.dtype)
