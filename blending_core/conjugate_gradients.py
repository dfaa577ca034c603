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
        self.direction = torch.zeros_like(self.level.solution)
        self.image, self.found = torch.zeros_like(self.direction)
        self.begin(right_side)

    def begin(self, right_side: Tensor):
        """Start from e = 0 with this b."""
        level = self.level
        self.board.write(right_side, level.right_side)
        self.red_right_side = level.right_side[RED].clone()
        # Elimination: with e = 0 at the black pixels the red ones follow, and the black residuals with them.
        level.sweep(level.start, self._eliminate_red)
        level.right_side[RED].zero_()
        self.found.zero_()
        self.curvature = None

    def estimate(self) -> float:
        """The largest error that is left, about: the preconditioner is close to the inverse, so its answer is close to it.

        Errors of red pixels are means of those of black ones, hence not larger.
        """
        self.multigrid.cycle()
        correction, largest = self.level.solution[BLACK], []
        self.level.sweep(lambda run: largest.append(correction[..., run].abs().amax()))
        return torch.stack(largest).amax().item()

    def step(self):
        """One step, after `estimate`."""
        level, correction, direction, image = self.level, self.level.solution, self.direction, self.image
        residual = level.right_side[BLACK]
        products, slopes, curvatures = [], [], []

        def project(run):
            products.append(_dot(correction[BLACK][..., run], image[..., run]))

        def turn(run):
            direction[..., run].mul_(along).add_(correction[..., run])

        def apply_operator(run):
            here, result = direction[BLACK][..., run], image[..., run]
            torch.mul(level.excess[BLACK][..., run], here, out=result)
            # Through differences, so that rounding errors scale with the differences of the direction and not with it.
            for link, neighbour in level.neighbours(direction, BLACK, run):
                result.addcmul_(link, here - neighbour)
            curvatures.append(_dot(here, result))
            slopes.append(_dot(here, residual[..., run]))

        def move(run):
            self.found[..., run].addcmul_(length, direction[BLACK][..., run])
            residual[..., run].addcmul_(length, image[..., run], value=-1)

        along = 0.0
        if self.curvature is not None:
            level.sweep(project)
            along = -_ratio(sum(products), self.curvature)
        level.sweep(turn, apply_operator)
        self.curvature = sum(curvatures)
        length = _ratio(sum(slopes), self.curvature)
        level.sweep(move)

    def _eliminate_red(self, run):
        residual = self.level.right_side[BLACK][..., run]
        for link, neighbour in self.level.neighbours(self.level.solution, BLACK, run):
            residual.addcmul_(link, neighbour)

    def solution(self) -> Tensor:
        """e, `[C, H, W]`."""
        level = self.level
        field = torch.stack((self.red_right_side, self.found))

        def recover_red(run):
            red = field[RED][..., run]
            for link, neighbour in level.neighbours(field, RED, run):
                red.addcmul_(link, neighbour)
            red.mul_(level.inverse_diagonal[RED][..., run])

        level.sweep(recover_red)
        return self.board.read(field)


def _dot(a: Tensor, b: Tensor) -> Tensor:
    """Inner product per channel: channels are independent systems with one operator."""
    return (a * b).sum(-1, keepdim=True)


def _ratio(a: Tensor, b: Tensor) -> Tensor:
    """a / b, and 0 where b is 0: a channel that is solved exactly stays as it is."""
    return torch.where(b > 0, a / b.clamp_min(torch.finfo(b.dtype).tiny), torch.zeros_like(a))
