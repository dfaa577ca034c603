import numpy as np
import pytest
import torch

from deepblend.blending_core.differences import forward_differences
from deepblend.blending_core.guidance import monochrome_differences, stronger_differences, without_surroundings
from deepblend.blending_core.poisson import PROGRESS_STEPS, solve_poisson
from deepblend.blending_core.screening import depth_rising_screening
from oracles import exact_poisson
from pictures import masks, smooth_picture, to_numpy, to_torch

MASKS = masks()
SOURCE, TARGET = smooth_picture(37, 53, 1), smooth_picture(37, 53, 2)
LUMA = np.array([0.2126, 0.7152, 0.0722])


def source_step(p, q):
    return SOURCE[p] - SOURCE[q]


def mixed_step(p, q):
    source, target = SOURCE[p] - SOURCE[q], TARGET[p] - TARGET[q]
    return target if np.linalg.norm(target) > np.linalg.norm(source) else source


def monochrome_step(p, q):
    return np.full(3, LUMA @ (SOURCE[p] - SOURCE[q]))


def solve(inside, guidance, dtype=torch.float32, **options):
    image = torch.where(to_torch(inside), to_torch(SOURCE, dtype), to_torch(TARGET, dtype))
    return to_numpy(solve_poisson(image, to_torch(inside), guidance, reference=to_torch(SOURCE, dtype), **options))


def guidance_field(name, dtype=torch.float32):
    source, target = to_torch(SOURCE, dtype), to_torch(TARGET, dtype)
    if name == "monochrome":
        return monochrome_differences(source)
    if name == "mixed":
        return stronger_differences(forward_differences(source), forward_differences(target))
    return forward_differences(source)


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize(
    ("guidance", "step"), [("source", source_step), ("mixed", mixed_step), ("monochrome", monochrome_step)]
)
def test_equals_sparse_direct_solver(mask, guidance, step):
    inside = MASKS[mask]
    expected = exact_poisson(TARGET, inside, step)
    assert np.abs(solve(inside, guidance_field(guidance)) - expected).max() < 1e-4


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("strength", [0.001, 0.05, 1.0, 100.0])
def test_uniform_screening_equals_sparse_direct_solver(mask, strength):
    inside = MASKS[mask]
    expected = exact_poisson(TARGET, inside, mixed_step, screening=strength, reference=SOURCE)
    assert np.abs(solve(inside, guidance_field("mixed"), screening=strength) - expected).max() < 1e-4


@pytest.mark.parametrize("mask", MASKS)
def test_varying_screening_and_conductance_equal_sparse_direct_solver(mask):
    inside = MASKS[mask]
    generator = np.random.default_rng(3)
    screening = generator.uniform(0, 0.2, inside.shape) * (generator.random(inside.shape) < 0.5)
    right = 0.003 ** generator.random((37, 52))
    down = 0.003 ** generator.random((36, 53))

    def weight(p, q):
        y, x = min(p, q)
        return right[y, x] if p[0] == q[0] else down[y, x]

    expected = exact_poisson(TARGET, inside, mixed_step, screening, SOURCE, weight)
    found = solve(
        inside,
        guidance_field("mixed"),
        screening=to_torch(screening),
        conductance=(to_torch(right), to_torch(down)),
    )
    assert np.abs(found - expected).max() < 1e-4


def test_depth_rising_screening_equals_sparse_direct_solver():
    inside = MASKS["ellipse"]
    screening = depth_rising_screening(to_torch(inside), 64.0)
    expected = exact_poisson(TARGET, inside, source_step, screening[0, 0].double().numpy(), SOURCE)
    assert np.abs(solve(inside, guidance_field("source"), screening=screening) - expected).max() < 1e-4


@pytest.mark.parametrize("mask", ["ellipse", "ring with a hole", "across the lower right corner"])
def test_object_cut_out_on_a_flat_colour_has_no_step_at_its_edge(mask):
    inside = MASKS[mask]

    def step(p, q):
        return np.zeros(3) if inside[p] != inside[q] else source_step(p, q)

    expected = exact_poisson(TARGET, inside, step)
    guidance = without_surroundings(guidance_field("source"), to_torch(inside))
    assert np.abs(solve(inside, guidance) - expected).max() < 1e-4


def test_float64_reaches_a_small_tolerance():
    inside = MASKS["ring with a hole"]
    expected = exact_poisson(TARGET, inside, source_step)
    found = solve(inside, guidance_field("source", torch.float64), torch.float64, tolerance=1e-12)
    assert np.abs(found - expected).max() < 1e-10


@pytest.mark.parametrize(("height", "width"), [(512, 512), (1023, 517)])
def test_large_region_recovers_a_known_solution(height, width):
    """The differences of a picture, with its own border, have that picture as their solution."""
    picture = smooth_picture(height, width, 4)
    inside = np.zeros((height, width), bool)
    inside[3:-5, 2:] = True
    inside[200:230, 100:300] = False
    known = to_torch(picture)
    start = torch.where(to_torch(inside), 1 - known, known)
    found = solve_poisson(start, to_torch(inside), forward_differences(known))
    assert (found - known).abs().max() < 1e-4


