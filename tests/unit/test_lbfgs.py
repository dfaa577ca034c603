import numpy as np
import pytest
import scipy.optimize
import torch

from deepblend.blending_core import lbfgs


class Scale:
    """The least that L-BFGS can begin with: one number for all values."""

    def __init__(self):
        self.scale = 1.0

    def learn(self, change, turn):
        self.scale = (turn.norm() / change.norm()).item() or self.scale

    def solve(self, vector):
        return vector / self.scale


class Known(Scale):
    """The right Hessian from the start, of a function of vectors."""

    def __init__(self, matrix):
        self.inverse = torch.from_numpy(np.linalg.inv(matrix))

    def learn(self, change, turn):
        pass

    def solve(self, vector):
        return (self.inverse @ vector.flatten()).view(vector.shape)


def minimize(evaluate, start, evaluations, hessian=None):
    return lbfgs.minimize(evaluate, start, evaluations, hessian or Scale())


def problem(seed, spread, shape=(3, 4, 5)):
    """A quadratic 0.5 (x - c)^T A (x - c); spread: of its minimum c around the middle of the box."""
    generator = np.random.default_rng(seed)
    size = int(np.prod(shape))
    directions = np.linalg.qr(generator.normal(size=(size, size)))[0]
    matrix = directions @ np.diag(np.geomspace(1, 30, size)) @ directions.T
    center = 0.5 + spread * generator.uniform(-1, 1, size)

    def function(x):
        return 0.5 * (x - center) @ matrix @ (x - center), matrix @ (x - center)

    return function, center


class Counted:
    """A function of NumPy vectors as the optimiser wants it, with all that it was asked."""

    def __init__(self, function, lowest=0.0):
        self.function, self.lowest, self.points, self.values = function, lowest, [], []

    def __call__(self, point):
        assert point.min() >= 0 and point.max() <= 1
        value, gradient = self.function(point.double().numpy().ravel())
        self.points.append(point.clone())
        self.values.append(float(value - self.lowest))
        return self.values[-1], torch.from_numpy(np.asarray(gradient)).view(point.shape).to(point)

    def value_of(self, point):
        return next(value for seen, value in zip(self.points, self.values, strict=True) if torch.equal(seen, point))


def scipy_minimum(function, start):
    options = {"ftol": 1e-15, "gtol": 1e-11, "maxiter": 5000}
    return scipy.optimize.minimize(
        function, start.numpy().ravel(), jac=True, method="L-BFGS-B", bounds=[(0, 1)] * start.numel(), options=options
    )


def start_of(shape, seed=0, dtype=torch.float64):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_minimum_inside_the_box(seed):
    function, center = problem(seed, 0.4)
    evaluate = Counted(function)
    found = minimize(evaluate, start_of((3, 4, 5)), 300)
    assert np.abs(found.numpy().ravel() - center).max() < 1e-5
    assert len(evaluate.values) < 150


def test_with_the_right_hessian_a_quadratic_takes_a_few_steps():
    """The first is kept short, the second goes all the way."""
    generator = np.random.default_rng(4)
    factor = generator.normal(size=(20, 20))
    matrix = factor @ np.diag(np.geomspace(1, 1e5, 20)) @ factor.T
    center = generator.uniform(0.3, 0.7, 20)
    evaluate = Counted(lambda x: (0.5 * (x - center) @ matrix @ (x - center), matrix @ (x - center)))
    found = minimize(evaluate, start_of((20,)) * 0.4 + 0.3, 6, Known(matrix))
    assert np.abs(found.numpy() - center).max() < 1e-6
    blind = Counted(evaluate.function)
    minimize(blind, start_of((20,)) * 0.4 + 0.3, 6)
    assert min(evaluate.values) < 1e-6 * min(blind.values)


def test_the_estimate_is_told_of_every_step():
    function, _ = problem(1, 0.4)
    told = []

    class Listening(Scale):
        def learn(self, change, turn):
            told.append((change, turn))
            super().learn(change, turn)

    evaluate = Counted(function)
    minimize(evaluate, start_of((3, 4, 5)), 12, Listening())
    differences = [b - a for a, b in zip(evaluate.points, evaluate.points[1:], strict=False)]
    assert len(told) >= 5
    for change, turn in told:
        assert any(torch.allclose(change, difference) for difference in differences)
        matrix_product = function(change.numpy().ravel())[1] - function(np.zeros(60))[1]
        assert np.allclose(turn.numpy().ravel(), matrix_product)


