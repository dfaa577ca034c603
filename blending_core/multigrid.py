"""One multigrid cycle as an approximate inverse of a weighted grid Laplacian."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from .checkerboard import BLACK, RED, Checkerboard
from .differences import Pairs, sum_over_pairs

CACHED_PLACES = 16384  # per thread: so many places of all that a sweep reads and writes stay in a core's cache


@dataclass
class GridLaplacian:
    """The operator (A x)_p = excess_p x_p + sum over neighbours q of conductance_pq (x_p - x_q).

    conductance: of the pairs inside the region, 0 elsewhere; excess: `[1, H, W]`, what joins a pixel to known values
    (screening, neighbours outside the region); 0 outside the region.
    """

    conductance: Pairs
    excess: Tensor

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
            4 * F.avg_pool2d(F.pad(self.excess, even), 2),
        )


class Level:
    """A grid Laplacian on a checkerboard, a right side and what is being found for it, `[2, C, length]` each.

    All work is done in runs of places that stay in the processor's cache, without new memory.
    """

    def __init__(self, operator: GridLaplacian, channels: int):
        excess, (right, down) = operator.excess, operator.conductance
        self.board = board = Checkerboard(*excess.shape[-2:])
        self.excess = board.write(excess, board.zeros(excess, 1))
        diagonal = excess + sum_over_pairs(operator.conductance)
        self.diagonal = board.write(diagonal, board.zeros(excess, 1))
        inverse = torch.where(diagonal > 0, diagonal.reciprocal(), torch.zeros_like(diagonal))
        self.inverse_diagonal = board.write(inverse, board.zeros(excess, 1))
        # Conductances of the pairs of each red pixel: these are all pairs. In the order of the board's shifts.
        sides = F.pad(right, (0, 1)), F.pad(right, (1, 0)), F.pad(down, (0, 0, 0, 1)), F.pad(down, (0, 0, 1, 0))
        self.links = [board.write(side, board.zeros(excess, 1))[RED] for side in sides]
        self.right_side = board.zeros(excess, channels)
        self.solution = board.zeros(excess, channels)

    def runs(self) -> Iterator[slice]:
        """Runs of places, whole strips, that together are all."""
        board = self.board
        strips = board.strips
        if not self.excess.is_cuda:
            strips = max(CACHED_PLACES * torch.get_num_threads() // board.stride, 1)
        for start in range(board.start, board.stop, strips * board.stride):
            yield slice(start, min(start + strips * board.stride, board.stop))

    def neighbours(self, field: Tensor, color: int, run: slice) -> Iterator[tuple[Tensor, Tensor]]:
        """Conductance to and value of each of the four neighbours of the pixels of a colour."""
        for link, shift in zip(self.links, self.board.shifts, strict=True):
            if color == RED:
                yield link[..., run], field[BLACK][..., run.start + shift : run.stop + shift]
            else:
                back = slice(run.start - shift, run.stop - shift)
                yield link[..., back], field[RED][..., back]

    def start(self):
        """A Gauss-Seidel step on the red pixels from a solution of zero."""
        torch.mul(self.right_side[RED], self.inverse_diagonal[RED], out=self.solution[RED])

    def relax(self, color: int):
        """A Gauss-Seidel step: solve the equations of the pixels of one colour for their values."""
        for run in self.runs():
            value = self.solution[color][..., run]
            value.copy_(self.right_side[color][..., run])
            for link, neighbour in self.neighbours(self.solution, color, run):
                value.addcmul_(link, neighbour)
            value.mul_(self.inverse_diagonal[color][..., run])

    def cell_residuals(self, color: int) -> Tensor:
        """Sums over cells of the residual, `[C, strips, cells]`, when it is 0 at the pixels of the other colour."""
        sums = []
        for run in self.runs():
            solution, right_side = self.solution[color][..., run], self.right_side[color][..., run]
            residual = torch.addcmul(right_side, self.diagonal[color][..., run], solution, value=-1)
            for link, neighbour in self.neighbours(self.solution, color, run):
                residual.addcmul_(link, neighbour)
            sums.append(torch.add(*self.board.rows(residual, color)))
        return torch.cat(sums, -2)

    def add_to_cells(self, values: Tensor):
        """Add a cell's value, `[C, strips, cells]`, to its red pixels. The black ones are relaxed next."""
        for rows in self.board.rows(self.solution[RED][..., self.board.start : self.board.stop], RED):
            rows.add_(values)


class Multigrid:
    """F-cycle with red-black Gauss-Seidel smoothing and piecewise constant transfer, down to a single cell.

    Each level is corrected from the coarser one twice, the second time by a V-cycle (Trottenberg et al. 2001, section
    2.4): the V-cycle alone loses some of what piecewise constant transfer misses on every level.
    """

    def __init__(self, operator: GridLaplacian, channels: int):
        self.levels = [Level(operator, channels)]
        while max(operator.excess.shape[-2:]) > 1:
            operator = operator.coarser()
            self.levels.append(Level(operator, channels))

    def cycle(self, depth: int = 0, corrections: int = 2):
        """Solve a level's equations approximately. The residual is then 0 at the red pixels."""
        level = self.levels[depth]
        level.start()
        if depth == len(self.levels) - 1:
            return
        level.relax(BLACK)
        for correction in range(corrections):
            coarse = self.levels[depth + 1]
            coarse.board.write(level.cell_residuals(BLACK if correction else RED), coarse.right_side)
            self.cycle(depth + 1, corrections - correction)
            level.add_to_cells(coarse.board.read(coarse.solution))
            level.relax(BLACK)
            level.relax(RED)
