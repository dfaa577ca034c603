"""Gaussian-Poisson blending: the object's detail, in the colours of a guide.

Wu et al. 2019, "GP-GAN: Towards Realistic High-Resolution Image Blending", where the guide is a generator's picture of 64 pixels;
here it can be any picture. The equation is solved from coarse to fine, and what is found on one level guides the next: the
guide decides the colours of large areas, the object's Laplacian all that is finer.
"""

import math
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from .differences import adjoint_differences, forward_differences, laplacian, pairwise
from .guidance import is_cut_out, without_surroundings
from .laplacian_spectrum import laplacian_eigenvectors
from .poisson import PROGRESS_STEPS, OnStep, logarithmic_progress
from .pyramid import fill

# On the coarsest level the square root of the object's area is at most so many pixels. In the paper it is about as many, for
# objects that take a quarter of the picture.
COARSEST_SIDE = 32
# Weight of either neighbour in a Gaussian with a standard deviation of half a pixel, cut off at three pixels.
NEIGHBOUR = math.exp(-2) / (1 + 2 * math.exp(-2))
TOLERANCE = 3e-5  # largest error, in pixel values, about
MOST_ITERATIONS = 1000  # a color_weight of 0.1 takes about 120
REPORT_EVERY = 4  # iterations


def gaussian_poisson_blend(
    object: Tensor,
    inside: Tensor,
    target: Tensor,
    guide: Tensor | None = None,
    *,
    color_weight: float = 1.0,
    on_step: OnStep | None = None,
) -> Tensor:
    """Colours inside that have the object's Laplacian and, blurred, the guide's colours, and meet the target around them.

    On every level of a pyramid x minimises the discrete Gaussian-Poisson equation, with x = target outside:

        sum over the frame of (Laplacian x - div v)^2 + color_weight * sum over Omega of (G x - g)^2.

    v are the object's differences on all pairs that touch Omega = {inside}, and the target's elsewhere; G is a Gaussian; g is the
    guide on the coarsest level, then the enlarged solution of the level before. At the frame all is continued by
    reflection.

    Args:
        object: `[1, 3, H, W]`, with its surroundings; those of a cut-out on one flat colour are left aside.
        inside: bool `[1, 1, H, W]`; `margin` says how many pixels must lie around what is inside, as far as the picture
            goes.
        target: `[1, 3 or 4, H, W]`; hidden colours of transparent pixels have no part in it.
        guide: `[1, 3, H, W]`; the object pasted on the target when absent.
        color_weight: above 0; the work grows with the inverse square root of it. 1 in the paper's experiments.
        on_step: called every few iterations, as `solve_poisson` does, with `{"error": estimate}`.

    Returns:
        `[1, 3, H, W]` in 0..1; the target's colours outside.
    """
    color, alpha = target[:, :3], target[:, 3:]
    leave_surroundings = bool(is_cut_out(object, inside))
    if alpha.shape[1]:
        # Where nothing is to be seen of the target the object goes on, a cut-out with its own colours.
        continued = fill(object, inside.to(object)) if leave_surroundings else object
        color = torch.where(inside, color, torch.lerp(continued, color, alpha))
    picture = torch.where(inside, object, color) if guide is None else guide
    levels = [(object, inside, color)]
    for _ in range(_halvings(inside)):
        levels.append(_halved(*levels[-1]))
        picture = _half(picture)
    sizes = [level[1].numel() for level in levels]

    def report(before: int, size: int, error: float, share: float, solution: Tensor) -> None:
        """A share of a level's `size` pixels is done, `before` pixels of coarser levels are."""
        if on_step is not None:
            preview = F.interpolate(solution, object.shape[-2:], mode="nearest").clamp(0, 1)
            step = round(PROGRESS_STEPS * (before + share * size) / sum(sizes))
            on_step(step, PROGRESS_STEPS, {"error": error}, torch.where(inside, preview, target[:, :3]))

    for depth in reversed(range(len(levels))):
        object_, inside_, color_ = levels[depth]
        height, width = inside_.shape[-2:]
        if depth + 1 < len(levels):
            picture = F.interpolate(picture, scale_factor=2, mode="bilinear")[..., :height, :width]
        wanted = _wanted_laplacian(object_, inside_, color_, leave_surroundings)
        tell = partial(report, sum(sizes[depth + 1 :]), sizes[depth])
        solve = _solve_frame if inside_.all() else _solve_region
        picture = solve(picture, inside_, wanted, color_, color_weight, tell).clamp(0, 1)
    return torch.where(inside, picture, target[:, :3])


def margin(inside: Tensor) -> int:
    """Pixels around what is inside that `gaussian_poisson_blend` takes into account: two of the coarsest level."""
    return 2 ** (_halvings(inside) + 1)


def _halvings(inside: Tensor) -> int:
    side = math.sqrt(int(inside.sum()))
    return max(math.ceil(math.log2(side / COARSEST_SIDE)), 0) if side else 0


