import numpy as np
import torch

from deepblend.blending_core.differences import forward_differences, pairwise, sum_over_pairs
from deepblend.blending_core.multigrid import GridLaplacian, Multigrid
from pictures import masks, to_torch

# Parts of the masks, small enough for dense matrices.
MASKS = {name: mask[8:30, 18:45] for name, mask in masks().items()}


def operator_on(inside, screening):
    region = to_torch(inside.astype(float), torch.float64)
    within = pairwise(torch.mul, region)
    links = tuple(1 - w for w in within)
    return GridLaplacian(within, region * (screening + sum_over_pairs(links)))


def matrix_of(function, inside):
    """Dense matrix of a linear function of the pixels inside."""
    columns = []
    for y, x in np.argwhere(inside):
        unit = torch.zeros(1, 1, *inside.shape, dtype=torch.float64)
        unit[0, 0, y, x] = 1
        columns.append(function(unit)[0, 0].numpy()[inside])
    return np.array(columns).T


def test_operator_is_the_graph_laplacian_of_the_region():
    inside = MASKS["random"]
    matrix = matrix_of(operator_on(inside, 0.3), inside)
    pixels = np.argwhere(inside)
    adjacent = np.abs(pixels[:, None] - pixels[None]).sum(-1) == 1
    neighbours_in_frame = sum(
        ((pixels + step) >= 0).all(1) & ((pixels + step) < inside.shape).all(1)
        for step in ((0, 1), (0, -1), (1, 0), (-1, 0))
    )
    assert np.allclose(matrix, np.diag(neighbours_in_frame + 0.3) - adjacent)


def test_cycle_is_symmetric_positive_definite_and_close_to_the_inverse():
    for name, inside in MASKS.items():
        operator = operator_on(inside, 0.0)
        approximate = matrix_of(Multigrid(operator), inside)
        assert np.allclose(approximate, approximate.T), name
        exact = matrix_of(operator, inside)
        eigenvalues = np.linalg.eigvals(approximate @ exact).real
        assert eigenvalues.min() > 0.05, name
        assert eigenvalues.max() < 5, name


def test_nothing_leaves_the_region():
    inside = MASKS["ring with a hole"]
    residual = torch.rand(1, 3, *inside.shape, dtype=torch.float64) * to_torch(inside)
    assert not Multigrid(operator_on(inside, 0.0))(residual)[..., ~torch.from_numpy(inside)].any()


def test_a_constant_is_only_seen_by_the_excess():
    inside = np.ones((9, 12), bool)
    operator = operator_on(inside, 0.25)
    constant = torch.full((1, 1, 9, 12), 4.0, dtype=torch.float64)
    assert torch.equal(operator(constant), torch.ones_like(constant))
    assert all(not d.any() for d in forward_differences(constant))
