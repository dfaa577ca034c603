"""Placing an object of one picture on the canvas of another."""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from .region import spanned_region
from .resample import premultiply, scale_rows, unpremultiply


class Box(NamedTuple):
    """Pixels x..x+width-1 and y..y+height-1."""

    x: int
    y: int
    width: int
    height: int


def mask_box(mask: Tensor) -> Box | None:
    """Box of the pixels with mask >= 1/2, or of all above 0 if there are none; None for an empty mask. mask: `[H, W]`."""
    region = spanned_region(mask >= 0.5) or spanned_region(mask > 0)
    if region is None:
        return None
    rows, columns = region
    return Box(columns.start, rows.start, columns.stop - columns.start, rows.stop - rows.start)


def scale_to_fit(width: float, height: float, rotation: float, box_width: float, box_height: float) -> float:
    """Largest scale at which a `width` x `height` rectangle, turned by `rotation` degrees, fits into a box."""
    cosine, sine = abs(math.cos(math.radians(rotation))), abs(math.sin(math.radians(rotation)))
    return min(box_width / (width * cosine + height * sine), box_height / (width * sine + height * cosine))


def place(
    source: Tensor,
    mask: Tensor,
    size: tuple[int, int],
    center: tuple[float, float],
    scale: float = 1.0,
    rotation: float = 0.0,
    flip: bool = False,
) -> tuple[Tensor, Tensor]:
    """Scale, turn and move a picture and its mask onto a canvas.

    The point that lands on `center` is the centre of the object's mask box (of the whole picture when the mask is
    empty). The steps: mirror; scale to whole pixels with antialiasing; turn by the nearest multiple of 90 degrees, which
    moves pixels without mixing them; move. If no angle is left the picture moves by whole pixels, so at scale 1 its
    pixels arrive unchanged. Otherwise the rest of the turn and the move are one bicubic interpolation.

    Args:
        source: `[1, 3, h, w]`; mask: `[1, 1, h, w]`.
        size: (height, width) of the canvas.
        center: (x, y) on the canvas in pixels; pixel i spans i..i+1.
        scale: canvas pixels per source pixel.
        rotation: degrees, clockwise.
        flip: mirror left and right, before everything else.

    Returns:
        The whole source picture on the canvas, its border pixels repeated beyond it, `[1, 3, H, W]`, and the mask, 0 beyond
        the source picture, `[1, 1, H, W]`. Colours where the mask is above 0 hold nothing of the object's surroundings.
    """
    channels = premultiply(source, mask)
    if flip:
        channels = channels.flip(3)
    quarter_turns = math.floor(rotation / 90 + 0.5)
    angle = math.radians(rotation - 90 * quarter_turns)
    channels = torch.rot90(channels, -quarter_turns, (2, 3))

    height, width = channels.shape[2:]
    scaled = max(1, round(height * scale)), max(1, round(width * scale))
    box = mask_box(channels[0, 3]) or Box(0, 0, width, height)
    pivot_x = (box.x + box.width / 2) * scaled[1] / width
    pivot_y = (box.y + box.height / 2) * scaled[0] / height

    if angle == 0:
        left, top = math.floor(center[0] - pivot_x + 0.5), math.floor(center[1] - pivot_y + 0.5)
        return unpremultiply(_window(channels, scaled, (-top, -left), size))

    # Only the part of the scaled picture that the canvas shows is made: an object scaled up can be far larger.
    cosine, sine = math.cos(angle), math.sin(angle)
    corners = [(x - center[0], y - center[1]) for x in (0, size[1]) for y in (0, size[0])]
    left, right = _visible([x * cosine + y * sine + pivot_x for x, y in corners], scaled[1])
    top, bottom = _visible([y * cosine - x * sine + pivot_y for x, y in corners], scaled[0])
    window = _window(channels, scaled, (top, left), (bottom - top, right - left))

    # From canvas to window, both measured from -1 to 1 as affine_grid and grid_sample do.
    half_x, half_y = size[1] / 2, size[0] / 2
    middle_x = (half_x - center[0]) * cosine + (half_y - center[1]) * sine + pivot_x - left
    middle_y = (half_y - center[1]) * cosine - (half_x - center[0]) * sine + pivot_y - top
    to_window_x, to_window_y = 2 / (right - left), 2 / (bottom - top)
    affine = [
        [half_x * cosine * to_window_x, half_y * sine * to_window_x, middle_x * to_window_x - 1],
        [-half_x * sine * to_window_y, half_y * cosine * to_window_y, middle_y * to_window_y - 1],
    ]
    affine = torch.tensor([affine], dtype=source.dtype, device=source.device)
    grid = F.affine_grid(affine, [1, 1, *size], align_corners=False)
    count = source.shape[1] + 1
    # Object channels fade to nothing beyond the picture, the picture itself repeats its border.
    faded = F.grid_sample(window[:, :count], grid, mode="bicubic", padding_mode="zeros", align_corners=False)
    repeated = F.grid_sample(window[:, count:], grid, mode="bicubic", padding_mode="border", align_corners=False)
    return unpremultiply(torch.cat([faded, repeated], 1))


def _window(channels: Tensor, scaled: tuple[int, int], corner: tuple[int, int], size: tuple[int, int]) -> Tensor:
    """Part of the scaled picture, with object channels 0 beyond it. scaled, corner and size: (vertical, horizontal)."""
    rows = scale_rows(channels, scaled[0], corner[0], size[0])
    window = scale_rows(rows.mT.contiguous(), scaled[1], corner[1], size[1]).mT
    count = (channels.shape[1] - 1) // 2 + 1
    window[:, :count] *= _within(scaled[0], corner[0], size[0], window)[:, None]
    window[:, :count] *= _within(scaled[1], corner[1], size[1], window)
    return window


def _within(length: int, start: int, count: int, like: Tensor) -> Tensor:
    position = torch.arange(start, start + count, device=like.device)
    return ((position >= 0) & (position < length)).to(like.dtype)


def _visible(coordinates: list[float], length: int) -> tuple[int, int]:
    """Range of pixels that interpolation between these coordinates reads, kept within one pixel of the picture."""
    first = min(max(math.floor(min(coordinates)) - 2, -1), length)
    return first, max(min(math.ceil(max(coordinates)) + 2, length + 1), first + 1)
