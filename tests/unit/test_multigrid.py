from functools import partial

import numpy as np
import pytest
import torch

from deepblend.blending_core import multigrid
from deepblend.blending_core.checkerboard import BLACK, RED
from deepblend.blending_core.conjugate_gradients import ConjugateGradients
from deepblend.blending_core.differences import pairwise, sum_over_pairs
from deepblend.blending_core.multigrid import DirectLevel, GridLaplacian, Level, Multigrid
from pictures import masks, to_torch

# Parts of the masks, small enough for dense matrices.
MASKS = {name: mask[8:30, 18:45] for name, mask in masks().items()}


def operator_on(inside, screening):
    region = to_torch(inside.astype(float), torch.float64)[0]
    within = pairwise(torch.mul, region)
    links = tuple(1 - w for w in within)
    return GridLaplacian(within, region * (screening + sum_over_pairs(links)))


def graph_laplacian(inside, screening):
    """Dense matrix on the pixels inside, from its definition."""
    pixels = np.argwhere(inside)
    adjacent = np.abs(pixels[:, None] - pixels[None]).sum(-1) == 1
    neighbours_in_frame = sum(
        ((pixels + step) >= 0).all(1) & ((pixels + step) < inside.shape).all(1)
        for step in ((0, 1), (0, -1), (1, 0), (-1, 0))
    )
    return np.diag(neighbours_in_frame + screening) - adjacent


def random_inside(inside, seed=0):
    values = np.random.default_rng(seed).standard_normal((2, *inside.shape)) * inside
    return torch.from_numpy(values)


def check_sweep(inside, steps, unsolved):
    """After steps that leave one colour unsolved the others' equations hold, and its residuals are summed over cells."""
    level = Level(operator_on(inside, 0.3), 2)
    right_side = random_inside(inside)
    level.board.write(right_side, level.right_side)
    level.board.write(random_inside(inside, 1), level.solution)
    level.sweep(*steps(level))
    solution = level.board.read(level.solution).numpy()
    residual = np.zeros((2, *inside.shape))
    residual[:, inside] = right_side.numpy()[:, inside] - solution[:, inside] @ graph_laplacian(inside, 0.3)
    rows, columns = np.indices(inside.shape)
    assert np.abs(residual[:, (rows + columns) % 2 != unsolved]).max(initial=0) < 1e-13
    assert not solution[:, ~inside].any()
    padded = np.pad(residual, ((0, 0), (0, inside.shape[0] % 2), (0, inside.shape[1] % 2)))
    sums = padded[:, ::2, ::2] + padded[:, 1::2, ::2] + padded[:, ::2, 1::2] + padded[:, 1::2, 1::2]
    assert np.abs(level.cells.numpy() - sums).max() < 1e-13


@pytest.mark.parametrize("mask", MASKS)
def test_relaxing_a_colour_solves_its_equations_and_the_residuals_of_the_other_are_summed(mask):
    def first(level):
        return level.start, partial(level.relax, BLACK), level.sum_first_residuals

    def later(level):
        return partial(level.relax, BLACK), partial(level.relax, RED), level.sum_black_residuals

    check_sweep(MASKS[mask], first, unsolved=RED)
    check_sweep(MASKS[mask], later, unsolved=BLACK)


def test_runs_of_any_length_give_the_same_sweep(monkeypatch):
    inside = MASKS["random"]
    results = []
    for places in (1, 100, 10**6):
        monkeypatch.setattr(multigrid, "CACHED_PLACES", places)
        cycle = Multigrid(operator_on(inside, 0.0), 2)
        cycle.levels[0].board.write(random_inside(inside), cycle.levels[0].right_side)
        cycle.cycle()
        results.append(cycle.levels[0].solution)
    assert torch.equal(results[0], results[2])
    assert torch.equal(results[1], results[2])


@pytest.mark.parametrize("mask", MASKS)
def test_cycle_is_close_to_the_inverse(mask, monkeypatch):
    monkeypatch.setattr(multigrid, "DIRECT_CELLS", 1)
    inside = MASKS[mask]
    count = int(inside.sum())
    cycle = Multigrid(operator_on(inside, 0.0), count)
    units = torch.zeros(count, *inside.shape, dtype=torch.float64)
    units[:, torch.from_numpy(inside)] = torch.eye(count, dtype=torch.float64)
    level = cycle.levels[0]
    level.board.write(units, level.right_side)
    cycle.cycle()
    approximate = level.board.read(level.solution)
    assert not approximate[:, ~torch.from_numpy(inside)].any()
    left = np.eye(count) - approximate.numpy()[:, inside].T @ graph_laplacian(inside, 0.0)
    assert np.abs(np.linalg.eigvals(left)).max() < 0.3


@pytest.mark.parametrize("mask", MASKS)
def test_coarsest_level_is_solved_exactly(mask):
    inside = MASKS[mask]
    matrix = graph_laplacian(inside, 0.3)
    right_side = random_inside(inside)
    solved = right_side.clone()
    DirectLevel(operator_on(inside, 0.3)).solve(solved)
    expected = np.zeros_like(right_side)
    expected[:, inside] = np.linalg.solve(matrix, right_side.numpy()[:, inside].T).T
    assert np.abs(solved.numpy() - expected).max() < 1e-12


@pytest.mark.parametrize("mask", MASKS)
def test_conjugate_gradients_take_conjugate_directions_and_carry_the_residual(mask):
    inside = MASKS[mask]
    right_side = random_inside(inside)
    solver = ConjugateGradients(operator_on(inside, 0.1), right_side)
    solver.estimate()
    solver.step()
    direction, image = solver.direction.clone(), solver.image.clone()
    solver.estimate()
    solver.step()
    # Conjugate to the last direction, in the length of both.
    product, other = ((a * b).sum(-1) for a, b in ((solver.direction[BLACK], image), (direction[BLACK], solver.image)))
    lengths = ((direction[BLACK] * image).sum(-1) * (solver.direction[BLACK] * solver.image).sum(-1)).sqrt()
    assert (product.abs() <= 1e-10 * lengths).all()
    assert (other.abs() <= 1e-10 * lengths).all()
    found = solver.solution()
    assert not found[:, ~torch.from_numpy(inside)].any()
    residual = right_side.numpy()[:, inside] - found.numpy()[:, inside] @ graph_laplacian(inside, 0.1)
    carried = solver.board.read(solver.level.right_side).numpy()[:, inside]
    assert np.abs(residual - carried).max() < 1e-12
    assert np.abs(residual).max() < 0.1 * right_side.abs().max()