@pytest.mark.parametrize("spread", [0.7, 1.5, 10.0])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_minimum_at_active_bounds_equals_scipy(seed, spread):
    function, _ = problem(seed, spread)
    start = start_of((3, 4, 5))
    expected = scipy_minimum(function, start)
    at_bounds = (expected.x == 0) | (expected.x == 1)
    assert at_bounds.sum() >= 5 and not at_bounds.all()
    found = minimize(Counted(function, expected.fun), start, 600)
    assert np.abs(found.numpy().ravel() - expected.x).max() < 1e-3


def test_an_estimate_that_couples_values_does_not_push_on_those_held_at_bounds():
    """The whole step of a quadratic's right Hessian would lead uphill once cut off by the box (Bertsekas 1982)."""
    matrix = np.array([[1, 0.95], [0.95, 1]])
    center = np.array([-0.5, 0.9])

    def function(x):
        return 0.5 * (x - center) @ matrix @ (x - center), matrix @ (x - center)

    start = torch.tensor([0.0, 0.9], dtype=torch.float64)
    expected = scipy_minimum(function, start)
    found = minimize(Counted(function, expected.fun), start, 30, Known(matrix))
    assert np.abs(found.numpy() - expected.x).max() < 1e-4


def test_rosenbrock_in_the_box():
    def function(x):
        u = 4 * x - 2
        return scipy.optimize.rosen(u), 4 * scipy.optimize.rosen_der(u)

    evaluate = Counted(function)
    found = minimize(evaluate, torch.tensor([0.2, 0.8, 0.3, 0.6], dtype=torch.float64), 500)
    assert np.abs(found.numpy() - 0.75).max() < 1e-3


def test_gets_far_with_few_evaluations():
    """No worse than SciPy's with as many; a wrong estimate of the curvature would be slow."""
    function, _ = problem(5, 0.7, (10, 12))
    start = start_of((10, 12), 3)
    lowest = scipy_minimum(function, start).fun
    evaluate = Counted(function, lowest)
    minimize(evaluate, start, 40)
    assert min(evaluate.values) < 1e-3 * evaluate.values[0]


@pytest.mark.parametrize("evaluations", [1, 2, 3, 7, 20])
def test_never_more_evaluations_than_allowed(evaluations):
    function, _ = problem(1, 1.0)
    evaluate = Counted(function)
    found = minimize(evaluate, start_of((3, 4, 5)), evaluations)
    assert 1 <= len(evaluate.values) <= evaluations
    assert evaluate.value_of(found) <= evaluate.values[0]


def test_one_evaluation_returns_the_start():
    function, _ = problem(1, 1.0)
    start = start_of((3, 4, 5))
    assert torch.equal(minimize(Counted(function), start, 1), start)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("roughness", [1e-3, 0.1, 10.0])
@pytest.mark.parametrize("seed", range(3))
def test_never_worse_than_the_start_where_the_gradient_misleads(roughness, seed, dtype):
    smooth, _ = problem(seed, 0.8)

    def function(x):
        value, gradient = smooth(x)
        return value + roughness * np.sin(1e4 * x.sum()), gradient

    evaluate = Counted(function)
    found = minimize(evaluate, start_of((3, 4, 5), seed, dtype), 60)
    assert len(evaluate.values) <= 60
    assert evaluate.value_of(found) <= evaluate.values[0]


def test_a_gradient_of_the_wrong_sign_returns_the_start():
    smooth, _ = problem(0, 0.4)
    evaluate = Counted(lambda x: (smooth(x)[0], -smooth(x)[1]))
    start = start_of((3, 4, 5))
    assert torch.equal(minimize(evaluate, start, 50), start)
    assert len(evaluate.values) <= 50


def test_stops_when_the_progress_is_small():
    smooth, _ = problem(2, 0.4)
    evaluate = Counted(smooth, lowest=-10)
    found = minimize(evaluate, start_of((3, 4, 5)), 10000)
    assert len(evaluate.values) < 60
    assert evaluate.value_of(found) < 10.05


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_start_at_the_minimum_stays_there(dtype):
    function, center = problem(0, 0.3)
    start = torch.from_numpy(center).view(3, 4, 5).to(dtype)
    evaluate = Counted(function)
    found = minimize(evaluate, start, 50)
    assert (found - start).abs().max() < 1e-6


