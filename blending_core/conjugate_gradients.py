"""Conjugate gradients for a grid Laplacian, preconditioned by multigrid."""

import torch
from torch import Tensor

from .checkerboard import BLACK, RED
from .multigrid import GridLaplacian, Multigrid


class ConjugateGradients:
    """Solves A e = b for every channel by itself.

    The red pixels are eliminated: their equations hold exactly at every step, so that residuals, and what conjugate gradients
    make of them, live on the black pixels only (the reduced system: Saad 2003, section 12.2; the iterates are those of
    the whole system). The F-cycle is not symmetric, hence each direction is made conjugate to the last one explicitly
    ("flexible", Notay 2000).
    """

    def __init__(self, operator: GridLaplacian, right_side: Tensor):
        """operator: fields `[1, H, W]`; right_side: `[C, H, W]`."""
        self.multigrid = Multigrid(operator, len(right_side))
        self.level = self.multigrid.levels[0]
        self.board = self.level.board
        self.found = self.board.zeros(right_side, len(right_side))
        self.direction, self.image = torch.zeros_like(self.found), torch.zeros_like(self.found[BLACK])
        self.begin(right_side)

    def begin(self, right_side: Tensor):
        """Start from e = 0 with this b."""
        level = self.level
        self.right_side = self.board.write(right_side, torch.zeros_like(self.found))
        # Elimination: with e = 0 at the black pixels the red ones follow, and the black residuals with them.
        level.right_side.copy_(self.right_side)
        level.start()
        for run in level.runs():
            residual = level.right_side[BLACK][..., run]
            for link, neighbour in level.neighbours(level.solution, BLACK, run):
                residual.addcmul_(link, neighbour)
        level.right_side[RED].zero_()
        self.found.zero_()
        self.curvature = None

    def estimate(self) -> float:
        """The largest error that is left, about: the preconditioner is close to the inverse, so its answer is close to it.

        Errors of red pixels are means of those of black ones, hence not larger.
        """
        self.multigrid.cycle()
        return self.level.solution[BLACK].abs().amax().item()

    def step(self):
        """One step, after `estimate`."""
        level, correction, direction, image = self.level, self.level.solution, self.direction, self.image
        residual, found = level.right_side[BLACK], self.found[BLACK]
        if self.curvature is None:
            direction.copy_(correction)
        else:
            products = [_dot(correction[BLACK][..., run], image[..., run]) for run in level.runs()]
            along = -_ratio(sum(products), self.curvature)
            for run in level.runs():
                direction[..., run].mul_(along).add_(correction[..., run])
        curvatures, slopes = [], []
        for run in level.runs():
            here, result = direction[BLACK][..., run], image[..., run]
            torch.mul(level.excess[BLACK][..., run], here, out=result)
            # Through differences, so that rounding errors scale with the differences of the direction and not with it.
            for link, neighbour in level.neighbours(direction, BLACK, run):
                result.addcmul_(link, here - neighbour)
            curvatures.append(_dot(here, result))
            slopes.append(_dot(here, residual[..., run]))
        self.curvature = sum(curvatures)
        length = _ratio(sum(slopes), self.curvature)
        for run in level.runs():
            found[..., run].addcmul_(length, direction[BLACK][..., run])
            residual[..., run].addcmul_(length, image[..., run], value=-1)

    def solution(self) -> Tensor:
        """e, `[C, H, W]`."""
        level = self.level
        for run in level.runs():
            value = self.found[RED][..., run]
            value.copy_(self.right_side[RED][..., run])
            for link, neighbour in level.neighbours(self.found, RED, run):
                value.addcmul_(link, neighbour)
            value.mul_(level.inverse_diagonal[RED][..., run])
        return self.board.read(self.found)


def _dot(a: Tensor, b: Tensor) -> Tensor:
    """Inner product per channel: channels are independent systems with one operator."""
    return (a * b).sum(-1, keepdim=True)


def _ratio(a: Tensor, b: Tensor) -> Tensor:
    """a / b, and 0 where b is 0: a channel that is solved exactly stays as it is."""
    return torch.where(b > 0, a / b.clamp_min(torch.finfo(b.dtype).tiny), torch.zeros_like(a))
