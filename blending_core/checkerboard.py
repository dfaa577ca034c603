"""A picture stored by the colours of a checkerboard, so that a pixel's four neighbours lie in four contiguous runs.

Pixels with y + x even are red, the others black; all neighbours of a red pixel are black and the other way round. Rows are
laid end to end, each ended by one column of nothing that makes the row length odd: the colour of a pixel is then the parity of
its place in line, and red and black, each taken out of the line, are arrays in which every neighbour is a constant shift away.
The column of nothing is at once what lies left and right of the picture, a margin on both ends what lies above and below.
"""

import torch
from torch import Tensor

RED, BLACK = 0, 1


class Checkerboard:
    """Where the pixels of an `[..., height, width]` picture lie in a `[2, ..., length]` field (red, black).

    Two rows make a strip of `stride` places in either colour. In a strip each cell of 2 x 2 pixels has one red and one black
    pixel in its upper row and the same in its lower row.
    """

    def __init__(self, height: int, width: int):
        self.height, self.width = height, width
        self.strips, self.cells = (height + 1) // 2, (width + 1) // 2  # strips in the picture, cells in a strip
        self.stride = 2 * self.cells + 1
        self.start = self.cells + 1
        self.stop = self.start + self.strips * self.stride
        self.length = self.stop + self.start

    def forward_shifts(self, color: int) -> tuple[int, int]:
        """How far, in the other colour, the pixels to the right of and below a pixel are from its place."""
        return color, self.cells + color

    def rows(self, run: Tensor, color: int) -> tuple[Tensor, Tensor]:
        """Upper and lower rows of a run of whole strips of one colour: two views, `[..., strips, cells]`."""
        strips = run.unflatten(-1, (-1, self.stride))
        lower = self.cells + (color == RED)
        return strips[..., : self.cells], strips[..., lower : lower + self.cells]

    def strips_of(self, run: slice) -> slice:
        """Which strips a run of whole strips is."""
        return slice((run.start - self.start) // self.stride, (run.stop - self.start) // self.stride)

    def write(self, image: Tensor, field: Tensor) -> Tensor:
        """`image`, `[..., height, width]`, into the field, which is returned; the places of nothing stay as they are."""
        for rows, pixels in self._places(field, image):
            rows.copy_(pixels)
        return field

    def read(self, field: Tensor, out: Tensor | None = None) -> Tensor:
        """The picture, `[..., height, width]`, in the field."""
        image = field.new_empty(*field.shape[1:-1], self.height, self.width) if out is None else out
        for rows, pixels in self._places(field, image):
            pixels.copy_(rows)
        return image

    def _places(self, field, image):
        """Pairs of views of the same pixels in the field and in the image."""
        for color in (RED, BLACK):
            for parity, rows in enumerate(self.rows(field[color][..., self.start : self.stop], color)):
                pixels = image[..., parity::2, (parity + color) % 2 :: 2]
                yield rows[..., : pixels.shape[-2], : pixels.shape[-1]], pixels

    def zeros(self, like: Tensor, *leading: int) -> Tensor:
        """A field of zeros, `[2, *leading, length]`, of the type and on the device of `like`."""
        return torch.zeros(2, *leading, self.length, dtype=like.dtype, device=like.device)
