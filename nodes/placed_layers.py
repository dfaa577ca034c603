"""The placement as layers of ComfyUI's own editor: target, object, and what is in front of it."""

import math
from typing import Any

from comfy_api.latest import io
from torch import Tensor

from ..blending_core.placement import mask_box
from ..blending_core.region import spanned_region
from .host import output_image, output_mask

EDGE = 2  # transparent pixels around the object, as far as there are such, so that a turned edge is smooth

Layers = dict[str, Any]


def layers_output() -> list[io.Output]:
    """Comes last among a node's outputs; none where ComfyUI has no such type, which came after 0.30."""
    if not hasattr(io, "Layers"):
        return []
    tooltip = (
        "Target and object as layers for Create Layered Image, whose editor moves, turns and scales the object further. Of a "
        "batch the first frame."
    )
    return [io.Layers.Output("layers", tooltip=tooltip)]


def placed_layers(
    sample: dict[str, Tensor], center: tuple[float, float], scale: float, rotation: float, flip: bool, name: str
) -> Layers:
    """A document of layers that gives Place Object's composite, but for resampling and the mixing of colours at soft edges.

    sample: source, mask, target and perhaps occluder, `[1, C, H, W]`. The rest as for `blending_core.placement.place`. In the
    document masks are 1 where a layer is transparent, places are whole pixels of the corner before the turn about the
    layer's own middle, and angles are clockwise in radians.
    """
    source, mask, target = sample["source"], sample["mask"], sample["target"]
    height, width = target.shape[-2:]
    layers = [{**_raster("target", target), "x": 0, "y": 0}]
    region = spanned_region(mask[0, 0] > 0, EDGE)
    if region:
        part = (..., *region)
        place = _place(mask, region, center, scale, rotation, flip)
        layers.append({**_raster(name, source[part], mask[part]), **place})
    if "occluder" in sample:
        layers.append({**_raster("occluder", target, sample["occluder"]), "x": 0, "y": 0})
    return {
        "version": 1,
        "canvas": (width, height),
        "layers": [{**layer, "z_index": index} for index, layer in enumerate(layers)],
    }


def _raster(name: str, image: Tensor, opacity: Tensor | None = None) -> Layers:
    layer = {"type": "raster", "name": name, "image": output_image(image)}
    return layer if opacity is None else {**layer, "mask": output_mask(1 - opacity)}


def _place(mask: Tensor, region, center, scale, rotation, flip) -> Layers:
    """Where a part of the source goes when the middle of the object's box goes to `center`."""
    box, angle = mask_box(mask[0, 0]), math.radians(rotation)
    offsets, size = [], []
    for part, start, length, whole in zip(
        region, (box.y, box.x), (box.height, box.width), mask.shape[-2:], strict=True
    ):
        scaled = max(1, round(whole * scale)) / whole
        offsets.append(scaled * ((part.start + part.stop) / 2 - (start + length / 2)))
        size.append(max(1, round(scaled * (part.stop - part.start))))
    (down, right), (height, width) = offsets, size
    right = -right if flip else right
    middle_x = center[0] + right * math.cos(angle) - down * math.sin(angle)
    middle_y = center[1] + right * math.sin(angle) + down * math.cos(angle)
    return {
        "x": math.floor(middle_x - width / 2 + 0.5),
        "y": math.floor(middle_y - height / 2 + 0.5),
        "w": width,
        "h": height,
        "rotation": angle,
        "flip_h": bool(flip),
    }
