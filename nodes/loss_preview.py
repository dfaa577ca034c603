"""What the deep stages show while they work: the picture, and with it the losses in numbers and as curves."""

import torch
import torch.nn.functional as F
from torch import Tensor

from . import chart
from .host import PREVIEW_SIZE
from .loss_chart import Terms, evaluation_range, loss_lines, loss_range
from .preview_pictures import small_copy

# In pixels of the preview. A node has room for about two thirds of it, and more in width than in height.
WIDTH, HEIGHT = PREVIEW_SIZE, PREVIEW_SIZE * 3 // 4
TEXT_SIZE, ROW, MARGIN = 18, 21, 8
SWATCH, GAP = 12, 6
LEAST_PLOT = 90
WIDEST_VALUE = "0.000888"


def loss_preview(image: Tensor, terms: Terms, heading: list[str]) -> Tensor:
    """A picture with its losses below or beside it, whichever leaves it larger.

    Args:
        image: `[1, C, H, W]`, of which the colours are shown.
        terms: one value per evaluation for each; the last ones are written out.
        heading: rows of text above them.

    Returns:
        `[1, 3, h, w]` in 0..1 on the CPU, no wider than WIDTH and no higher than HEIGHT.
    """
    lines = loss_lines(terms)
    names = max((chart.text_width(line.name, TEXT_SIZE) for line in lines), default=0)
    values = chart.text_width(WIDEST_VALUE, TEXT_SIZE)
    column = max(SWATCH + names + 2 * GAP + values, *(chart.text_width(row, TEXT_SIZE) for row in heading))
    rows = ROW * (len(heading) + len(lines))
    width, height = round(column) + 2 * MARGIN, rows + 2 * MARGIN

    in_height, in_width = image.shape[2:]
    below = min(WIDTH / in_width, (HEIGHT - height) / in_height)
    beside = min((WIDTH - width) / in_width, HEIGHT / in_height)
    size = [max(1, round(length * max(below, beside))) for length in image.shape[2:]]
    picture = small_copy(image[:, :3], size).clamp(0, 1).cpu()
    if below >= beside:
        width = max(picture.shape[3], width + LEAST_PLOT)
        plot = MARGIN, MARGIN, width - round(column) - 2 * MARGIN, height - MARGIN
    else:
        height = max(picture.shape[2], height + LEAST_PLOT)
        plot = MARGIN, rows + 2 * MARGIN, width - MARGIN, height - MARGIN
    sheet = chart.Sheet(width, height)
    _write(sheet, width - MARGIN - round(column), width - MARGIN, heading, lines)
    if lines:
        _draw(sheet, plot, terms, lines)
    if below >= beside:
        return torch.cat([_widened(picture, width, picture.shape[2]), sheet.picture()], 2)
    return torch.cat([_widened(picture, picture.shape[3], height), sheet.picture()], 3)


def _widened(picture, width, height):
    """With white margins where the picture is smaller."""
    across, down = width - picture.shape[3], height - picture.shape[2]
    return F.pad(picture, (across // 2, across - across // 2, down // 2, down - down // 2), value=1.0)


def _write(sheet, left, right, heading, lines):
    """Heading, names and present values in one column."""
    middle = MARGIN + ROW / 2
    for words in heading:
        sheet.text((left, middle), words, "lm", TEXT_SIZE)
        middle += ROW
    for line in lines:
        sheet.line([(left, middle), (left + SWATCH, middle)], line.color, SWATCH)
        sheet.text((left + SWATCH + GAP, middle), line.name, "lm", TEXT_SIZE)
        sheet.text((right, middle), f"{line.ys[-1]:#.3g}".rstrip("."), "rm", TEXT_SIZE)
        middle += ROW


def _draw(sheet, box, terms, lines):
    """The curves, on a logarithmic axis."""
    left, top, right, bottom = box
    x, y = chart.Axis(*evaluation_range(terms), left, right), chart.Axis(*loss_range(terms), bottom, top, True)
    for value in y.ticks:
        sheet.line([(left, y(value)), (right, y(value))], chart.GRID)
    sheet.line([(left, top), (right, top), (right, bottom), (left, bottom), (left, top)], chart.FRAME)
    for line in reversed(lines):  # the first one on top
        sheet.graph(line, x, y)
