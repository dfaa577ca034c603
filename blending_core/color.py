"""Colour spaces in which distances look right: OKLab for changing colours, CIE Lab for judging them."""

import torch
from torch import Tensor

# sRGB to CIE XYZ (IEC 61966-2-1, white point D65).
_RGB_TO_XYZ = ((0.4124564, 0.3575761, 0.1804375), (0.2126729, 0.7151522, 0.0721750), (0.0193339, 0.1191920, 0.9503041))
_WHITE = (0.95047, 1.0, 1.08883)
# OKLab (Ottosson 2020, "A perceptual color space for image processing"): linear sRGB to cone responses, and their cube
# roots to lightness and two opponent colours.
_RGB_TO_LMS = (
    (0.4122214708, 0.5363325363, 0.0514459929),
    (0.2119034982, 0.6806995451, 0.1073969566),
    (0.0883024619, 0.2817188376, 0.6299787005),
)
_LMS_TO_OKLAB = (
    (0.2104542553, 0.7936177850, -0.0040720468),
    (1.9779984951, -2.4285922050, 0.4505937099),
    (0.0259040371, 0.7827717662, -0.8086757660),
)


def srgb_to_oklab(image: Tensor) -> Tensor:
    """OKLab of sRGB values: L 0..1, a and b about -0.4..0.4. `[B, 3, H, W]`; values beyond 0..1 are cut off."""
    response = _mix(_RGB_TO_LMS, _linear(image)).clamp_min(0)
    return _mix(_LMS_TO_OKLAB, response ** (1 / 3))


def oklab_to_srgb(oklab: Tensor) -> Tensor:
    """sRGB values 0..1 of OKLab; each channel of a colour that no screen shows is cut off. `[B, 3, H, W]`."""
    response = _mix(_inverse(_LMS_TO_OKLAB), oklab)
    linear = _mix(_inverse(_RGB_TO_LMS), response**3).clamp(0, 1)
    return torch.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear.clamp_min(0.0031308) ** (1 / 2.4) - 0.055)


def srgb_to_lab(image: Tensor) -> Tensor:
    """CIE 1976 L*a*b* (D65) of sRGB values: L 0..100; a distance of 2.3 is just visible. `[B, 3, H, W]`."""
    white = image.new_tensor(_WHITE)[:, None, None]
    ratio = _mix(_RGB_TO_XYZ, _linear(image)) / white
    x, y, z = torch.where(
        ratio > (6 / 29) ** 3, ratio.clamp_min(1e-6) ** (1 / 3), ratio / (3 * (6 / 29) ** 2) + 4 / 29
    ).unbind(1)
    return torch.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], 1)


def opponent_axes() -> Tensor:
    """Luminance, red-green and yellow-blue as orthonormal rows of RGB values: `[3, 3]`, float64."""
    axes = torch.tensor([[1, 1, 1], [1, -1, 0], [1, 1, -2]], dtype=torch.float64)
    return axes / axes.norm(dim=1, keepdim=True)


def _linear(image: Tensor) -> Tensor:
    """Light that sRGB values stand for."""
    image = image.clamp(0, 1)
    return torch.where(image <= 0.04045, image / 12.92, ((image + 0.055) / 1.055) ** 2.4)


def _mix(matrix: tuple[tuple[float, ...], ...] | Tensor, image: Tensor) -> Tensor:
    return torch.einsum("ij,bjhw->bihw", torch.as_tensor(matrix, dtype=image.dtype, device=image.device), image)


def _inverse(matrix: tuple[tuple[float, ...], ...]) -> Tensor:
    return torch.linalg.inv(torch.tensor(matrix, dtype=torch.float64))
