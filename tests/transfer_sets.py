"""The developers' real pictures, placed as their notes say, at any size."""

import json
import os
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
from PIL import Image
from scipy import ndimage
from skimage.color import rgb2lab

SHARED = Path(os.environ.get("DEEPBLEND_SHARED", Path(__file__).resolve().parents[2] / "shared"))
TRANSFER = SHARED / "data" / "transfer"
VGG_19 = SHARED / "models" / "vgg19_relu3_1" / "vgg19_relu3_1.safetensors"
SETS = sorted(folder.name for folder in TRANSFER.glob("*/")) if TRANSFER.is_dir() else ["absent"]
OBJECT_SHARE = 0.45  # of the frame's side that the object's box takes, for the sizes below


def read(path, mode):
    return torch.from_numpy(np.asarray(Image.open(path).convert(mode), np.float32) / 255)[None]


def place_inputs(name, size=None, long_side=None):
    """Inputs of Place Object for a set: its placement names the scaled size and the upper left corner.

    size: the target is scaled, and the object with it, until a square in which the object's box takes OBJECT_SHARE of the side
    has this side; the whole target is kept. long_side: it is scaled until its long side has this length.
    """
    folder = TRANSFER / name
    source, mask, target = (
        read(folder / f"{name}.png", mode) for name, mode in (("source", "RGB"), ("mask", "L"), ("target", "RGB"))
    )
    placement = json.loads((folder / "meta.json").read_text())["placement"]
    (width, height), (left, top) = placement["scaled_source_size"], placement["top_left_xy"]
    ys, xs = np.nonzero(mask[0].numpy() >= 0.5)
    scale = width / mask.shape[2]
    x = (left + (xs.min() + xs.max() + 1) / 2 * scale) / target.shape[2]
    y = (top + (ys.min() + ys.max() + 1) / 2 * height / mask.shape[1]) / target.shape[1]
    if size or long_side:
        whole = max(target.shape[1:3])
        factor = (
            size / square_side(max(np.ptp(ys), np.ptp(xs)) * scale, target[0, ..., 0]) if size else long_side / whole
        )
        new = round(target.shape[2] * factor), round(target.shape[1] * factor)
        kind = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
        target = torch.from_numpy(cv2.resize(target[0].numpy(), new, interpolation=kind)).clamp(0, 1)[None]
        scale *= factor
    return {"source": source, "mask": mask, "target": target, "x": float(x), "y": float(y), "scale": scale}


def square_side(object_side, frame):
    return min((object_side + 1) / OBJECT_SHARE, max(frame.shape))


class Judged(NamedTuple):
    """core_shift: Lab distance between the mean colours of result and source deep inside, core_chroma_shift: its a*b* part;
    seam: mean over pixel pairs across the mask's edge of what the result's Lab step exceeds the source's."""

    core_shift: float
    core_chroma_shift: float
    seam: float


def judge(result, source, inside):
    """`[H, W, 3]` pictures, bool `[H, W]`."""
    depth = ndimage.distance_transform_edt(inside)
    core = depth > 0.08 * inside.sum() ** 0.5
    core = core if core.sum() >= 50 else depth > 2
    result, source = rgb2lab(result), rgb2lab(source)
    shift = result[core].mean(0) - source[core].mean(0)
    excess = []
    for axis in (0, 1):
        steps = [np.linalg.norm(np.diff(image, axis=axis), axis=2) for image in (result, source)]
        excess.append((steps[0] - steps[1])[np.diff(inside.astype(int), axis=axis) != 0])
    excess = np.maximum(np.concatenate(excess), 0).mean()
    return Judged(np.linalg.norm(shift), np.linalg.norm(shift[1:]), excess)
