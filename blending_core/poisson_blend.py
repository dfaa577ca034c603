"""Poisson blending into a target that may have transparent pixels."""

import torch
from torch import Tensor

from .differences import Pairs, forward_differences, pairwise
from .guidance import opaque_pairs, stronger_differences
from .poisson import OnStep, solve_poisson


def poisson_blend(
    object: Tensor,
    inside: Tensor,
    target: Tensor,
    differences: Pairs,
    *,
    mixed: bool = False,
    screening: Tensor | float = 0.0,
    conductance: Pairs | None = None,
    on_step: OnStep | None = None,
) -> Tensor:
    """Colours inside that have the given differences and meet the target around them.

    Hidden colours of transparent target pixels have no part in it.

    Args:
        object: `[1, 3, H, W]`: the first guess, and what screening holds to.
        inside: bool `[1, 1, H, W]`.
        target: `[1, 3 or 4, H, W]`.
        differences: of neighbours, that the result should have.
        mixed: take the target's difference wherever it is the stronger one.
        screening, conductance: see `solve_poisson`.

    Returns:
        `[1, 3, H, W]` in 0..1; the target's colours outside.
    """
    color, alpha = target[:, :3], target[:, 3:]
    target_differences = forward_differences(color)
    if alpha.shape[1]:
        opaque = opaque_pairs(alpha, inside)
        conductance = opaque if conductance is None else _product(conductance, opaque)
        target_differences = _product(target_differences, pairwise(torch.mul, alpha))
    if mixed:
        differences = stronger_differences(differences, target_differences)
    solved = solve_poisson(
        torch.where(inside, object, color),
        inside,
        differences,
        screening=screening,
        reference=object,
        conductance=conductance,
        on_step=on_step,
    )
    return solved.clamp(0, 1)


def _product(a: Pairs, b: Pairs) -> Pairs:
    return tuple(x * y for x, y in zip(a, b, strict=True))
