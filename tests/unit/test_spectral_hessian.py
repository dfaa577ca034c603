import numpy as np
import pytest
import scipy.optimize
import torch
from blending_scenes import disk, scene

from deepblend.blending_core import deep_blend
from deepblend.blending_core.lbfgs import minimize
from deepblend.blending_core.opponent_edge_bank import OpponentEdgeBank
from deepblend.blending_core.recipes import PAINTING, PHOTOGRAPH, PUBLISHED_LOOK, RECIPES, Weights
from deepblend.blending_core.spectral_hessian import CAUTION, SpectralHessian
from deepblend.blending_core.vgg import VGG
from networks import small_vgg_weights
from pictures import to_torch

AXES = np.array([[1, 1, 1], [1, -1, 0], [1, 1, -2]]) / np.sqrt([[3], [2], [6]])


def second_difference(span, length):
    """Of a span of a line: next to it values of 0, beyond the line nothing."""
    matrix = 2 * np.eye(span.stop - span.start)
    matrix -= np.eye(len(matrix), k=1) + np.eye(len(matrix), k=-1)
    matrix[0, 0] -= span.start == 0
    matrix[-1, -1] -= span.stop == length
    return matrix


def laplacian_of_box(rows, columns, size):
    vertical, horizontal = (second_difference(*pair) for pair in zip((rows, columns), size, strict=True))
    return np.kron(vertical, np.eye(len(horizontal))) + np.kron(np.eye(len(vertical)), horizontal)


def estimate_of(inside, *stiffness):
    """With all values seen in full."""
    return SpectralHessian(inside, torch.ones(3 * int(inside.sum())), *stiffness)


BOXES = {
    "inside": (slice(2, 7), slice(1, 9)),
    "upper left corner": (slice(0, 6), slice(0, 4)),
    "lower right corner": (slice(3, 9), slice(5, 11)),
    "all of the height": (slice(0, 9), slice(4, 8)),
    "the whole picture": (slice(0, 9), slice(0, 11)),
    "one pixel": (slice(4, 5), slice(6, 7)),
}
SIZE = 9, 11


@pytest.mark.parametrize("box", BOXES)
def test_equals_the_inverse_of_a_dense_matrix_on_a_box(box):
    rows, columns = BOXES[box]
    inside = torch.zeros(1, 1, *SIZE, dtype=torch.bool)
    inside[..., rows, columns] = True
    laplacian = laplacian_of_box(rows, columns, SIZE)
    matrix = 3.0 * laplacian @ laplacian + 3.0 * np.eye(len(laplacian))
    vector = np.random.default_rng(0).normal(size=(3, len(laplacian)))
    found = estimate_of(inside, 3.0, lambda change: change).solve(torch.from_numpy(vector.ravel()))
    assert np.allclose(found.numpy().reshape(3, -1), np.linalg.solve(matrix, vector.T).T, rtol=1e-4, atol=1e-6)


def test_on_other_shapes_it_is_the_boxes_inverse_between_their_pixels():
    inside = torch.zeros(1, 1, *SIZE, dtype=torch.bool)
    inside[0, 0, 2:8, 1:9] = torch.rand(6, 8, generator=torch.Generator().manual_seed(0)) > 0.4
    inside[0, 0, 2, 1] = inside[0, 0, 7, 8] = True
    laplacian = laplacian_of_box(slice(2, 8), slice(1, 9), SIZE)
    chosen = inside[0, 0, 2:8, 1:9].flatten().numpy()
    inverse = np.linalg.inv(laplacian @ laplacian + np.eye(48))[np.ix_(chosen, chosen)]
    vector = np.random.default_rng(0).normal(size=(3, chosen.sum()))
    found = estimate_of(inside, 1.0, lambda change: change).solve(torch.from_numpy(vector.ravel()))
    assert np.allclose(found.numpy().reshape(3, -1), vector @ inverse, rtol=1e-4, atol=1e-6)


def full(height=24, width=20):
    return torch.ones(1, 1, height, width, dtype=torch.bool)


