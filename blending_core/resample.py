"""Antialiased cubic resampling of pictures and of pictures with a mask."""

import torch
import torch.nn.functional as F
from torch import Tensor

from .region import Region

# Mask values closer than this to 0 or 1 are taken for it: resampling leaves traces there that 8 bits cannot show.
MASK_ROUNDING = 1 / 255


def keys_cubic(x: Tensor) -> Tensor:
    """Keys' cubic convolution kernel with a = -1/2 (Keys 1981), support -2..2."""
    x = x.abs()
    near = (1.5 * x - 2.5) * x * x + 1
    far = ((-0.5 * x + 2.5) * x - 4) * x + 2
    return torch.where(x < 1, near, torch.where(x < 2, far, torch.zeros_like(x)))


def scale_rows(image: Tensor, size: int, start: int, count: int) -> Tensor:
    """Rows of the picture that `image` would be if its height were resized to `size` pixels.

    The rows begin at `start` and are `count` in number; above and below the resized picture its border row is repeated.
    The kernel widens with the reduction, so that nothing aliases, and is cut off at the picture's border, as
    torchvision's antialiased bicubic resize does it. Equal sizes copy the pixels unchanged.

    image: `[B, C, H, W]`. Returns `[B, C, count, W]`.
    """
    height = image.shape[2]
    scale = height / size
    stretch = max(scale, 1.0)
    wanted = torch.arange(start, start + count).clamp(0, size - 1)
    first, last = int(wanted[0]), int(wanted[-1])
    center = (torch.arange(first, last + 1, dtype=torch.float64) + 0.5) * scale
    taps = int(4 * stretch) + 2
    index = (center - 2 * stretch + 0.5).floor().long()[:, None] + torch.arange(taps)
    weight = keys_cubic((index + 0.5 - center[:, None]) / stretch)
    weight = weight * ((index >= 0) & (index < height))
    used = weight.any(0).nonzero()[:, 0].tolist()
    weight = (weight / weight.sum(1, keepdim=True)).to(image)
    index = index.clamp(0, height - 1).to(image.device)

    result = image.new_zeros(*image.shape[:2], last + 1 - first, image.shape[3])
    for tap in used:
        result.addcmul_(image.index_select(2, index[:, tap]), weight[:, tap, None])
    return result.index_select(2, (wanted - first).to(image.device))


def resize_cubic(image: Tensor, size: tuple[int, int], part: Region | None = None) -> Tensor:
    """The picture resized to `size` (height, width) by `scale_rows`, or a part of that. It may overshoot its range at edges."""
    rows, columns = part or (slice(0, size[0]), slice(0, size[1]))
    resized = scale_rows(image, size[0], rows.start, rows.stop - rows.start)
    return scale_rows(resized.mT.contiguous(), size[1], columns.start, columns.stop - columns.start).mT


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


def resize(image: Tensor, size: list[int]) -> Tensor:
    """Antialiased bilinear resize, for measuring; `size`: height and width."""
    return F.interpolate(image, size, mode="bilinear", antialias=True)


def resize_visible(image: Tensor, size: list[int]) -> tuple[Tensor, Tensor]:
    """`resize` of an RGB or RGBA picture as colour and alpha; hidden colours of transparent pixels have no part in it."""
    color = image[:, :3]
    alpha = image[:, 3:] if image.shape[1] == 4 else torch.ones_like(image[:, :1])
    color, alpha = resize(color * alpha, size), resize(alpha, size)
    return color / alpha.clamp_min(1e-6), alpha
