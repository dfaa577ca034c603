"""Boxes drawn over a picture with their labels and scores."""

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from ..segmentation.boxes import BoxDict
from .chart import COLORS

PHRASE_COLORS = COLORS[1:]  # black is hard to see on photographs
LINE_SHARE, TEXT_SHARE = 1 / 320, 1 / 45  # of the picture's mean side
THINNEST_LINE, SMALLEST_TEXT = 2, 12  # pixels
PADDING = 0.25  # around a label, as a share of its text's size
DARKEST_FOR_BLACK_TEXT = 140  # luma, 0 to 255, from which on black is easier to read than white


def draw_boxes(picture: Tensor, boxes: list[BoxDict], labels: list[str]) -> Tensor:
    """The picture with every box in the colour of its label; the highest score lies on top.

    Args:
        picture: `[3, H, W]` in 0..1.
        boxes: with `label` and `score`, the highest score first.
        labels: all that occur, in the order of their colours.

    Returns:
        `[3, H, W]` on the CPU.
    """
    pixels = picture.float().clamp(0, 1).mul(255).round().byte().movedim(0, -1).cpu().numpy()
    image = Image.fromarray(pixels)
    draw = ImageDraw.Draw(image)
    side = sum(image.size) / 2
    width, size = max(THINNEST_LINE, round(side * LINE_SHARE)), max(SMALLEST_TEXT, round(side * TEXT_SHARE))
    font = ImageFont.load_default(size)
    colors = [PHRASE_COLORS[labels.index(box["label"]) % len(PHRASE_COLORS)] for box in boxes]
    for box, color in reversed(list(zip(boxes, colors, strict=True))):
        right, bottom = box["x"] + box["width"] - 1, box["y"] + box["height"] - 1
        draw.rectangle((box["x"], box["y"], right, bottom), outline=color, width=width)
    for box, color in reversed(list(zip(boxes, colors, strict=True))):
        _draw_label(draw, image.size, (box["x"], box["y"]), f"{box['label']} {box['score']:.2f}", color, font)
    return torch.from_numpy(np.array(image)).movedim(-1, 0).float() / 255


def _draw_label(draw, canvas, corner, text, color, font):
    """On the box's upper edge; moved into the picture where it would leave it."""
    padding = round(font.size * PADDING)
    width, height = round(draw.textlength(text, font)) + 2 * padding, font.size + 2 * padding
    left = max(min(corner[0], canvas[0] - width), 0)
    top = max(corner[1] - height, 0)
    draw.rectangle((left, top, left + width - 1, top + height - 1), fill=color)
    red, green, blue = (int(color[place : place + 2], 16) for place in (1, 3, 5))
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    ink = "black" if luma >= DARKEST_FOR_BLACK_TEXT else "white"
    draw.text((left + padding, top + height / 2), text, fill=ink, font=font, anchor="lm")
