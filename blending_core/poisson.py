"""The Poisson equation on a masked region of a picture."""

import math
import warnings
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from .conjugate_gradients import ConjugateGradients
from .differences import Pairs, adjoint_differences, forward_differences, pairwise, sum_over_pairs
from .multigrid import GridLaplacian
from .region import spanned_region

# on_step(step, total, loss_terms, image): called at every iteration; may raise to stop the work.
OnStep = Callable[[int, int, dict[str, float], Tensor], None]

PROGRESS_STEPS = 100
MOST_RESTARTS = 4
ROWS = 16  # of a picture, worked on together
VISIBLE_ERROR = 0.5 / 255


def solve_poisson(
    image: Tensor,
    inside: Tensor,
    guidance: Pairs,
    *,
    screening: Tensor | float = 0.0,
    reference: Tensor | None = None,
    conductance: Pairs | None = None,
    tolerance: float = 1e-5,
    max_iterations: int = 200,
    on_step: OnStep | None = None,
) -> Tensor:
    """Pixels inside whose differences follow the guidance and which meet the pixels outside.

    Solves, for every p in Omega = {inside} (Pérez et al. 2003, eq. 7, with weights),

        sum over q in N_p of g_pq (f_p - f_q - v_pq) + lambda_p (f_p - r_p) = 0,    f = image outside,

    where N_p are the 4-neighbours within the frame: at the frame the boundary is natural, elsewhere it is Dirichlet.
    Conjugate gradients preconditioned by multigrid, each sample by itself on the box of its region, so that a sample's
    result does not depend on its batch.

    Args:
        image: `[B, C, H, W]`, float32 or float64: the known values outside, the first guess inside.
        inside: bool `[B, 1, H, W]`.
        guidance: v, differences between neighbours (see `differences`), `[B, C, ...]`.
        screening: lambda >= 0, a number or `[B, 1, H, W]`; holds the solution to `reference`.
        reference: r, `[B, C, H, W]`; the first guess when absent.
        conductance: g >= 0, `[B, 1, ...]`; 1 when absent. A small value lets the solution step there, 0 parts the pixels.
        tolerance: the solver stops when its estimate of the largest error, in pixel values, falls to this. The estimate is
            good to a factor of about 2 with even conductances.
        max_iterations: the solver also stops after this many iterations. About 5 are usual at any size and for any shape;
            conductances between pixels inside that vary over two or more orders of magnitude need more.
        on_step: called at every iteration with the progress in steps, the total of steps, `{"error": estimate}` and
            the solution so far, `[1, C, H, W]`.

    Returns:
        `[B, C, H, W]`, equal to `image` bit for bit outside. A sample without pixels inside is returned as it is, and so
        is one that nothing determines: every pixel inside and no screening.

    Warns:
        RuntimeWarning: if an error of more than half an 8-bit level may be left.
    """
    reference = image if reference is None else reference
    screening = torch.as_tensor(screening, dtype=image.dtype, device=image.device).expand(inside.shape)
    result = image.clone()
    for sample in range(len(image)):
        one = slice(sample, sample + 1)
        # The equations of the region read one pixel around it.
        region = spanned_region(inside[sample, 0], margin=1)
        if region is None:
            continue
        rows, columns = region
        pixels = (one, slice(None), rows, columns)
        right = (one, slice(None), rows, slice(columns.start, columns.stop - 1))
        down = (one, slice(None), slice(rows.start, rows.stop - 1), columns)

        result[pixels] = _solve_sample(
            image[pixels],
            inside[pixels],
            (guidance[0][right], guidance[1][down]),
            screening[pixels],
            reference[pixels],
            None if conductance is None else (conductance[0][right], conductance[1][down]),
            tolerance,
            max_iterations,
            None if on_step is None else partial(_report, on_step, result, sample, region),
        )
    return result


def _report(on_step, result, sample, region, share, error, solution):
    """Tell `on_step` what share of a sample is done."""
    preview = result[sample : sample + 1].clone()
    preview[..., region[0], region[1]] = solution
    step = round(PROGRESS_STEPS * (sample + share))
    on_step(step, PROGRESS_STEPS * len(result), {"error": error}, preview)


def _solve_sample(x, inside, guidance, screening, reference, conductance, tolerance, max_iterations, report):
    """`solve_poisson` for one sample cut to its region; x is the first guess and holds the known values."""
    indicator = inside.to(x.dtype)
    touching = pairwise(torch.maximum, indicator)
    conductance = touching if conductance is None else tuple(g * t for g, t in zip(conductance, touching, strict=True))
    within = tuple(g * b for g, b in zip(conductance, pairwise(torch.mul, indicator), strict=True))
    across = tuple(g - w for g, w in zip(conductance, within, strict=True))
    excess = indicator * (screening + sum_over_pairs(across))
    if not (excess > 0).any():
        return x

    def residual_of(x):
        """Rows at a time, so that what is in between stays in the processor's cache."""
        residual = torch.empty_like(x)
        height = x.shape[-2]
        for start in range(0, height, ROWS):
            rows = slice(max(start - 1, 0), min(start + ROWS + 1, height))
            pairs = slice(rows.start, rows.stop - 1)
            differences = forward_differences(x[..., rows, :])
            mismatch = tuple(
                g[..., which, :] * (v[..., which, :] - d)
                for g, v, d, which in zip(conductance, guidance, differences, (rows, pairs), strict=True)
            )
            pull = screening[..., rows, :] * (reference[..., rows, :] - x[..., rows, :])
            part = indicator[..., rows, :] * (adjoint_differences(mismatch) + pull)
            kept = min(ROWS, height - start)
            residual[..., start : start + kept, :] = part[..., start - rows.start : start - rows.start + kept, :]
        return residual[0]

    x = x.clone(memory_format=torch.contiguous_format)
    operator = GridLaplacian(tuple(g[0] for g in within), excess[0])
    solver = ConjugateGradients(operator, residual_of(x))
    first_error, previous_error, is_exact, restarts = None, None, True, 0
    for iteration in range(max_iterations + 1):
        error = solver.estimate()
        first_error = first_error or error
        if report:
            report(logarithmic_progress(first_error, error, tolerance), error, x + solver.solution())
        if iteration == max_iterations or (error <= tolerance and (is_exact or restarts == MOST_RESTARTS)):
            break
        solver.step()
        is_exact = False
        # What this step leaves: as much less as the last one left.
        expected = error * min(error / previous_error, 1) if previous_error else error
        previous_error = error
        if expected <= tolerance:
            # The residual is carried along from step to step and gathers rounding errors: begin again from the exact one.
            x += solver.solution()
            solver.begin(residual_of(x))
            is_exact, restarts = True, restarts + 1
    x += solver.solution()
    if error > VISIBLE_ERROR:
        warnings.warn(f"the Poisson solver stopped with an error of about {error:.1e}", RuntimeWarning, stacklevel=3)
    return x


def logarithmic_progress(first: float, now: float, goal: float) -> float:
    """Share of the way from the first error to the goal, 0..1, on the scale on which the error falls evenly."""
    if now <= goal:
        return 1.0
    return min(max(math.log(first / now) / math.log(first / goal), 0.0), 1.0)
