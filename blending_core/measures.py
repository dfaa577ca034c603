"""How far a picture is from a reference, and how plainly the mask's edge shows in it.

Pictures are `[B, C, H, W]` in 0..1, and every measure is one number per sample.
"""

import math

import torch
from torch import Tensor

from .differences import forward_differences, pairwise
from .saturation import saturation
from .scene_measures import signed_distance

# Structural similarity as its authors compute it: Gaussian window of 11 x 11 pixels, constants K1 and K2 squared.
WINDOW_SIGMA, WINDOW_RADIUS = 1.5, 5
MEAN_CONSTANT, VARIANCE_CONSTANT = 0.01**2, 0.03**2

PROFILE_REACH = 16  # pixels to either side of the mask's edge
RING_LEVEL = -2  # where outside the mask the steps are found that a step across its edge is compared with


def mse(image: Tensor, reference: Tensor, weight: Tensor | None = None) -> Tensor:
    """Mean squared error on the scale 0..255, as in Table 2 of Xue et al. 2023: `[B]`, 0 for equal pictures.

    weight: `[B, 1, H, W]`, how much each pixel counts; NaN where none does.
    """
    return _mean((255 * (image - reference)).square(), weight)


def psnr(image: Tensor, reference: Tensor, weight: Tensor | None = None) -> Tensor:
    """Peak signal-to-noise ratio in dB: `[B]`, infinite for equal pictures. weight as for `mse`."""
    return 10 * torch.log10(255**2 / mse(image, reference, weight))


def ssim(image: Tensor, reference: Tensor, weight: Tensor | None = None) -> Tensor:
    """Structural similarity (Wang, Bovik, Sheikh and Simoncelli 2004), mean over pixels and channels: `[B]`, 1 at most.

    The mean leaves out the pixels whose window reaches out of the frame. Where no others count, as in a picture smaller
    than the window, they count too: the picture is mirrored there. weight as for `mse`.
    """
    channels = zip(image.split(1, 1), reference.split(1, 1), strict=True)
    values = sum(_ssim_map(*pair) for pair in channels) / image.shape[1]
    if weight is None:
        weight = torch.ones_like(values)
    whole_window = torch.zeros_like(weight)
    within = slice(WINDOW_RADIUS, -WINDOW_RADIUS)
    whole_window[..., within, within] = weight[..., within, within]
    counts = whole_window.sum((1, 2, 3), keepdim=True) > 0
    return _mean(values, torch.where(counts, whole_window, weight))


def edge_distance(mask: Tensor) -> Tensor:
    """Distance to the mask's edge in pixels, positive inside: half a pixel at the pixels along it.

    The edge of a soft mask is where it passes one half, or 0 if it stays below that. mask: `[B, 1, H, W]` in 0..1.
    """
    reaches_half = (mask >= 0.5).any(-1, keepdim=True).any(-2, keepdim=True)
    return signed_distance(torch.where(reaches_half, mask >= 0.5, mask > 0))


def seam_gradient(image: Tensor, distance: Tensor) -> Tensor:
    """How much more the picture jumps across the mask's edge than a little further out: `[B]`, -1..1, 0 without a seam.

    Mean absolute difference, over the channels too, of all pairs of neighbours with the edge between them, less the same
    for the pairs with the line 2 pixels outside of it between them. NaN where there are no such pairs: the mask is empty,
    full or leaves no room for the second line.

    distance: `edge_distance` of the mask.
    """
    steps = _steps_by_distance(image, distance)
    return steps[:, PROFILE_REACH] - steps[:, PROFILE_REACH + RING_LEVEL]


def seam_saturation(image: Tensor, distance: Tensor) -> Tensor:
    """`seam_gradient` of the saturation, which jumps at the edge of a blend whose colours hide it in R, G and B
    (Xue et al. 2023, section 3.3)."""
    return seam_gradient(saturation(image), distance)


