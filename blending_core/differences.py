"""Differences between 4-neighbours: one value for every pair of pixels that share a side inside the frame.

A field on those pairs (a gradient, a guidance field, a conductance) is a tuple `(right, down)`: `right` is
`[B, C, H, W-1]` and belongs to the pairs (left, right), `down` is `[B, C, H-1, W]` and belongs to (upper, lower).
Pairs that would reach out of the frame do not exist, which makes every operator here the |N_p| form of Pérez et
al. 2003, eq. 7: a pixel at the border has fewer neighbours, not neighbours of value zero.
"""

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor

Pairs = tuple[Tensor, Tensor]


def forward_differences(image: Tensor) -> Pairs:
    """Difference f_q - f_p of every pair (p, q), q to the right of or below p. `image`: `[B, C, H, W]`."""
    return image[..., :, 1:] - image[..., :, :-1], image[..., 1:, :] - image[..., :-1, :]


def adjoint_differences(pairs: Pairs) -> Tensor:
    """Transpose of `forward_differences` (the negative divergence): `[B, C, H, W]`.

    Applied to the forward differences of f it gives the Laplacian sum over q in N_p of (f_p - f_q).
    """
    right, down = pairs
    result = right.new_zeros(*right.shape[:-1], right.shape[-1] + 1)
    result[..., :, :-1] -= right
    result[..., :, 1:] += right
    result[..., :-1, :] -= down
    result[..., 1:, :] += down
    return result


def laplacian(image: Tensor) -> Tensor:
    """Sum over the neighbours q of p that lie in the frame of f_p - f_q."""
    return adjoint_differences(forward_differences(image))


def pairwise(function: Callable[[Tensor, Tensor], Tensor], image: Tensor) -> Pairs:
    """`function(p, q)` of the two pixels of every pair, for example `torch.logical_xor` of a mask's pixels."""
    return (
        function(image[..., :, :-1], image[..., :, 1:]),
        function(image[..., :-1, :], image[..., 1:, :]),
    )


def sum_over_pairs(pairs: Pairs) -> Tensor:
    """Sum of the values of all pairs that a pixel belongs to: `[B, C, H, W]`."""
    right, down = pairs
    return F.pad(right, (0, 1)) + F.pad(right, (1, 0)) + F.pad(down, (0, 0, 0, 1)) + F.pad(down, (0, 0, 1, 0))
