"""One multigrid cycle as an approximate inverse of a weighted grid Laplacian."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from .checkerboard import BLACK, RED, Checkerboard
from .differences import Pairs, sum_over_pairs

CACHED_PLACES = 32768  # per thread: so many places of all that a sweep reads and writes stay in a core's cache

DIRECT_CELLS = 256  # at most so many cells on the coarsest level
UNDETERMINED = 1e-12  # of the largest eigenvalue; smaller ones are rounding errors


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

    All work is done in place, in runs that stay in the processor's cache.
    """

    def __init__(self, operator: GridLaplacian, channels: int):
        excess = operator.excess
        self.board = board = Checkerboard(*excess.shape[-2:])
        self.excess = board.write(excess, board.zeros(excess, 1))
        # Every pair has the place of its left or upper pixel.
        self.links = tuple(board.write(pairs, board.zeros(excess, 1)) for pairs in operator.conductance)
        self.diagonal, self.inverse_diagonal = self.excess.clone(), torch.zeros_like(self.excess)
        self.sweep(self._sum_links)
        self.right_side = board.zeros(excess, channels)
        self.solution = board.zeros(excess, channels)
        self.cells = excess.new_empty(channels, board.strips, board.cells)
        self._views = {}

    def sweep(self, *steps: Callable[[slice], None]):
        """Do each step at all places, which a step is told in runs of whole strips, from top to bottom.

        All steps work on one run while it is in the cache, each a strip behind the one before: then it finds the pixels
        above and below it as that one leaves them, and that one still found them as they were.
        """
        board = self.board
        strips = board.strips
        if self.excess.device.type == "cpu":
            strips = max(CACHED_PLACES * torch.get_num_threads() // board.stride, 1)
        for start in range(board.start, board.stop + (len(steps) - 1) * board.stride, strips * board.stride):
            for lag, step in enumerate(steps):
                first = start - lag * board.stride
                run = slice(max(first, board.start), min(first + strips * board.stride, board.stop))
                if run.start < run.stop:
                    step(run)

    def _sum_links(self, run: slice):
        for color in (RED, BLACK):
            diagonal = self.diagonal[color][..., run]
            for link, _ in self.neighbours(self.excess, color, run):
                diagonal += link
            inverse = torch.where(diagonal > 0, diagonal.reciprocal(), 0.0)
            self.inverse_diagonal[color][..., run] = inverse

    def neighbours(self, field: Tensor, color: int, run: slice) -> Iterator[tuple[Tensor, Tensor]]:
        """Conductance to and value of each of the four neighbours of the pixels of a colour."""
        other = 1 - color
        forward, backward = self.board.forward_shifts(color), self.board.forward_shifts(other)
        for link, ahead, behind in zip(self.links, forward, backward, strict=True):
            yield link[color][..., run], field[other][..., run.start + ahead : run.stop + ahead]
            back = slice(run.start - behind, run.stop - behind)
            yield link[other][..., back], field[other][..., back]

    def views(self, color: int, run: slice) -> tuple[Tensor, Tensor, Tensor, list[tuple[Tensor, Tensor]]]:
        """What a step on a run works with: solution, right side, inverse diagonal and the solution's neighbours.

        They are kept, because on small levels making views would take longer than the work.
        """
        key = color, run.start, run.stop
        if key not in self._views:
            fields = (field[color][..., run] for field in (self.solution, self.right_side, self.inverse_diagonal))
            self._views[key] = *fields, list(self.neighbours(self.solution, color, run))
        return self._views[key]

    def start(self, run: slice):
        """A Gauss-Seidel step on the red pixels from a solution of zero."""
        solution, right_side, inverse_diagonal, _ = self.views(RED, run)
        torch.mul(right_side, inverse_diagonal, out=solution)

    def relax(self, color: int, run: slice):
        """A Gauss-Seidel step: solve the equations of the pixels of one colour for their values."""
        solution, right_side, inverse_diagonal, ((link, neighbour), *others) = self.views(color, run)
        torch.addcmul(right_side, link, neighbour, out=solution)
        for link, neighbour in others:
            solution.addcmul_(link, neighbour)
        solution.mul_(inverse_diagonal)

    def sum_first_residuals(self, run: slice):
        """Sums over cells, into `cells`, of the residual when the red pixels have been started and the black ones relaxed.

        It is 0 at the black pixels, and at the red ones what their neighbours, then 0, have now.
        """
        *_, ((link, neighbour), *others) = self.views(RED, run)
        self._sum_cells(RED, link * neighbour, others, run)

    def sum_black_residuals(self, run: slice):
        """The same when the red pixels were relaxed last, so that it is 0 there."""
        solution, right_side, _, neighbours = self.views(BLACK, run)
        residual = torch.addcmul(right_side, self.diagonal[BLACK][..., run], solution, value=-1)
        self._sum_cells(BLACK, residual, neighbours, run)

    def _sum_cells(self, color, residual, neighbours, run):
        for link, neighbour in neighbours:
            residual.addcmul_(link, neighbour)
        upper, lower = self.board.rows(residual, color)
        torch.add(upper, lower, out=self.cells[..., self.board.strips_of(run), :])

    def add_cells(self, run: slice):
        """Add a cell's value to its red pixels. The black ones are relaxed next."""
        for rows in self.board.rows(self.solution[RED][..., run], RED):
            rows.add_(self.cells[..., self.board.strips_of(run), :])


class DirectLevel:
    """The coarsest level, solved by its inverse; a part of it that nothing holds gets no constant (pseudo-inverse)."""

    def __init__(self, operator: GridLaplacian):
        height, width = operator.excess.shape[-2:]
        place = torch.arange(height * width).view(height, width)
        # Found in float64 on the CPU, where every machine can do it, and only once.
        right, down = (pairs[0].cpu().double().flatten() for pairs in operator.conductance)
        diagonal = (operator.excess + sum_over_pairs(operator.conductance)).cpu().double()
        matrix = torch.diag(diagonal.flatten())
        for links, first, second in ((right, place[:, :-1], place[:, 1:]), (down, place[:-1], place[1:])):
            first, second = first.flatten(), second.flatten()
            matrix[first, second] = matrix[second, first] = -links
        # Cells without an equation are left out: at hundreds of eigenvalues of 0 LAPACK gives up on some processors.
        used = matrix.diagonal() > 0
        part = torch.linalg.pinv(matrix[used][:, used], rtol=UNDETERMINED, hermitian=True)
        inverse = torch.zeros_like(matrix)
        inverse[used[:, None] & used] = part.flatten()
        self.inverse = inverse.to(operator.excess)

    def solve(self, cells: Tensor):
        """Replace a right side, `[C, H, W]`, by its solution."""
        cells.copy_((cells.flatten(-2) @ self.inverse).view(cells.shape))


class Multigrid:
    """F-cycle with red-black Gauss-Seidel smoothing and piecewise constant transfer, down to a direct solution.

    Each level is corrected from the coarser one twice, the second time by a V-cycle (Trottenberg et al. 2001, section
    2.4): the V-cycle alone loses some of what piecewise constant transfer misses on every level.
    """

    def __init__(self, operator: GridLaplacian, channels: int):
        self.levels = [Level(operator, channels)]
        while (operator := operator.coarser()).excess.numel() > DIRECT_CELLS:
            self.levels.append(Level(operator, channels))
        self.coarsest = DirectLevel(operator)

    def cycle(self, depth: int = 0, corrections: int = 2):
        """Solve a level's equations approximately. The residual is then 0 at the red pixels."""
        level = self.levels[depth]
        relax_black, relax_red = partial(level.relax, BLACK), partial(level.relax, RED)
        level.sweep(level.start, relax_black, level.sum_first_residuals)
        for correction in range(corrections):
            if depth + 1 == len(self.levels):
                self.coarsest.solve(level.cells)
            else:
                coarse = self.levels[depth + 1]
                coarse.board.write(level.cells, coarse.right_side)
                self.cycle(depth + 1, corrections - correction)
                coarse.board.read(coarse.solution, out=level.cells)
            steps = [level.add_cells, relax_black, relax_red]
            if correction + 1 < corrections:
                steps.append(level.sum_black_residuals)
            level.sweep(*steps)
