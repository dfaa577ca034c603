"""What Compare Images shows after a run: both pictures around the seam, over the profile of their saturation."""

import torch
import torch.nn.functional as F
from torch import Tensor

from ..blending_core.morphology import dilate
from ..blending_core.region import spanned_region
from . import chart
from .preview_pictures import small_copy

PICTURE_COLORS = {"image": chart.COLORS[2], "reference": chart.COLORS[6]}  # of the pictures' names and of their lines
MARGIN_SHARE, LEAST_MARGIN = 0.25, 12  # around the mask: of its longer side, and pixels of the picture
GAP, CAPTION = 8, 26  # pixels of the preview
HIGHEST = 512  # of both pictures together
# The line keeps off the mask's edge, so that the seam stays in view: pixels of the preview.
LINE_DISTANCE, LINE_WIDTH = 8, 1


def comparison(image: Tensor, reference: Tensor, plot: Tensor, mask: Tensor | None = None) -> Tensor:
    """Image and reference beside or above each other, whichever leaves them larger, and the plot below.

    image, reference: `[1, 3, H, W]` in 0..1. plot: `[1, 3, h, w]` of a chart. mask: `[1, 1, H, W]`; its surroundings are shown,
    with a line around it. Without a mask the whole pictures are shown, and no plot. Returns `[1, 3, h', w]` on the CPU.
    """
    part = _around(mask) if mask is not None else (slice(None), slice(None))
    image, reference = image[..., part[0], part[1]], reference[..., part[0], part[1]]
    height, width = image.shape[2:]
    beside = min((chart.WIDTH - GAP) / 2 / width, (HIGHEST - CAPTION) / height)
    above = min(chart.WIDTH / width, (HIGHEST / 2 - CAPTION) / height)
    scale = max(beside, above)
    size = [max(1, round(length * scale)) for length in (height, width)]
    line = _line(_scaled(mask[..., part[0], part[1]], size)) if mask is not None else None
    named = zip(PICTURE_COLORS, (image, reference), strict=True)
    pictures = [_titled(name, _scaled(picture, size).cpu(), line) for name, picture in named]
    if beside >= above:
        pictures = torch.cat([F.pad(pictures[0], (0, GAP), value=1.0), pictures[1]], 3)
    else:
        pictures = torch.cat(pictures, 2)
    spare = chart.WIDTH - pictures.shape[3]
    pictures = F.pad(pictures, (spare // 2, spare - spare // 2), value=1.0)
    return pictures if mask is None else torch.cat([pictures, plot], 2)


def _around(mask):
    """Rows and columns of the mask with a margin; of the whole picture if the mask is empty."""
    inside = mask[0, 0] > 0
    region = spanned_region(inside)
    if region is None:
        return slice(None), slice(None)
    longer = max(each.stop - each.start for each in region)
    return spanned_region(inside, max(LEAST_MARGIN, round(MARGIN_SHARE * longer)))


def _scaled(values, size):
    """Pixels stay what they are where they are enlarged, so that a step between them is seen as such."""
    if size[0] > values.shape[2] or size[1] > values.shape[3]:
        return F.interpolate(values, size, mode="nearest-exact")
    return small_copy(values, size)


def _line(mask):
    """Black and white pixels of the line as two masks."""
    inside = (mask > mask.amax() / 2).float().cpu()
    rings = [dilate(inside, LINE_DISTANCE + step * LINE_WIDTH) > 0 for step in range(3)]
    return rings[1] & ~rings[0], rings[2] & ~rings[1]


def _titled(name, picture, line):
    sheet = chart.Sheet(picture.shape[3], CAPTION)
    sheet.line([(0, CAPTION / 2), (12, CAPTION / 2)], PICTURE_COLORS[name], 12)
    sheet.text((18, CAPTION / 2), name, "lm")
    if line is not None:
        black, white = line
        picture = torch.where(black, torch.zeros_like(picture), torch.where(white, torch.ones_like(picture), picture))
    return torch.cat([sheet.picture(), picture], 2)