def test_no_gradient_returns_the_start():
    start = start_of((2, 3))
    evaluate = Counted(lambda x: (3.0, np.zeros(6)))
    assert torch.equal(minimize(evaluate, start, 50), start)
    assert len(evaluate.values) == 1


@pytest.mark.parametrize("undefined", [np.nan, np.inf, -np.nan])
def test_undefined_values_are_backed_away_from(undefined):
    """The values fall up to a wall behind which there are none."""

    def function(x):
        if x.max() > 0.6:
            return undefined, np.full_like(x, undefined)
        return -x.sum() + 10, -np.ones_like(x)

    evaluate = Counted(function)
    start = torch.full((3, 3), 0.59, dtype=torch.float64)
    found = minimize(evaluate, start, 40)
    assert not np.isfinite(evaluate.values).all()
    assert found.isfinite().all() and 0.595 < found.max() <= 0.6
    assert evaluate.value_of(found) < evaluate.values[0]


def test_an_undefined_start_is_returned():
    start = start_of((2, 3))
    assert torch.equal(minimize(Counted(lambda x: (np.nan, np.full_like(x, np.nan))), start, 20), start)


@pytest.mark.parametrize("scale", [1e-6, 1e6])
def test_the_scale_of_the_value_does_not_matter(scale):
    smooth, center = problem(3, 0.4)
    evaluate = Counted(lambda x: tuple(scale * part for part in smooth(x)))
    found = minimize(evaluate, start_of((3, 4, 5)), 300)
    assert np.abs(found.numpy().ravel() - center).max() < 1e-4


def test_bounds_that_push_outward_hold_the_start():
    """0 where the values rise inward, 1 where they rise inward from there."""
    start = torch.tensor([0.0, 1.0, 0.0, 1.0], dtype=torch.float64)
    evaluate = Counted(lambda x: (x @ [1, -1, 2, -3] + 5, np.array([1.0, -1, 2, -3])))
    assert torch.equal(minimize(evaluate, start, 30), start)
    assert len(evaluate.values) == 1


def test_values_leave_the_bounds_when_the_minimum_is_inside():
    function, center = problem(4, 0.4)
    start = (start_of((3, 4, 5)) > 0.5).double()
    found = minimize(Counted(function), start, 300)
    assert np.abs(found.numpy().ravel() - center).max() < 1e-4


def test_an_exception_passes_through_and_the_start_is_not_written_to():
    class CancelledError(BaseException):
        pass

    smooth, _ = problem(0, 0.4)
    start = start_of((3, 4, 5))
    before, calls = start.clone(), []

    def evaluate(point):
        calls.append(point)
        if len(calls) == 4:
            raise CancelledError
        return Counted(smooth)(point)

    with pytest.raises(CancelledError):
        minimize(evaluate, start, 100)
    assert len(calls) == 4 and torch.equal(start, before)


def test_stops_at_a_value_that_is_enough():
    function, _ = problem(1, 0.4)
    whole, some = Counted(function), Counted(function)
    minimize(whole, start_of((3, 4, 5)), 40)
    enough = (whole.values[0] + min(whole.values)) / 2
    found = lbfgs.minimize(some, start_of((3, 4, 5)), 40, Scale(), enough=enough)
    assert len(some.values) < len(whole.values)
    assert some.value_of(found) <= enough < min(some.values[:-1])
    at_once = Counted(function)
    assert torch.equal(lbfgs.minimize(at_once, found, 40, Scale(), enough=enough), found)
    assert len(at_once.values) == 1


def test_what_is_known_of_the_start_is_not_asked_again():
    function, _ = problem(1, 0.4)
    start = start_of((3, 4, 5))
    asked, spared = Counted(function), Counted(function)
    found = lbfgs.minimize(asked, start, 12, Scale())
    known = Counted(function)(start)
    assert torch.equal(lbfgs.minimize(spared, start, 12, Scale(), known=known), found)
    assert spared.values == asked.values[1:]
