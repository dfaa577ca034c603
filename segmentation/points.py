"""Points that mark an object, as ComfyUI's nodes exchange them: JSON text `[{"x": 10, "y": 20}, ...]` in pixels."""

import json
import math
from numbers import Real

Point = tuple[float, float]


def read_points(name: str, text: str | None, width: int, height: int) -> list[Point]:
    """The points of a text; none of an empty one.

    Args:
        name: of the input, for the sentence of an error.
        text: JSON.
        width, height: of the picture that the points must lie in.

    Raises:
        ValueError: if it is not such a text, or a point lies outside the picture.
    """
    if text is None or not text.strip():
        return []
    try:
        points = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{name} is not JSON ({error}); {_accepted()}") from error
    if not isinstance(points, list):
        raise ValueError(f"{name} holds a {type(points).__name__}, not a list of points; {_accepted()}")
    return [_checked(name, point, width, height) for point in points]


def _checked(name, point, width, height):
    if not isinstance(point, dict) or not all(_is_number(point.get(axis)) for axis in "xy"):
        raise ValueError(f"{name}: {str(point)[:60]!r} is not a point; {_accepted()}")
    x, y = float(point["x"]), float(point["y"])
    if not (0 <= x <= width and 0 <= y <= height):
        raise ValueError(
            f"{name}: the point x={x:g} y={y:g} lies outside the picture of {width}×{height} pixels; it must lie in it"
        )
    return x, y


def _is_number(value):
    try:
        return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:  # a whole number of hundreds of digits
        return False


def _accepted():
    return 'points in pixels such as [{"x": 120, "y": 80}] are accepted'
