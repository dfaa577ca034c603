"""Line charts, drawn with Pillow: white ground, round ticks, a legend beside the lines."""

import math
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

WIDTH, HEIGHT = 768, 512
OVERSAMPLING = 2  # everything is drawn larger and then reduced, which smooths the lines
LEFT, TOP, BOTTOM, RIGHT = 84, 56, 68, 28  # around the axes
LEGEND_LINE, LEGEND_GAP, LEGEND_ROW = 30, 10, 26
TITLE_SIZE, TEXT_SIZE, TICK_SIZE = 20, 16, 14
TITLE_BASE = 36  # pixels from the top to the line that the title stands on

# Colours that stay apart for colour-blind people (Okabe and Ito 2008), without the yellow, which is too pale on white.
COLORS = ("#000000", "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
TEXT, FRAME, GRID, FINE_GRID = "#222222", "#888888", "#DDDDDD", "#F0F0F0"
DASH = 8, 5  # drawn and left out

FEWEST_TICKS = 4  # a linear axis has up to two and a half times as many
LARGEST_SPAN = 1e8  # that a logarithmic axis shows; what is smaller than its largest value by more lies below it


class Line(NamedTuple):
    """Points joined in their order; a point without a finite value, or that the axes do not show, is left out and parts the
    line."""

    name: str
    xs: list[float]
    ys: list[float]
    color: str
    width: float = 2.5
    dashed: bool = False


class Axis:
    """From numbers to pixels, with ticks: a linear axis, or a logarithmic one for positive numbers."""

    def __init__(self, low: float, high: float, start: float, end: float, logarithmic: bool = False):
        self.scale = math.log10 if logarithmic else float
        self.low, self.high = low, high
        self.start, self.end = start, end
        self.ticks, self.fine_ticks = (logarithmic_ticks if logarithmic else linear_ticks)(low, high)

    def shows(self, value: float) -> bool:
        return math.isfinite(value) and self.low <= value <= self.high

    def __call__(self, value: float) -> float:
        """Pixel position of a value that the axis shows."""
        low, high = self.scale(self.low), self.scale(self.high)
        return self.start + (self.scale(value) - low) / (high - low) * (self.end - self.start)


def linear_ticks(low: float, high: float) -> tuple[list[float], list[float]]:
    """Multiples of 1, 2 or 5 times a power of ten; no fine ones."""
    rough = (high - low) / FEWEST_TICKS
    power = 10.0 ** math.floor(math.log10(rough))
    step = max(factor * power for factor in (1, 2, 5) if factor * power <= rough * (1 + 1e-9))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [count * step for count in range(first, last + 1)], []


def logarithmic_ticks(low: float, high: float) -> tuple[list[float], list[float]]:
    """Powers of ten, and 2 and 5 times them where few powers are to be seen; the fine ones lie at the other digits."""
    exponents = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    digits = (1, 2, 5) if high / low < 200 else (1,)

    def at(chosen):
        values = [float(f"{digit}e{exponent}") for exponent in exponents for digit in chosen]
        return [value for value in values if low <= value <= high]

    return at(digits), at([digit for digit in range(1, 10) if digit not in digits])


def logarithmic_range(values: list[float]) -> tuple[float, float]:
    """Range of a logarithmic axis for those values that it can show: a decade or more, with a little room."""
    values = [value for value in values if math.isfinite(value) and value > 0]
    high = max(values)
    low = max(min(values), high / LARGEST_SPAN)
    middle, half = math.sqrt(low) * math.sqrt(high), max(math.sqrt(high / low) * 1.1, math.sqrt(10))
    return middle / half, middle * half


def line_chart(
    title: str,
    lines: list[Line],
    x_label: str,
    y_label: str,
    x_range: tuple[float, float],
    y_range: tuple[float, float],
    logarithmic: bool = False,
    mark: float | None = None,
) -> Tensor:
    """Chart of some lines, `[1, 3, 512, 768]` in 0..1. logarithmic: of y. mark: where a vertical line stands."""
    sheet = Sheet(WIDTH, HEIGHT)
    legend = max(text_width(line.name) for line in lines) + LEGEND_LINE + 2 * LEGEND_GAP
    left, top, right, bottom = LEFT, TOP, WIDTH - RIGHT - legend, HEIGHT - BOTTOM
    x, y = Axis(*x_range, left, right), Axis(*y_range, bottom, top, logarithmic)

    for value in y.fine_ticks:
        sheet.line([(left, y(value)), (right, y(value))], FINE_GRID)
    for value in y.ticks:
        sheet.line([(left, y(value)), (right, y(value))], GRID)
        sheet.text((left - 8, y(value)), f"{value:g}", "rm", TICK_SIZE)
    for value in x.ticks:
        sheet.line([(x(value), top), (x(value), bottom)], GRID)
        sheet.text((x(value), bottom + 8), f"{value:g}", "ma", TICK_SIZE)
    if mark is not None:
        sheet.line([(x(mark), top), (x(mark), bottom)], FRAME, 1.5, dashed=True)
    sheet.line([(left, top), (right, top), (right, bottom), (left, bottom), (left, top)], FRAME)
    sheet.text(((left + right) / 2, TITLE_BASE), title, "ms", TITLE_SIZE)
    sheet.text(((left + right) / 2, HEIGHT - 14), x_label, "ms")
    sheet.text_upwards((14, (top + bottom) / 2), y_label)

    for line in reversed(lines):  # the first one on top
        sheet.graph(line, x, y)
    for row, line in enumerate(lines):
        height = top + LEGEND_ROW * (row + 0.5)
        start = right + LEGEND_GAP
        sheet.line([(start, height), (start + LEGEND_LINE, height)], line.color, line.width, line.dashed)
        sheet.text((start + LEGEND_LINE + LEGEND_GAP, height), line.name, "lm")
    return sheet.picture()


def sentence_chart(title: str, sentence: str) -> Tensor:
    """In place of a chart that cannot be drawn, the reason: `[1, 3, 512, 768]` in 0..1."""
    sheet = Sheet(WIDTH, HEIGHT)
    sheet.text((WIDTH / 2, TITLE_BASE), title, "ms", TITLE_SIZE)
    sheet.text((WIDTH / 2, HEIGHT / 2), sentence, "mm")
    return sheet.picture()


def _runs(line: Line, x: Axis, y: Axis) -> list[list[tuple[float, float]]]:
    """Points of a line on the sheet, parted where some are left out."""
    runs = [[]]
    for point in zip(line.xs, line.ys, strict=True):
        if x.shows(point[0]) and y.shows(point[1]):
            runs[-1].append((x(point[0]), y(point[1])))
        elif runs[-1]:
            runs.append([])
    return [run for run in runs if run]


@lru_cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.load_default(size * OVERSAMPLING)


def text_width(words: str, size: int = TEXT_SIZE) -> float:
    return _font(size).getlength(words) / OVERSAMPLING


class Sheet:
    """White paper; positions and sizes are pixels of the finished picture."""

    def __init__(self, width: int, height: int):
        self.image = Image.new("RGB", (width * OVERSAMPLING, height * OVERSAMPLING), "white")
        self.draw = ImageDraw.Draw(self.image)

    def graph(self, line: Line, x: Axis, y: Axis) -> None:
        """Draw what the axes show of a line."""
        for run in _runs(line, x, y):
            self.line(run, line.color, line.width, line.dashed)

    def line(self, points: list[tuple[float, float]], color: str, width: float = 1, dashed: bool = False) -> None:
        """Join the points; a single one becomes a dot."""
        points = [(px * OVERSAMPLING, py * OVERSAMPLING) for px, py in points]
        width = round(width * OVERSAMPLING)
        if len(points) == 1:
            (x, y), radius = points[0], 1.2 * width
            self.draw.ellipse((x - radius, y - radius, x + radius, y + radius), color)
        for piece in _dashes(points) if dashed else [points]:
            self.draw.line(piece, color, width, "curve")

    def text(self, position: tuple[float, float], words: str, anchor: str, size: int = TEXT_SIZE) -> None:
        """Write at a position; the anchor says which point of the words stands there, as Pillow names them."""
        position = position[0] * OVERSAMPLING, position[1] * OVERSAMPLING
        self.draw.text(position, words, TEXT, _font(size), anchor)

    def text_upwards(self, position: tuple[float, float], words: str) -> None:
        """Write from below upwards, beginning to the right of a position and centred on it."""
        _, _, right, bottom = self.draw.textbbox((0, 0), words, _font(TEXT_SIZE), "la")
        label = Image.new("RGB", (right, bottom), "white")
        ImageDraw.Draw(label).text((0, 0), words, TEXT, _font(TEXT_SIZE), "la")
        x, y = position[0] * OVERSAMPLING, position[1] * OVERSAMPLING - right / 2
        self.image.paste(label.transpose(Image.Transpose.ROTATE_90), (round(x), round(y)))

    def picture(self) -> Tensor:
        pixels = np.array(self.image.reduce(OVERSAMPLING))
        return torch.from_numpy(pixels).movedim(-1, 0)[None].float() / 255


def _dashes(points: list[tuple[float, float]]) -> Iterator[list[tuple[float, float]]]:
    """A line in pieces with gaps between them, counted along it."""
    drawn, period = DASH[0] * OVERSAMPLING, sum(DASH) * OVERSAMPLING
    xs, ys = np.array(points).T
    along = np.concatenate([[0], np.hypot(np.diff(xs), np.diff(ys)).cumsum()])
    for start in np.arange(0, along[-1], period):
        end = min(start + drawn, along[-1])
        at = [start, *along[(along > start) & (along < end)], end]
        yield list(zip(np.interp(at, along, xs), np.interp(at, along, ys), strict=True))
