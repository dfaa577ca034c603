"""How much of the object is in the pixels along its outline, and what colour the object has there."""

import torch
import torch.nn.functional as F
from torch import Tensor

from .blur import masked_mean
from .distance import distance_to_outside
from .guided_filter import guided_filter

# Lengths are shares of the object's diameter (square root of its area), and at least so many pixels.
BAND = 0.05, 4.0  # from the mask's edge inward: here pixels may turn out to be background
GROUND_START, GROUND_END = (0.02, 2.0), (0.12, 10.0)  # outside: known background
OBJECT_START, OBJECT_END = (0.035, 3.0), (0.14, 11.0)  # inside: known object
FARTHEST = 0.35, 12.0  # no soft edge is followed farther inside
EDGE_WIDTH = 0.02, 2.0  # over which the object may fade
COLOR_SIGMA = 0.03, 2.0
FILTER_RADIUS = 0.06, 4.0
FOREGROUND_SIGMAS = (0.045, 1.0), (0.012, 0.5)
LARGEST_DIAMETER = 256  # of the object in the reduced picture on which its outline is found

MOSTLY_BACKGROUND = 0.3
FILTER_EPSILON, FILTER_TRACE = 1e-5, 0.05  # the filter leaves traces of this size where there is all or nothing
# Object and background are told apart by their squared contrast, as a share of itself plus their variances.
SEPARATION_NONE, SEPARATION_FULL = 0.2, 0.6
NOISE = (6 / 255) ** 2  # variance that every picture may have
UNEXPLAINED = 16.0  # variances that a mixed pixel may lie off the line between the two colours
LEAST_WEIGHT = 1e-4  # blurred weight on which a mean colour can rest
# A soft mask is a matte if its partial values are, on average, within MATTE_ERROR of what the picture shows.
PARTIAL, LEAST_PARTIAL, MATTE_ERROR = (0.1, 0.9), 16, 0.18
PURE = 0.98  # mattes seldom reach 1 everywhere in the object


def extract_object(image: Tensor, mask: Tensor, real: Tensor) -> tuple[Tensor, Tensor]:
    """Colour and alpha of the object alone, for a mask that follows its outline.

    A matte, whose partial values tell how much of the object is in a pixel, is kept. Of any other mask the outline is
    corrected: background that it holds becomes 0 and mixed pixels get their share.

    Args:
        image: the source, `[1, 3, H, W]` in 0..1.
        mask: `[1, 1, H, W]` in 0..1, not empty.
        real: bool `[1, 1, H, W]`, where the source shows something; see `real_surroundings`.

    Returns:
        `[1, 3, H, W]` with the background taken out of mixed pixels, meant for pixels in and next to the object, and
        `[1, 1, H, W]`, nowhere larger than the mask.
    """
    diameter = float((mask > 0).sum()) ** 0.5
    share = _share(image, mask, real, diameter)
    color = foreground_color(image, share, tuple(length(sigma, diameter) for sigma in FOREGROUND_SIGMAS))
    return color, torch.minimum(share, mask)


def length(share_and_least: tuple[float, float], diameter: float) -> float:
    share, least = share_and_least
    return max(share * diameter, least)


