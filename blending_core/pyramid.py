"""Gaussian and Laplacian pyramids without a border (Burt and Adelson 1983, section 2, with the kernel 1 4 6 4 1).

A level holds every node whose 5 x 5 kernel touches the level below, those beyond the picture too. Node i of a level lies on
pixel 2i of the level below, and every level begins with its node -1, the lowest one too.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def with_border(image: Tensor) -> Tensor:
    """The lowest level of a picture: one pixel of 0 around it. `[B, C, H, W]` to `[B, C, H + 2, W + 2]`."""
    return F.pad(image, (1, 1, 1, 1))


def reduced_length(length: int) -> int:
    """How many nodes of the next level touch a level that is so long."""
    return length // 2 + 2


def reduce(level: Tensor) -> Tensor:
    """The next level: means weighted by the kernel, where the level counts as 0 beyond its nodes. `[B, C, H, W]`."""
    for _ in range(2):
        length = level.shape[-2]
        padded = F.pad(level, (0, 0, 3, 4 - length % 2))
        taps = [padded[..., tap : tap + 2 * reduced_length(length) - 1 : 2, :] for tap in range(5)]
        total = taps[2] * 6
        for tap, weight in ((taps[0], 1), (taps[1], 4), (taps[3], 4), (taps[4], 1)):
            total.add_(tap, alpha=weight)
        level = total.div_(16).mT
    return level


def expand(level: Tensor, size: list[int]) -> Tensor:
    """A level interpolated to the nodes of the one below, whose height and width are `size`. `[B, C, H, W]`."""
    for length in size:
        finer = level.new_empty(*level.shape[:-2], length, level.shape[-1])
        halfway, on_node = finer[..., ::2, :], finer[..., 1::2, :]
        left, middle, right = (level[..., start : start + halfway.shape[-2], :] for start in range(3))
        torch.add(left, middle, out=halfway).div_(2)
        count = right.shape[-2]
        torch.add(left[..., :count, :], right, out=on_node).add_(middle[..., :count, :], alpha=6).div_(8)
        level = finer.mT
    return level


def weighted_reduce(level: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """`reduce` by normalised convolution (Knutsson and Westin 1993): what has no weight has no part in the means.

    level: `[B, C, H, W]`; weight: `[B, 1, H, W]`, 0 or more. Returns the means, 0 where there is no weight, and the weight.
    """
    sums = reduce(torch.cat([level * weight, weight], 1))
    total = sums[:, -1:]
    return sums[:, :-1] / total.clamp_min(torch.finfo(total.dtype).tiny), total


def fill(level: Tensor, weight: Tensor) -> Tensor:
    """The level where its weight is 1; the smaller the weight, the more of the means of what has some around it.

    Pull-push (Gortler, Grzeszczuk, Szeliski and Cohen 1996, "The Lumigraph", section 3.4). Without any weight it is 0.

    level: `[B, C, H, W]`; weight: `[B, 1, H, W]` in 0..1.
    """
    size = level.shape[-2:]
    if max(size) > reduced_length(max(size)):
        broad = expand(fill(*weighted_reduce(level, weight)), size)
    else:
        total = weight.sum((-2, -1), keepdim=True)
        broad = (level * weight).sum((-2, -1), keepdim=True) / total.clamp_min(torch.finfo(total.dtype).tiny)
    return torch.lerp(broad.expand_as(level), level, weight)