def _half(image: Tensor) -> Tensor:
    """Means of 2 x 2 pixels; at the end of odd rows and columns, of those that there are."""
    return F.avg_pool2d(image, 2, ceil_mode=True, count_include_pad=False)


def _halved(object: Tensor, inside: Tensor, color: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The next level. What holds a part of the object is inside, with the colour of that part alone."""
    weight = inside.to(object)
    share = _half(weight)
    of_object = _half(object * weight) / share.clamp_min(torch.finfo(share.dtype).tiny)
    return torch.where(share > 0, of_object, _half(object)), share > 0, _half(color)


def _wanted_laplacian(object: Tensor, inside: Tensor, color: Tensor, leave_surroundings: bool) -> Tensor:
    """div v."""
    own = forward_differences(object)
    if leave_surroundings:
        own = without_surroundings(own, inside)
    touching = pairwise(torch.logical_or, inside)
    pairs = zip(touching, own, forward_differences(color), strict=True)
    return adjoint_differences(tuple(torch.where(touch, a, b) for touch, a, b in pairs))


def _blurred(image: Tensor) -> Tensor:
    """G, which is (1 - NEIGHBOUR * Laplacian of a row) times the same of a column."""
    return _blur(image.clone(), torch.empty_like(image))


def _blur(image: Tensor, scratch: Tensor) -> Tensor:
    """`_blurred`, in place."""
    for axis in (2, 3):
        _add_differences(image, image, axis, NEIGHBOUR, scratch)
    return image


def _add_differences(result: Tensor, image: Tensor, axis: int, factor: float, scratch: Tensor) -> None:
    """Add to the result, times the factor, how much the neighbours along an axis differ from each pixel of the image."""
    last = image.shape[axis] - 1
    step = torch.sub(image.narrow(axis, 1, last), image.narrow(axis, 0, last), out=scratch.narrow(axis, 0, last))
    result.narrow(axis, 0, last).add_(step, alpha=factor)
    result.narrow(axis, 1, last).sub_(step, alpha=factor)


def _solve_frame(guide: Tensor, inside, wanted: Tensor, color, color_weight: float, report) -> Tensor:
    """Closed form where nothing lies outside: the Laplacian and the Gaussian have the same eigenvectors."""
    (rows, vertical), (columns, horizontal) = (
        (part.to(guide) for part in laplacian_eigenvectors(slice(0, length), length, guide.device))
        for length in guide.shape[-2:]
    )
    rows = rows[:, None]
    gaussian = (1 - NEIGHBOUR * rows) * (1 - NEIGHBOUR * columns)
    spectrum = vertical.T @ (laplacian(wanted) + color_weight * _blurred(guide)) @ horizontal
    spectrum = spectrum / ((rows + columns).square() + color_weight * gaussian.square())
    solution = vertical @ spectrum @ horizontal.T
    report(0.0, 1.0, solution)
    return solution


def _solve_region(guide: Tensor, inside: Tensor, wanted: Tensor, color: Tensor, color_weight: float, report) -> Tensor:
    """Conjugate gradients on the normal equations, whose condition is about 64 / color_weight at any size."""
    free = inside.to(color)
    # Large tensors that are made anew in every step cost more than what is computed in them.
    scratch, part, product = (torch.empty_like(color) for _ in range(3))

    def laplacian_into(result, image):
        result.zero_()
        for axis in (2, 3):
            _add_differences(result, image, axis, -1.0, scratch)

    def normal_product(change):
        """In a tensor that the next call writes over."""
        laplacian_into(part, change)
        laplacian_into(product, part)
        _blur(_blur(part.copy_(change), scratch).mul_(free), scratch)
        return product.add_(part, alpha=color_weight).mul_(free)

    picture = torch.where(inside, guide, color)
    missing = laplacian(wanted - laplacian(picture))
    residual = free * (missing + color_weight * _blurred(free * (guide - _blurred(picture))))
    direction, square = residual.clone(), _dot(residual, residual)
    first = None
    for iteration in range(MOST_ITERATIONS):
        # A smooth error, of which the Laplacian sees nothing, leaves color_weight times as large a residual.
        error = float(residual.abs().amax()) / color_weight
        first = first or error
        if iteration % REPORT_EVERY == 0 or error <= TOLERANCE:
            report(error, logarithmic_progress(first, error, TOLERANCE), picture)
        if error <= TOLERANCE:
            break
        image = normal_product(direction)
        # Where a channel is solved exactly both are 0.
        length = square / _dot(direction, image).clamp_min(torch.finfo(square.dtype).tiny)
        picture.addcmul_(length, direction)
        residual.addcmul_(length, image, value=-1)
        before, square = square, _dot(residual, residual)
        direction.mul_(square / before.clamp_min(torch.finfo(square.dtype).tiny)).add_(residual)
    return picture


def _dot(a: Tensor, b: Tensor) -> Tensor:
    """Inner product per channel: channels are independent systems with one operator."""
    return (a * b).sum((-2, -1), keepdim=True)
