"""Antialiased cubic resampling of pictures and of pictures with a mask."""

import torch
from torch import Tensor

# Mask values closer than this to 0 or 1 are taken for it: resampling leaves traces there that 8 bits cannot show.
MASK_ROUNDING = 1 / 255


def keys_cubic(x: Tensor) -> Tensor:
    """Keys' cubic convolution kernel with a = -1/2 (Keys 1981), support -2..2."""
    x = x.abs()
    near = (1.5 * x - 2.5) * x * x + 1
    far = ((-0.5 * x + 2.5) * x - 4) * x + 2
    return torch.where(x < 1, near, torch.where(x < 2, far, torch.zeros_like(x)))


def scale_axis(image: Tensor, dim: int, size: int, start: int, count: int) -> Tensor:
    """Part of the picture that `image` would be if one axis were resized to `size` pixels.

    The part begins at pixel `start` of the resized axis and is `count` long; beyond the resized axis its border pixel
    is repeated. The kernel widens with the reduction, so that nothing aliases, and is cut off at the picture's border,
    as torchvision's antialiased bicubic resize does it. Equal sizes copy the pixels unchanged.
    """
    length = image.shape[dim]
    scale = length / size
    stretch = max(scale, 1.0)
    position = torch.arange(start, start + count, dtype=torch.float64).clamp(0, size - 1)
    center = (position + 0.5) * scale
    taps = int(4 * stretch) + 2
    index = (center - 2 * stretch + 0.5).floor().long()[:, None] + torch.arange(taps)
    weight = keys_cubic((index + 0.5 - center[:, None]) / stretch)
    weight = weight * ((index >= 0) & (index < length))
    used = weight.any(0).nonzero()[:, 0].tolist()
    weight = (weight / weight.sum(1, keepdim=True)).to(image)
    index = index.clamp(0, length - 1).to(image.device)

    shape = [1] * image.dim()
    shape[dim] = count
    result = image.new_zeros([*image.shape[:dim], count, *image.shape[dim + 1 :]])
    for tap in used:
        result.addcmul_(image.index_select(dim, index[:, tap]), weight[:, tap].view(shape))
    return result


def premultiply(image: Tensor, mask: Tensor) -> Tensor:
    """The channels that are resampled together: image * mask, mask, image. `[B, 7, H, W]` for RGB."""
    return torch.cat([image * mask, mask, image], 1)


def unpremultiply(channels: Tensor) -> tuple[Tensor, Tensor]:
    """Picture and mask from resampled `premultiply` channels.

    Where the mask is above 0 the colour is the mask-weighted mean, so that nothing from beyond the object's edge mixes
    into it; elsewhere it is the plain resampled picture.
    """
    count = (channels.shape[1] - 1) // 2
    weighted, weight, image = channels[:, :count], channels[:, count : count + 1], channels[:, count + 1 :]
    # The cubic kernel overshoots beyond 0 and 1: the mask is cut there, the weight that divides the colours is not.
    mask = torch.where(weight < MASK_ROUNDING, torch.zeros_like(weight), weight)
    mask = torch.where(mask > 1 - MASK_ROUNDING, torch.ones_like(mask), mask)
    image = torch.where(mask > 0, weighted / weight.clamp_min(MASK_ROUNDING), image)
    return image.clamp(0, 1), mask