def saturation_profile(image: Tensor, distance: Tensor) -> tuple[Tensor, Tensor]:
    """Saturation as a function of the distance to the mask's edge, in the manner of Fig. 6 of Xue et al. 2023.

    Returns its mean at -15.5, -14.5 ... 15.5 pixels, each over the pixels up to half a pixel from there, `[B, 32]`; and
    its mean absolute step at -16, -15 ... 16 pixels, over the pairs of neighbours with that line between them, `[B, 33]`.
    NaN where the picture has no such pixels. distance: `edge_distance` of the mask.
    """
    values = saturation(image)
    near = distance.abs() < PROFILE_REACH
    bins = distance.floor() + PROFILE_REACH
    means = [
        _means_by_bin(sample[chosen], sample_bins[chosen], 2 * PROFILE_REACH)
        for sample, sample_bins, chosen in zip(values, bins, near, strict=True)
    ]
    return torch.stack(means).to(image), _steps_by_distance(values, distance)


def _steps_by_distance(image: Tensor, distance: Tensor) -> Tensor:
    """Mean absolute difference of the pairs with the line at -16, -15 ... 16 pixels between them: `[B, 33]`."""
    whole = distance.floor().to(torch.int8)  # a distance is at most 24
    lines, crossed, steps = [], [], []
    # Two neighbours have at most one of these lines between them: their distances differ by no more than a pixel, and the
    # pixels along the edge have half a pixel on either side.
    for line, other, step in zip(
        pairwise(torch.maximum, whole), pairwise(torch.minimum, whole), forward_differences(image), strict=True
    ):
        lines.append(line.flatten(1) + PROFILE_REACH)
        crossed.append(((line != other) & (line.abs() <= PROFILE_REACH)).flatten(1))
        steps.append(step.abs().mean(1).flatten(1))
    means = [
        _means_by_bin(step[chosen], line[chosen], 2 * PROFILE_REACH + 1)
        for step, line, chosen in zip(torch.cat(steps, 1), torch.cat(lines, 1), torch.cat(crossed, 1), strict=True)
    ]
    return torch.stack(means).to(image)


def _means_by_bin(values: Tensor, bins: Tensor, count: int) -> Tensor:
    """Mean of the values of each bin, NaN for an empty one, in float64 on the CPU, where sums do not depend on timing."""
    bins = bins.cpu().long()
    sums = torch.bincount(bins, values.cpu().double(), minlength=count)
    return sums / torch.bincount(bins, minlength=count)


def _mean(values: Tensor, weight: Tensor | None) -> Tensor:
    if weight is None:
        return values.mean((1, 2, 3))
    return (values.mean(1, keepdim=True) * weight).sum((1, 2, 3)) / weight.sum((1, 2, 3))


def _ssim_map(image: Tensor, reference: Tensor) -> Tensor:
    """Structural similarity at each pixel of one channel."""
    # Variances do not change with a shift, and around 0 the squares lose fewer digits.
    x, y = image - 0.5, reference - 0.5
    mean_x, mean_y = _window_mean(x), _window_mean(y)
    variances = (_window_mean(x * x) - mean_x**2) + (_window_mean(y * y) - mean_y**2)
    covariance = _window_mean(x * y) - mean_x * mean_y
    mean_x, mean_y = mean_x + 0.5, mean_y + 0.5
    return ((2 * mean_x * mean_y + MEAN_CONSTANT) * (2 * covariance + VARIANCE_CONSTANT)) / (
        (mean_x**2 + mean_y**2 + MEAN_CONSTANT) * (variances + VARIANCE_CONSTANT)
    )


def _window_mean(image: Tensor) -> Tensor:
    """Mean under the Gaussian window around each pixel; beyond the frame the picture is mirrored."""
    offsets = range(-WINDOW_RADIUS, WINDOW_RADIUS + 1)
    weights = [math.exp(-0.5 * (offset / WINDOW_SIGMA) ** 2) for offset in offsets]
    for axis in (2, 3):
        # Shifted sums and no convolution, which some devices compute in reduced precision.
        length = image.shape[axis]
        position = torch.arange(-WINDOW_RADIUS, length + WINDOW_RADIUS, device=image.device) % (2 * length)
        padded = image.index_select(axis, torch.minimum(position, 2 * length - 1 - position))
        image = sum(
            padded.narrow(axis, start, length) * (weight / sum(weights)) for start, weight in enumerate(weights)
        )
    return image
