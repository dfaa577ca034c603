"""Cutting out the part of a picture around an object, at a size that another method works in, and putting it back.

The part is a box of whole pixels, and its picture has whole pixels too: the way back is the same box, so that nothing
shifts. Sizes are (height, width).
"""

import math
from fractions import Fraction

import torch
from torch import Tensor

from .composite import composite
from .placement import Box
from .region import Region
from .resample import MASK_ROUNDING, premultiply, resize_cubic, unpremultiply

Size = tuple[int, int]

# The coarsest grid that latents of today's image models have. A VAE cuts off what does not fit its own, unseen.
MULTIPLE = 64


def size_of_scaled_part(extent: Size, frame: Size, size: Size, context: float, enlarge: bool) -> Size:
    """Size of the part that is resized to `size`, and has its shape to less than a pixel.

    The object with its context fills it, but it stays within the frame as long as the object does.

    Args:
        extent: of the object.
        frame: size of the picture.
        size: what the part is resized to.
        context: sides of the part in those of the object, at least 1.
        enlarge: whether the part may be smaller than `size`.
    """
    needed = max(Fraction(length, side) for length, side in zip(extent, size, strict=True))
    available = min(Fraction(length, side) for length, side in zip(frame, size, strict=True))
    zoom = min(_exact(context) * needed, max(needed, available))
    if not enlarge:
        zoom = max(zoom, 1)
    return math.ceil(zoom * size[0]), math.ceil(zoom * size[1])


def size_of_unscaled_part(extent: Size, frame: Size, size: Size, context: float) -> Size:
    """Size of the part that keeps its pixels, in multiples of MULTIPLE; arguments as for `size_of_scaled_part`.

    It is `size`, larger where the object with its context needs more, smaller where the frame has less.
    """
    sides = []
    for object_length, frame_length, side in zip(extent, frame, size, strict=True):
        wanted = max(side, _rounded_up(_exact(context) * object_length))
        sides.append(min(wanted, max(frame_length // MULTIPLE * MULTIPLE, _rounded_up(object_length))))
    return sides[0], sides[1]


def box_around(region: Region, size: Size, frame: Size) -> Box:
    """The box of this size with the region in its middle, shifted into the frame; it juts out only if it is larger."""
    top, left = (_start(span, length, limit) for span, length, limit in zip(region, size, frame, strict=True))
    return Box(left, top, size[1], size[0])


def crop(image: Tensor, box: Box, size: Size) -> Tensor:
    """The box's part of a picture, resized to `size`; of the picture's own size it is copied bit for bit.

    What juts out of the frame repeats the picture's border. Of a picture with transparency the colours are taken; where
    it is resized, transparent pixels lend theirs to no visible one.

    image: `[B, 3 or 4, H, W]`. Returns `[B, 3, *size]`.
    """
    part = _part(image, box)
    if size == (box.height, box.width):
        return part[:, :3]
    if image.shape[1] == 3:
        return resize_cubic(part, size).clamp(0, 1)
    return unpremultiply(resize_cubic(premultiply(part[:, :3], part[:, 3:]), size))[0]


def crop_mask(mask: Tensor, box: Box, size: Size) -> Tensor:
    """The box's part of a mask, resized as `crop` does it. mask: `[B, 1, H, W]` in 0..1. Returns `[B, 1, *size]`."""
    part = _part(mask, box)
    if size == (box.height, box.width):
        return part
    resized = resize_cubic(part, size).clamp(0, 1)
    return torch.where(resized < MASK_ROUNDING, torch.zeros_like(resized), resized)


def stitch(image: Tensor, box: Box, mask: Tensor, target: Tensor) -> Tensor:
    """m * image + (1 - m) * target in the box, where m > 0; the target, bit for bit, elsewhere.

    Its transparency stays as it is.

    Args:
        image: what was made of the box's part, `[B, 3, h, w]`; it is resized to the box, of which some part must lie in
            the target.
        box: where it belongs in the target.
        mask: `[B, 1, H, W]` in 0..1.
        target: `[B, 3 or 4, H, W]`.

    Returns the target's shape.
    """
    size = box.height, box.width
    rows, columns = _inside(box, target)
    seen = _shifted(rows, -box.y), _shifted(columns, -box.x)
    part = image[(..., *seen)] if image.shape[2:] == size else resize_cubic(image, size, seen).clamp(0, 1)
    result = target.clone()
    result[:, :3, rows, columns] = composite(part, mask[..., rows, columns], target[:, :3, rows, columns])
    return result


def _exact(context: float) -> Fraction:
    """The decimal number that was meant: a 1.6 that is a trace larger would make the part a pixel larger."""
    return Fraction(float(context)).limit_denominator(1000)  # of NumPy's numbers it takes some only as floats


def _rounded_up(length: Fraction | int) -> int:
    return math.ceil(length / MULTIPLE) * MULTIPLE


def _start(span: slice, length: int, limit: int) -> int:
    if length >= limit:
        return (limit - length) // 2
    return min(max((span.start + span.stop - length) // 2, 0), limit - length)


def _part(image: Tensor, box: Box) -> Tensor:
    rows = torch.arange(box.y, box.y + box.height, device=image.device).clamp(0, image.shape[2] - 1)
    columns = torch.arange(box.x, box.x + box.width, device=image.device).clamp(0, image.shape[3] - 1)
    return image.index_select(2, rows).index_select(3, columns)


def _inside(box: Box, image: Tensor) -> Region:
    """Rows and columns of the picture that the box covers."""
    height, width = image.shape[2:]
    return (
        slice(max(box.y, 0), min(box.y + box.height, height)),
        slice(max(box.x, 0), min(box.x + box.width, width)),
    )


def _shifted(span: slice, by: int) -> slice:
    return slice(span.start + by, span.stop + by)
