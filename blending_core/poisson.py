"""The Poisson equation on a masked region of a picture."""

import math
import warnings
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from .differences import Pairs, adjoint_differences, forward_differences, pairwise, sum_over_pairs
from .multigrid import GridLaplacian, Multigrid
from .region import spanned_region

# on_step(step, total, loss_terms, image): called at every iteration; may raise to stop the work.
OnStep = Callable[[int, int, dict[str, float], Tensor], None]

PROGRESS_STEPS = 100
MOST_RESTARTS = 4
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
    Multigrid-preconditioned conjugate gradients, each sample by itself on the box of its region, so that a sample's
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
        max_iterations: the solver also stops after this many iterations (about 10 are usual; conductances that vary
            over orders of magnitude need more).
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

    operator = GridLaplacian(within, excess)
    preconditioner = Multigrid(operator)

    def residual_of(x):
        differences = forward_differences(x)
        mismatch = tuple(g * (v - d) for g, v, d in zip(conductance, guidance, differences, strict=True))
        return indicator * (adjoint_differences(mismatch) + screening * (reference - x))

    residual, is_exact, restarts = residual_of(x), True, 0
    direction, previous, first_error = None, None, None
    for iteration in range(max_iterations + 1):
        correction = preconditioner(residual)
        # The preconditioner is close to the inverse, so its answer is close to the error that is left.
        error = correction.abs().max().item()
        first_error = first_error or error
        if report:
            report(_logarithmic_progress(first_error, error, tolerance), error, x)
        if iteration == max_iterations or (error <= tolerance and (is_exact or restarts == MOST_RESTARTS)):
            break
        if error <= tolerance:
            # The residual is carried along from step to step and gathers rounding errors: begin again from the exact one.
            residual, is_exact, restarts = residual_of(x), True, restarts + 1
            direction = None
            continue
        product = _dot(residual, correction)
        direction = correction if direction is None else correction + _ratio(product, previous) * direction
        previous = product
        image_of_direction = operator(direction)
        step = _ratio(product, _dot(direction, image_of_direction))
        x = torch.addcmul(x, step, direction)
        residual, is_exact = torch.addcmul(residual, step, image_of_direction, value=-1), False
    if error > VISIBLE_ERROR:
        warnings.warn(f"the Poisson solver stopped with an error of about {error:.1e}", RuntimeWarning, stacklevel=3)
    return x


def _dot(a: Tensor, b: Tensor) -> Tensor:
    """Inner product per channel: channels are independent systems with one operator."""
    return (a * b).sum((-1, -2), keepdim=True)


def _ratio(a: Tensor, b: Tensor) -> Tensor:
    """a / b, and 0 where b is 0: a channel that is solved exactly stays as it is."""
    return torch.where(b > 0, a / b.clamp_min(torch.finfo(b.dtype).tiny), torch.zeros_like(a))


def _logarithmic_progress(first: float, now: float, goal: float) -> float:
    """Share of the way from the first error to the goal, 0..1, on the scale on which the error falls evenly."""
    if now <= goal:
        return 1.0
    return min(max(math.log(first / now) / math.log(first / goal), 0.0), 1.0)
