"""One multigrid cycle as an approximate inverse of a weighted grid Laplacian."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from .differences import Pairs, adjoint_differences, forward_differences, sum_over_pairs

JACOBI_DAMPING = 0.8
JACOBI_SWEEPS = 2


@dataclass
class GridLaplacian:
    """The operator (A x)_p = excess_p x_p + sum over neighbours q of conductance_pq (x_p - x_q).

    It is applied through differences, so that rounding errors scale with the differences of x and not with x.
    conductance: of the pairs inside the region, 0 elsewhere; excess: `[B, 1, H, W]`, what joins a pixel to known
    values (screening, neighbours outside the region); 0 outside the region.
    """

    conductance: Pairs
    excess: Tensor

    def __post_init__(self):
        diagonal = self.excess + sum_over_pairs(self.conductance)
        self.inverse_diagonal = torch.where(diagonal > 0, diagonal.reciprocal(), torch.zeros_like(diagonal))

    def __call__(self, x: Tensor) -> Tensor:
        flow = tuple(g * d for g, d in zip(self.conductance, forward_differences(x), strict=True))
        return adjoint_differences(flow).addcmul_(self.excess, x)

    def coarser(self) -> "GridLaplacian":
        """The operator on cells of 2 x 2 pixels.

        Excess adds up. Two parallel pairs join neighbouring cells over twice the distance, so half their sum is what
        the Laplacian of the coarse grid has there: the factor that plain aggregation lacks (Braess 1995).
        """
        right, down = self.conductance
        height, width = self.excess.shape[-2:]
        even = (0, width % 2, 0, height % 2)
        right = F.pad(right, even)[..., 1::2]
        down = F.pad(down, even)[..., 1::2, :]
        return GridLaplacian(
            ((right[..., ::2, :] + right[..., 1::2, :]) / 2, (down[..., ::2] + down[..., 1::2]) / 2),
            _cell_sums(self.excess),
        )


class Multigrid:
    """V-cycle with damped Jacobi smoothing and piecewise constant transfer, down to a single cell.

    Symmetric and positive definite, hence a preconditioner for conjugate gradients (Trottenberg et al. 2001, section
    7.8); as such it needs about ten iterations at any size and for any shape of the region.
    """

    def __init__(self, operator: GridLaplacian):
        self.operators = [operator]
        while max(operator.excess.shape[-2:]) > 1:
            operator = operator.coarser()
            self.operators.append(operator)

    def __call__(self, residual: Tensor, level: int = 0) -> Tensor:
        """Approximate solution x of A x = residual; 0 outside the region. residual: `[B, C, H, W]`."""
        operator = self.operators[level]
        if level == len(self.operators) - 1:
            return operator.inverse_diagonal * residual
        step = JACOBI_DAMPING * operator.inverse_diagonal
        x = step * residual
        for _ in range(JACOBI_SWEEPS - 1):
            x = x.addcmul_(step, residual - operator(x))
        coarse = self(_cell_sums(residual - operator(x)), level + 1)
        height, width = residual.shape[-2:]
        inside = operator.inverse_diagonal > 0
        x += F.interpolate(coarse, scale_factor=2, mode="nearest")[..., :height, :width] * inside
        for _ in range(JACOBI_SWEEPS):
            x = x.addcmul_(step, residual - operator(x))
        return x


def _cell_sums(values: Tensor) -> Tensor:
    """Sums over cells of 2 x 2 pixels; a row or column without a partner makes a cell with nothing."""
    height, width = values.shape[-2:]
    return 4 * F.avg_pool2d(F.pad(values, (0, width % 2, 0, height % 2)), 2)
