"""Saturation of HSV, made differentiable for optimisation."""

from torch import Tensor

# Added to the maximum of a colour, which divides its saturation: in black it is 0, and noise in near-black pixels does
# not jump between grey and full colour.
BLACK_LEVEL = 0.02


def saturation(image: Tensor) -> Tensor:
    """S = (max - min) / (max + BLACK_LEVEL) over the channels, 0..1: `[B, 1, H, W]` of `[B, 3, H, W]`.

    Values beyond 0..1 are cut off. The gradient is at most 1 / BLACK_LEVEL; equal channels share it.
    """
    image = image.clamp(0, 1)
    largest = image.amax(1, keepdim=True)
    return (largest - image.amin(1, keepdim=True)) / (largest + BLACK_LEVEL)
