"""Bounding boxes as ComfyUI's BOUNDING_BOX values carry them.

A value is one box for all frames, a list of boxes for all frames, or a list of boxes per frame. A box is a dict
`{"x", "y", "width", "height"}` in pixels, with `label` and `score` where they are known.
"""

import math
from numbers import Real
from typing import Any

BoxDict = dict[str, Any]

SIDES = ("x", "y", "width", "height")


def boxes_per_frame(value: Any, frames: int) -> list[list[BoxDict]]:
    """The boxes of each frame, checked and rounded to whole pixels.

    Raises:
        ValueError: if the value has another form, a number is missing or not finite, a box is empty or reversed, or
            there are boxes for a number of frames other than `frames` or 1.
    """
    if isinstance(value, dict):
        value = [[value]]
    elif isinstance(value, (list, tuple)) and all(isinstance(item, dict) for item in value):
        value = [value]
    elif not (isinstance(value, (list, tuple)) and all(isinstance(item, (list, tuple)) for item in value)):
        raise ValueError(
            f"bboxes is a {type(value).__name__} of another form; a box {{x, y, width, height}}, "
            "a list of boxes or a list of boxes per frame is accepted"
        )
    if len(value) not in (1, frames):
        raise ValueError(
            f"bboxes holds boxes for {len(value)} frames but the batch has {frames}; "
            "boxes for every frame or one list for all are accepted"
        )
    checked = [[_checked(box) for box in frame] for frame in value]
    return checked * frames if len(checked) == 1 else checked


def require_overlap(box: BoxDict, width: int, height: int) -> None:
    """Raise ValueError with a sentence unless some part of the box lies in a picture of this size."""
    if box["x"] >= width or box["y"] >= height or box["x"] + box["width"] <= 0 or box["y"] + box["height"] <= 0:
        raise ValueError(
            f"bboxes: {describe(box)} lies outside the picture of {width}×{height} pixels; it must overlap it"
        )


def clip_box(box: BoxDict, width: int, height: int) -> BoxDict:
    """The part of the box inside a picture of this size; ValueError if there is none."""
    require_overlap(box, width, height)
    left, top = max(box["x"], 0), max(box["y"], 0)
    right, bottom = min(box["x"] + box["width"], width), min(box["y"] + box["height"], height)
    return {**box, "x": left, "y": top, "width": right - left, "height": bottom - top}


def describe(box: BoxDict) -> str:
    return f"the box x={box['x']} y={box['y']} width={box['width']} height={box['height']}"


def _checked(box: Any) -> BoxDict:
    if not isinstance(box, dict) or any(not isinstance(box.get(side), Real) for side in SIDES):
        raise ValueError(f"bboxes: {box!r} is not a box; each box needs the numbers x, y, width and height")
    if not all(math.isfinite(box[side]) for side in SIDES):
        raise ValueError(f"bboxes: {describe(box)} holds a number that is not finite; pixels are accepted")
    x, y, width, height = (float(box[side]) for side in SIDES)
    left, top, right, bottom = round(x), round(y), round(x + width), round(y + height)
    if right <= left or bottom <= top:
        raise ValueError(f"bboxes: {describe(box)} is empty or reversed; width and height must be at least 1 pixel")
    return {**box, "x": left, "y": top, "width": right - left, "height": bottom - top}
