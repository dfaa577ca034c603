"""Putting blended pixels back over the target."""

import torch
from torch import Tensor


def composite(image: Tensor, mask: Tensor, target: Tensor) -> Tensor:
    """m * image + (1 - m) * target where m > 0; the target, bit for bit, elsewhere.

    With an RGBA target the object is laid over it (Porter and Duff 1984, "over"): what the mask covers becomes opaque
    and transparent target pixels lend no colour.

    image: `[B, 3, H, W]`; mask: `[B, 1, H, W]` in 0..1; target: `[B, 3 or 4, H, W]`. Returns the target's shape.
    Differentiable with respect to all three.
    """
    color, alpha = target[:, :3], target[:, 3:]
    weight = mask
    if alpha.shape[1]:
        covered = mask + (1 - mask) * alpha
        weight = mask / covered.clamp_min(torch.finfo(mask.dtype).tiny)
        alpha = torch.where(mask > 0, covered, alpha)
    color = torch.where(mask > 0, torch.lerp(color, image, weight), color)
    return torch.cat([color, alpha], 1)
