"""Draws the pack's icon: docs/icon.svg, and docs/icon.png of 400 × 400 pixels, the most that the Comfy registry takes.

An object in a picture: at the upper left it is still cut out, with a selection around it; at the lower right the selection
fades, and object and ground have become one.
"""

import math
import sys
from pathlib import Path

import numpy as np
from PIL import Image

CHECKOUT = Path(__file__).resolve().parent.parent
SIZE = 400  # pixels, also the unit of all lengths below
MARGIN, CORNER = 8, 88
CENTER, OBJECT_RADIUS = 200, 112
DASHES, DASH_RADIUS, DASH_WIDTH, DASH_DEGREES = 9, 148, 20, 24

Color = tuple[float, float, float, float]  # red, green, blue 0..255, opacity 0..1
Stops = list[tuple[float, Color]]  # along the picture's diagonal, 0 upper left, 1 lower right

GROUND: Stops = [(0.0, (43, 26, 107, 1)), (0.55, (138, 45, 143, 1)), (1.0, (255, 122, 77, 1))]
OBJECT_COLORS = ((255, 246, 214), (255, 138, 72))


def object_stops() -> Stops:
    """The object's colour and opacity, which falls smoothly from 1 to 0."""
    reach = OBJECT_RADIUS / (math.sqrt(2) * SIZE)  # of the object, as a share of the diagonal
    stops = []
    for step in np.linspace(0, 1, 13):
        visible = 1 - step * step * (3 - 2 * step)
        first, last = (np.array(color) for color in OBJECT_COLORS)
        color = first + (last - first) * step
        stops.append((0.5 + reach * (1.4 * step - 0.55), (*(float(value) for value in color), float(visible))))
    return stops


def dashes() -> list[tuple[float, float, float]]:
    """Where each dash of the selection begins and ends, degrees clockwise from the right, and its opacity."""
    middles = [225 + 360 / DASHES * (number - (DASHES - 1) / 2) for number in range(DASHES)]
    # 0 at the upper left, 1 at the lower right.
    depths = [(1 + math.cos(math.radians(middle - 45))) / 2 for middle in middles]
    opacities = np.interp(depths, [0.3, 0.8, 1], [1, 0.2, 0])
    return [
        (middle - DASH_DEGREES / 2, middle + DASH_DEGREES / 2, float(opacity))
        for middle, opacity in zip(middles, opacities, strict=True)
        if opacity > 0
    ]


def svg() -> str:
    """The icon as SVG."""
    inner = SIZE - 2 * MARGIN
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{SIZE}" height="{SIZE}" viewBox="0 0 {SIZE} {SIZE}">',
        "  <title>DeepBlend</title>",
        _gradient("ground", GROUND),
        _gradient("object", object_stops()),
        f'  <rect x="{MARGIN}" y="{MARGIN}" width="{inner}" height="{inner}" rx="{CORNER}" fill="url(#ground)"/>',
        f'  <circle cx="{CENTER}" cy="{CENTER}" r="{OBJECT_RADIUS}" fill="url(#object)"/>',
        f'  <g fill="none" stroke="#fff" stroke-width="{DASH_WIDTH}" stroke-linecap="round">',
    ]
    for begin, end, opacity in dashes():
        (x0, y0), (x1, y1) = _on_ring(begin), _on_ring(end)
        arc = f"M{x0:.2f} {y0:.2f}A{DASH_RADIUS} {DASH_RADIUS} 0 0 1 {x1:.2f} {y1:.2f}"
        lines.append(f'    <path d="{arc}" stroke-opacity="{opacity:.3f}"/>')
    return "\n".join([*lines, "  </g>", "</svg>", ""])


def _gradient(name: str, stops: Stops) -> str:
    lines = [f'  <linearGradient id="{name}" gradientUnits="userSpaceOnUse" x2="{SIZE}" y2="{SIZE}">']
    for offset, (*color, opacity) in stops:
        value = "#" + "".join(f"{round(part):02x}" for part in color)
        shown = "" if opacity == 1 else f' stop-opacity="{opacity:.3f}"'
        lines.append(f'    <stop offset="{offset:.4f}" stop-color="{value}"{shown}/>')
    return "\n".join([*lines, "  </linearGradient>"])


def _on_ring(degrees: float) -> tuple[float, float]:
    angle = math.radians(degrees)
    return CENTER + DASH_RADIUS * math.cos(angle), CENTER + DASH_RADIUS * math.sin(angle)


def picture(size: int = SIZE) -> Image.Image:
    """The icon in pixels, transparent around its corners."""
    scale = size / SIZE
    y, x = (np.mgrid[0:size, 0:size] + 0.5) / scale
    # Distance to the outline of the rounded square, negative inside; lengths in pixels give a soft edge one pixel wide.
    inset = np.hypot(*(np.maximum(abs(axis - CENTER) - (CENTER - MARGIN - CORNER), 0) for axis in (x, y))) - CORNER
    rgb = _colors(GROUND, x, y)[..., :3]
    seen = _colors(object_stops(), x, y)
    rgb = _over(rgb, seen[..., :3], seen[..., 3] * _coverage(np.hypot(x - CENTER, y - CENTER) - OBJECT_RADIUS, scale))
    for begin, end, opacity in dashes():
        rgb = _over(rgb, 255.0, opacity * _coverage(_distance_to_dash(x, y, begin, end), scale))
    rgba = np.dstack([rgb, 255 * _coverage(inset, scale)])
    return Image.fromarray(rgba.round().astype(np.uint8), "RGBA")


def _colors(stops: Stops, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    offsets, colors = zip(*stops, strict=True)
    along = (x + y) / (2 * SIZE)
    return np.stack([np.interp(along, offsets, channel) for channel in zip(*colors, strict=True)], axis=-1)


def _over(below: np.ndarray, color: np.ndarray | float, opacity: np.ndarray) -> np.ndarray:
    return below + (color - below) * opacity[..., None]


def _coverage(distance: np.ndarray, scale: float) -> np.ndarray:
    """How much of a pixel a shape covers, from the signed distance of its middle to the outline."""
    return np.clip(0.5 - distance * scale, 0, 1)


def _distance_to_dash(x: np.ndarray, y: np.ndarray, begin: float, end: float) -> np.ndarray:
    angle = (np.degrees(np.arctan2(y - CENTER, x - CENTER)) - begin) % 360
    to_ends = np.minimum(*(np.hypot(x - px, y - py) for px, py in (_on_ring(begin), _on_ring(end))))
    to_ring = abs(np.hypot(x - CENTER, y - CENTER) - DASH_RADIUS)
    return np.where(angle <= end - begin, to_ring, to_ends) - DASH_WIDTH / 2


def main() -> int:
    folder = CHECKOUT / "docs"
    (folder / "icon.svg").write_text(svg(), encoding="utf-8", newline="\n")
    picture().save(folder / "icon.png", optimize=True)
    print(f"{folder / 'icon.svg'}, {folder / 'icon.png'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
