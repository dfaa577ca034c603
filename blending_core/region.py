"""The rectangle of a picture that some of its pixels span, so that work can be kept to it."""

from torch import Tensor

Region = tuple[slice, slice]


def spanned_region(inside: Tensor, margin: int = 0) -> Region | None:
    """Rows and columns that the True pixels span, with `margin` pixels around them as far as the picture goes.

    None if there is no True pixel. inside: bool `[H, W]`.
    """
    slices = []
    for axis, length in ((1, inside.shape[0]), (0, inside.shape[1])):
        occupied = inside.any(axis).nonzero()
        if len(occupied) == 0:
            return None
        slices.append(grown(slice(int(occupied[0]), int(occupied[-1]) + 1), margin, length))
    return slices[0], slices[1]


def grown(span: slice, margin: int, length: int) -> slice:
    """The span with `margin` more on either side, as far as an axis of this length goes."""
    return slice(max(span.start - margin, 0), min(span.stop + margin, length))
