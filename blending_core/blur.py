"""Gaussian blur, and means over the pixels that count."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

CUTOFF = 4  # standard deviations at which the kernel ends
# A wide Gaussian has no detail: it is computed on a grid on which its standard deviation is still this many cells.
COARSE_SIGMA = 4


def gaussian_blur(image: Tensor, sigma: float) -> Tensor:
    """Convolution with a Gaussian of standard deviation `sigma` pixels; beyond the frame the picture counts as 0.

    image: `[B, C, H, W]`.
    """
    offsets = range(math.ceil(CUTOFF * sigma) + 1)
    weights = [math.exp(-0.5 * (offset / sigma) ** 2) for offset in offsets]
    total = 2 * sum(weights) - weights[0]
    for axis in (2, 3):
        # Shifted sums: for short kernels on few channels faster than a convolution, and never in reduced precision.
        length = image.shape[axis]
        result = image * (weights[0] / total)
        for offset in offsets[1:length]:
            first, last = image.narrow(axis, 0, length - offset), image.narrow(axis, offset, length - offset)
            result.narrow(axis, offset, length - offset).add_(first, alpha=weights[offset] / total)
            result.narrow(axis, 0, length - offset).add_(last, alpha=weights[offset] / total)
        image = result
    return image


def masked_mean(image: Tensor, weight: Tensor, sigma: float) -> tuple[Tensor, Tensor]:
    """Gaussian mean of the picture over the pixels with weight, and the blurred weight that it rests on.

    Normalised convolution (Knutsson and Westin 1993). Where the blurred weight is 0 the mean is 0. Wide Gaussians are
    computed on a coarser grid.

    image: `[B, C, H, W]`; weight: `[B, 1, H, W]`, 0 or more. Returns `[B, C, H, W]` and `[B, 1, H, W]`.
    """
    height, width = image.shape[-2:]
    factor = max(1, int(sigma / COARSE_SIGMA))
    channels = torch.cat([image * weight, weight], 1)
    if factor > 1:
        channels = F.pad(channels, (0, -width % factor, 0, -height % factor))
        channels = F.avg_pool2d(channels, factor)
    channels = gaussian_blur(channels, sigma / factor)
    if factor > 1:
        channels = F.interpolate(channels, scale_factor=factor, mode="bilinear")[..., :height, :width]
    total = channels[:, -1:]
    mean = channels[:, :-1] / total.clamp_min(torch.finfo(image.dtype).tiny)
    return torch.where(total > 0, mean, torch.zeros_like(mean)), total