@pytest.mark.parametrize("stiffness", [0.0, 0.5])
def test_learns_how_stiff_each_colour_and_frequency_is(stiffness):
    """Of a Hessian that is diagonal in frequencies and colours, from random steps."""
    inside = full()
    laplacian = laplacian_of_box(slice(0, 24), slice(0, 20), (24, 20))
    eigenvalues, vectors = np.linalg.eigh(laplacian)
    band = np.searchsorted([0.03, 0.3, 3.0], eigenvalues)
    by_band, by_color = np.array([4.0, 2.0, 8.0, 1.0])[band], np.array([2.0, 6.0, 3.0])

    def product(values, rest_factor=1.0, power=1):
        spectrum = AXES @ values.reshape(3, -1) @ vectors
        diagonal = stiffness * eigenvalues**2 + rest_factor * by_color[:, None] * by_band
        return (AXES.T @ (spectrum * diagonal**power) @ vectors.T).ravel()

    stiff = laplacian @ laplacian * stiffness
    estimate = estimate_of(
        inside, stiffness, lambda change: torch.from_numpy((change.numpy().reshape(3, -1) @ stiff).ravel())
    )
    generator = np.random.default_rng(1)
    for _ in range(30):
        spectrum = generator.normal(size=(3, 480)) / np.sqrt(np.bincount(band))[band]  # as much of every band
        step = (AXES.T @ spectrum @ vectors.T).ravel()
        estimate.learn(torch.from_numpy(step), torch.from_numpy(product(step)))
    vector = generator.normal(size=3 * 480)
    found = estimate.solve(torch.from_numpy(vector)).numpy()
    expected = product(vector, CAUTION, -1)
    assert np.linalg.norm(found - expected) < 0.1 * np.linalg.norm(expected)


def test_is_symmetric_and_positive_definite_whatever_it_learns():
    inside = torch.rand(1, 1, 17, 23, generator=torch.Generator().manual_seed(3)) > 0.5
    estimate = estimate_of(inside)
    count = 3 * int(inside.sum())
    generator = np.random.default_rng(2)
    a, b = (torch.from_numpy(generator.normal(size=count)) for _ in range(2))
    for turn in (-a, a * 1e-12, torch.zeros_like(a), b * 1e6, 0.3 * a):
        estimate.learn(a, turn)
        first, second = estimate.solve(a), estimate.solve(b)
        assert (a @ first).item() > 0 and (b @ second).item() > 0
        assert (a @ second).item() == pytest.approx((b @ first).item(), rel=1e-3, abs=1e-4 * (a @ first).item())


def random(seed=0):
    """Values of the full picture."""
    return torch.rand(3 * 480, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)) - 0.5


def test_values_that_are_seen_in_part_are_less_stiff_by_as_much():
    """Of a loss that is a square of the picture; what is hardly seen counts as seen to a tenth."""
    effect = torch.linspace(0.2, 1, 3 * 480, dtype=torch.float64)
    effect[::50] = 0.001
    estimate, counted = SpectralHessian(full(), effect.float()), effect.clamp_min(0.1)
    estimate.learn(random(1), 7 * counted**2 * random(1))
    assert torch.allclose(estimate.solve(random(2)), random(2) / (7 * CAUTION * counted**2), rtol=1e-3, atol=1e-6)


def test_a_short_step_tells_as_much_as_a_long_one():
    results = []
    for length in (1.0, 1e-3):
        estimate = estimate_of(full())
        estimate.learn(length * random(1), length * 2 * random(1))
        estimate.learn(random(2), 9 * random(2))
        results.append(estimate.solve(random(3)))
    assert torch.allclose(*results, rtol=1e-4, atol=1e-7)


def test_what_was_seen_long_ago_is_forgotten():
    estimate = estimate_of(full())
    for seed in range(50):
        estimate.learn(random(seed), (1 if seed < 25 else 9) * random(seed))
    expected = random() / (9 * CAUTION)
    assert (estimate.solve(random()) - expected).norm() < 0.05 * expected.norm()


@pytest.mark.parametrize("undefined", [np.nan, np.inf, 1e30])
def test_from_an_undefined_gradient_nothing_is_learnt(undefined):
    estimate, step = estimate_of(full()), torch.rand(3 * 480, generator=torch.Generator().manual_seed(0))
    estimate.learn(step, 5 * step)
    before = estimate.solve(step)
    turn = step.clone()
    turn[7] = undefined
    estimate.learn(step, turn)
    assert before.isfinite().all() and torch.equal(estimate.solve(step), before)


def test_the_scale_of_the_loss_only_scales_the_steps():
    generator = np.random.default_rng(5)
    steps, vector = generator.normal(size=(4, 3 * 480)), torch.from_numpy(generator.normal(size=3 * 480))
    results = []
    for scale in (1.0, 1e-6):
        estimate = estimate_of(full(), 0.1 * scale, lambda change, scale=scale: scale * change)
        for step in steps:
            estimate.learn(torch.from_numpy(step), torch.from_numpy(scale * np.roll(step, 1)))
        results.append(estimate.solve(vector) * scale)
    assert torch.allclose(*results, rtol=1e-3, atol=1e-6)