@pytest.mark.parametrize("distance", [1.0, 100.0])
@pytest.mark.parametrize(("height", "width"), [(1, 700), (2, 1349), (300, 300)])
def test_weakly_held_region_and_far_first_guess(distance, height, width):
    """One known pixel holds everything, so that rounding errors of the solver would add up."""
    picture = smooth_picture(height, width, 4)
    inside = np.ones((height, width), bool)
    inside[0, 0] = False
    known = to_torch(picture)
    guess = known + distance * torch.randn(known.shape, generator=torch.Generator().manual_seed(0))
    start = torch.where(to_torch(inside), guess, known)
    found = solve_poisson(start, to_torch(inside), forward_differences(known))
    assert (found - known).abs().max() < 1e-4 * max(distance, 1)


def test_stopping_early_warns():
    image, inside = to_torch(TARGET), to_torch(MASKS["ellipse"])
    with pytest.warns(RuntimeWarning, match="stopped with an error of about"):
        solve_poisson(image, inside, forward_differences(to_torch(SOURCE)), max_iterations=1)


def test_parted_pixels_do_not_influence_each_other():
    """With conductance 0 along a line each side is solved by itself."""
    inside = MASKS["inside"]
    right = np.ones((37, 52))
    right[:, 25] = 0

    def weight(p, q):
        return 0.0 if {p[1], q[1]} == {25, 26} else 1.0

    expected = exact_poisson(TARGET, inside, source_step, conductance=weight)
    conductance = to_torch(right), torch.ones(1, 1, 36, 53)
    assert np.abs(solve(inside, guidance_field("source"), conductance=conductance) - expected).max() < 1e-4


def test_one_pixel_picture():
    pixel = torch.full((1, 3, 1, 1), 0.25)
    pairs = forward_differences(pixel)
    inside = torch.ones(1, 1, 1, 1, dtype=torch.bool)
    assert torch.equal(solve_poisson(pixel, inside, pairs), pixel)
    held = solve_poisson(pixel, inside, pairs, screening=0.5, reference=pixel + 0.5)
    assert torch.allclose(held, pixel + 0.5)


def test_everything_inside_without_screening_returns_the_picture():
    picture = to_torch(SOURCE)
    inside = torch.ones_like(picture[:, :1], dtype=torch.bool)
    pairs = forward_differences(to_torch(TARGET))
    assert torch.equal(solve_poisson(picture, inside, pairs), picture)


def test_outside_is_untouched_bit_for_bit_and_inputs_are_not_written_to():
    inside = to_torch(MASKS["random"])
    image, guidance = to_torch(TARGET), forward_differences(to_torch(SOURCE))
    before = image.clone(), guidance[0].clone(), guidance[1].clone()
    result = solve_poisson(image, inside, guidance)
    assert torch.equal(result.where(~inside, image), image)
    assert all(torch.equal(a, b) for a, b in zip((image, *guidance), before, strict=True))


def test_a_sample_does_not_depend_on_its_batch():
    names = ["ellipse", "at the left edge", "single pixels"]
    inside = torch.cat([to_torch(MASKS[name]) for name in names])
    images = torch.cat([to_torch(smooth_picture(37, 53, seed)) for seed in (10, 11, 12)])
    sources = torch.cat([to_torch(smooth_picture(37, 53, seed)) for seed in (20, 21, 22)])
    together = solve_poisson(images, inside, forward_differences(sources))
    for index in range(3):
        one = slice(index, index + 1)
        alone = solve_poisson(images[one], inside[one], forward_differences(sources[one]))
        assert torch.equal(together[one], alone)


def test_runs_in_inference_mode_on_channels_last_pictures():
    inside = MASKS["ellipse"]
    with torch.inference_mode():
        image = torch.from_numpy(TARGET).float()[None].movedim(-1, 1)
        source = torch.from_numpy(SOURCE).float()[None].movedim(-1, 1)
        found = solve_poisson(image, to_torch(inside), forward_differences(source))
    expected = exact_poisson(TARGET, inside, source_step)
    assert np.abs(to_numpy(found) - expected).max() < 1e-4


def test_progress_rises_to_its_total_and_an_exception_stops_the_solver():
    image = torch.cat([to_torch(TARGET)] * 2)
    inside = torch.cat([to_torch(MASKS["ellipse"])] * 2)
    guidance = forward_differences(torch.cat([to_torch(SOURCE)] * 2))
    seen = []

    def record(step, total, loss_terms, picture):
        assert picture.shape == (1, 3, 37, 53)
        seen.append((step, total, loss_terms["error"]))

    solve_poisson(image, inside, guidance, on_step=record)
    assert [step for step, _, _ in seen] == sorted(step for step, _, _ in seen)
    assert seen[-1][:2] == (2 * PROGRESS_STEPS, 2 * PROGRESS_STEPS)

    class CancelledError(BaseException):
        pass

    def cancel(step, total, loss_terms, picture):
        seen.append(step)
        raise CancelledError

    seen.clear()
    with pytest.raises(CancelledError):
        solve_poisson(image, inside, guidance, on_step=cancel)
    assert len(seen) == 1