def _share(image: Tensor, mask: Tensor, real: Tensor, diameter: float) -> Tensor:
    """Share of the object in every pixel, 0 outside the mask; found on a reduced picture if the object is large."""
    factor = max(1, -(-int(diameter) // LARGEST_DIAMETER))
    height, width = mask.shape[-2:]
    channels = torch.cat([image, mask, real.to(image.dtype)], 1)
    if factor > 1:
        channels = F.pad(channels, (0, -width % factor, 0, -height % factor), mode="replicate")
        channels = F.avg_pool2d(channels, factor)
    small, small_mask, small_real = channels[:, :3], channels[:, 3:4], channels[:, 4:] > 0.99
    diameter = diameter / factor
    partial = (mask >= PARTIAL[0]) & (mask <= PARTIAL[1])
    if partial.sum() >= LEAST_PARTIAL and _is_matte(small, small_mask, small_real, diameter):
        return mask

    inside = (mask > 0).to(image.dtype)
    found = _outline(small, small_mask, small_real, diameter)
    if found is None:
        return inside
    share, confidence, least = found
    a, b = guided_filter(small, share, round(length(FILTER_RADIUS, diameter)), FILTER_EPSILON)
    fields = torch.cat([a, b, confidence, least], 1)
    if factor > 1:
        fields = F.interpolate(fields, scale_factor=factor, mode="bilinear")[..., :height, :width]
    a, b, confidence, least = fields.split([3, 1, 1, 1], 1)
    share = (a * image).sum(1, keepdim=True) + b
    share = ((share - FILTER_TRACE) / (1 - 2 * FILTER_TRACE)).clamp(0, 1)
    # Where object and background cannot be told apart the filter would only blur the mask.
    share = torch.lerp(inside, share, confidence)
    return torch.maximum(share, least) * inside


def _is_matte(image: Tensor, mask: Tensor, real: Tensor, diameter: float) -> bool:
    partial = (mask >= PARTIAL[0]) & (mask <= PARTIAL[1])
    core, ground = mask > PURE, (mask == 0) & real
    if not partial.any() or not core.any() or not ground.any():
        return False
    share, confidence = _mixture(image, core, ground, partial, length(COLOR_SIGMA, diameter))
    error, weight = (share - mask).abs()[partial], confidence[partial]
    return float((error * weight).sum()) < MATTE_ERROR * float(weight.sum())


def _outline(image: Tensor, mask: Tensor, real: Tensor, diameter: float) -> tuple[Tensor, Tensor, Tensor] | None:
    """Unfiltered share of the object, 0 outside; how far it can be trusted; its least value, for its place.

    Pixels near the mask's edge are placed on the line from the local mean colour of the background to that of the object (the
    compositing equation I = alpha F + (1 - alpha) B, projected). Only what is connected to the outside can be background.
    None if no object or no background is known.
    """
    inside, firm = mask > 0, mask >= 0.9 * mask.max()
    farthest = int(length(FARTHEST, diameter))
    depth, outer = distance_to_outside(inside, farthest), distance_to_outside(~inside, farthest)
    # The soft edge of a blurred mask holds background as far as the middle of it, or farther.
    softness = float(depth[inside & ~firm].max()) if (inside & ~firm).any() else 0.0
    core = (depth > length(OBJECT_START, diameter)) & (depth < length(OBJECT_END, diameter) + softness) & firm
    ground = (outer > length(GROUND_START, diameter)) & (outer < length(GROUND_END, diameter)) & real
    if not core.any() or not ground.any():
        return None
    band = max(length(BAND, diameter), 1.3 * softness)
    share, confidence = _mixture(image, core, ground, inside & (depth < band), length(COLOR_SIGMA, diameter))
    deep = ((depth - 0.6 * band) / (0.4 * band)).clamp(0, 1)
    background = confidence * (1 - share) * (1 - deep)
    share = 1 - _connected_to_outside(background, inside, 2 * round(band))
    # Mixed pixels lie only along the edge; farther in, what looks like a mixture is light and shade on the object.
    width = length(EDGE_WIDTH, diameter)
    least = (distance_to_outside(share > MOSTLY_BACKGROUND, int(width) + 2) / width).clamp(0, 1)
    return torch.maximum(share, least), confidence, torch.maximum(least, deep)


def _mixture(image: Tensor, core: Tensor, ground: Tensor, wanted: Tensor, sigma: float) -> tuple[Tensor, Tensor]:
    """Share of the object's colour in every wanted pixel, from colours known elsewhere, and 0..1 how certain it is."""
    object_color, object_variance = _local_color(image, core, wanted, sigma)
    ground_color, ground_variance = _local_color(image, ground, wanted, sigma)
    line = object_color - ground_color
    contrast = line.square().sum(1, keepdim=True)
    share = ((image - ground_color) * line).sum(1, keepdim=True) / contrast.clamp_min(1e-9)
    share = share.clamp(0, 1)
    variance = object_variance + ground_variance + NOISE
    separation = contrast / (contrast + variance)
    certain = ((separation - SEPARATION_NONE) / (SEPARATION_FULL - SEPARATION_NONE)).clamp(0, 1)
    # A part of the object that looks like neither lies off the line: a white string of a red balloon before a blue sky.
    missed = (image - torch.lerp(ground_color, object_color, share)).square().sum(1, keepdim=True)
    return share, certain * (UNEXPLAINED * variance / (UNEXPLAINED * variance + missed))


def _local_color(image: Tensor, known: Tensor, wanted: Tensor, sigma: float) -> tuple[Tensor, Tensor]:
    """Mean colour and variance (summed over the channels) of the known pixels around each wanted one.

    Far from known pixels wider and wider means fill in.
    """
    known = known.to(image.dtype)
    mean, weight = masked_mean(image, known, sigma)
    variance, _ = masked_mean((image - mean).square().sum(1, keepdim=True), known, sigma)
    result = torch.cat([mean, variance], 1)
    while (wanted & (weight <= LEAST_WEIGHT)).any() and sigma < max(image.shape[-2:]):
        sigma *= 2
        wider, wider_weight = masked_mean(result, (weight > LEAST_WEIGHT).to(image.dtype), sigma)
        fill = (weight <= LEAST_WEIGHT) & (wider_weight > LEAST_WEIGHT)
        result, weight = torch.where(fill, wider, result), torch.where(fill, wider_weight, weight)
    return result[:, :-1], result[:, -1:]


def _connected_to_outside(background: Tensor, inside: Tensor, steps: int) -> Tensor:
    """Greyscale reconstruction by dilation from the outside (Vincent 1993), as far as `steps` pixels; 1 outside."""
    limit = torch.where(inside, background, torch.ones_like(background))
    reached = (~inside).to(background.dtype)
    for _ in range(steps):
        reached = torch.minimum(F.max_pool2d(reached, 3, 1, 1), limit)
    return reached


def foreground_color(image: Tensor, alpha: Tensor, sigmas: tuple[float, float]) -> Tensor:
    """Colour of the object itself at every pixel, with the background taken out of mixed pixels.

    Blur-fusion (Forte 2021, "Approximate Fast Foreground Colour Estimation", eqs. 4-7): smooth colours of object and
    background, the first then corrected so that both mix to the picture again; in two passes. The first takes them from pure
    pixels, so that constant colours are found exactly, the second from the pixels close by, weighted by alpha.

    image: `[B, 3, H, W]`; alpha: `[B, 1, H, W]` in 0..1; sigmas: standard deviations of the two passes' Gaussians, in pixels.
    Where alpha is 1, or no pixel is pure, the picture is returned as it is; the colour is meant for pixels in and next to the
    object.
    """
    pure = alpha == 1
    if 2 * pure.sum() < (alpha > PURE).sum():
        pure = alpha > PURE
    if not pure.any() or not (alpha == 0).any():
        return image
    wide, narrow = sigmas
    mixed = (F.max_pool2d(alpha, 3, 1, 1) > 0) & ~pure
    object_mean, _ = _local_color(image, pure, mixed, wide)
    ground_mean, _ = _local_color(image, alpha == 0, mixed, wide)
    color = _corrected(image, alpha, object_mean, ground_mean)
    near_object, object_weight = masked_mean(color, alpha, narrow)
    near_ground, ground_weight = masked_mean(ground_mean, 1 - alpha, narrow)
    object_mean = torch.where(object_weight > LEAST_WEIGHT, near_object, object_mean)
    ground_mean = torch.where(ground_weight > LEAST_WEIGHT, near_ground, ground_mean)
    return torch.where(alpha == 1, image, _corrected(image, alpha, object_mean, ground_mean))


def _corrected(image: Tensor, alpha: Tensor, object_color: Tensor, ground_color: Tensor) -> Tensor:
    return (object_color + alpha * (image - alpha * object_color - (1 - alpha) * ground_color)).clamp(0, 1)