def problem_of(mask, weights, channels=3, model=None, statistics="object"):
    own, mask, target, start = scene(mask, channels=channels)
    settings = deep_blend.Settings(weights, 40, statistics=statistics)
    return deep_blend.Problem(own, mask, target, start, model or OpponentEdgeBank(), settings, None)


def evaluate(problem, values):
    values = values.detach().requires_grad_()
    total = sum(problem.terms(problem.composite_of(values)).values())
    return total.item(), torch.autograd.grad(total, values)[0]


@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("mask", ["disk", "soft disk", "at the border", "whole frame", "ring"])
def test_what_is_known_is_the_gradient_terms_hessian(mask, channels):
    """It is a square: its gradient changes by the Hessian's product, however long the step is."""
    problem = problem_of(mask, Weights(gradient=2000), channels)
    change = torch.rand(problem.start.shape, generator=torch.Generator().manual_seed(1)) - 0.5
    expected = evaluate(problem, problem.start + change)[1] - evaluate(problem, problem.start)[1]
    found = problem.hessian().stiff_product(change)
    assert (found - expected).abs().max() < 1e-4 * expected.abs().max()


@pytest.mark.parametrize("height", [1e-44, 1e-37, 1e-3, 0.4])
def test_the_height_of_an_even_mask_has_no_part_in_the_stiffness(height):
    """The loss is divided by the mask's sum; that of a trace is too small to divide by."""
    found = problem_of(np.where(disk() > 0, height, 0), Weights(gradient=2000)).hessian().stiffness
    assert np.isfinite(found)
    if height > 1e-38:
        assert found == pytest.approx(2000 / 3 / disk().sum(), rel=1e-5)


@pytest.mark.parametrize(
    ("mask", "recipe", "stage", "statistics", "model"),
    [
        ("disk", PHOTOGRAPH, 1, "object", "built-in"),
        ("soft disk", PAINTING, 1, "picture", "built-in"),
        ("at the border", PAINTING, 1, "object", "built-in"),
        ("ring", PUBLISHED_LOOK, 1, "object", "built-in"),
        ("soft disk", PAINTING, 2, "object", "built-in"),
        ("at the border", PHOTOGRAPH, 2, "picture", "built-in"),
        ("disk", PHOTOGRAPH, 1, "object", "VGG-19"),
        ("soft disk", PHOTOGRAPH, 1, "picture", "VGG-19"),
        ("at the border", PAINTING, 1, "object", "VGG-19"),
    ],
)
def test_forty_evaluations_come_as_low_as_hundreds_of_scipys(mask, recipe, stage, statistics, model):
    model = OpponentEdgeBank() if model == "built-in" else VGG(small_vgg_weights())
    weights = RECIPES[recipe].stage_1 if stage == 1 else RECIPES[recipe].stage_2
    weights = weights.scaled(histogram=0, total_variation=0, saturation=0)
    problem = problem_of(mask, weights, model=model, statistics=statistics)
    values = []

    def counted(point):
        value, gradient = evaluate(problem, point)
        values.append(value)
        return value, gradient

    minimize(counted, problem.start, 40, problem.hessian())

    def for_scipy(point):
        value, gradient = evaluate(problem, torch.from_numpy(point).float())
        return value, gradient.double().numpy()

    plain = scipy.optimize.minimize(
        for_scipy,
        problem.start.double().numpy(),
        jac=True,
        method="L-BFGS-B",
        bounds=[(0, 1)] * problem.start.numel(),
        options={"maxfun": 200, "maxiter": 200, "ftol": 1e-9, "gtol": 1e-9},
    )
    assert len(values) <= 40 and min(values) < 1.005 * plain.fun


def test_thin_and_scattered_objects():
    """The box of many small pieces is mostly not object."""
    pieces = to_torch((disk(radius=20) > 0) & (np.add.outer(np.arange(48), np.arange(64)) % 7 == 0)).float()
    problem = problem_of(pieces[0, 0].numpy(), Weights(gradient=2000, content=2, style=0.3))
    values = []

    def counted(point):
        values.append(evaluate(problem, point))
        return values[-1]

    minimize(counted, problem.start, 40, problem.hessian())
    assert min(value for value, _ in values) < 0.9 * values[0][0]
