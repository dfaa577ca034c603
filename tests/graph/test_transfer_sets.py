"""Place, then Poisson, on the developers' real pictures at their own size."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

TRANSFER = Path(os.environ.get("DEEPBLEND_SHARED", Path(__file__).resolve().parents[3] / "shared"), "data", "transfer")
SETS = sorted(folder.name for folder in TRANSFER.glob("*/")) if TRANSFER.is_dir() else ["absent"]


def read(path, mode):
    return torch.from_numpy(np.asarray(Image.open(path).convert(mode), np.float32) / 255)[None]


def place_inputs(folder):
    """Inputs of Place Object for a set: its placement names the scaled size and the upper left corner."""
    source, mask, target = (
        read(folder / f"{name}.png", mode) for name, mode in (("source", "RGB"), ("mask", "L"), ("target", "RGB"))
    )
    placement = json.loads((folder / "meta.json").read_text())["placement"]
    (width, height), (left, top) = placement["scaled_source_size"], placement["top_left_xy"]
    ys, xs = np.nonzero(mask[0].numpy() >= 0.5)
    pivot_x = (xs.min() + xs.max() + 1) / 2 * width / mask.shape[2]
    pivot_y = (ys.min() + ys.max() + 1) / 2 * height / mask.shape[1]
    return {
        "source": source,
        "mask": mask,
        "target": target,
        "x": float((left + pivot_x) / target.shape[2]),
        "y": float((top + pivot_y) / target.shape[1]),
        "scale": width / mask.shape[2],
    }


def seam_jump(image, inside):
    """Mean step across the mask's edge, divided by the mean step one ring further out."""
    ring = inside.copy()
    ring[1:] |= inside[:-1]
    ring[:-1] |= inside[1:]
    ring[:, 1:] |= inside[:, :-1]
    ring[:, :-1] |= inside[:, 1:]

    def mean_step(region):
        steps = []
        for axis in (0, 1):
            crossing = np.diff(region.astype(int), axis=axis) != 0
            steps.append(np.linalg.norm(np.diff(image, axis=axis), axis=2)[crossing])
        return np.concatenate(steps).mean()

    return mean_step(inside) / mean_step(ring)


@pytest.mark.parametrize("name", SETS)
def test_poisson_leaves_no_larger_seam_than_paste_and_touches_nothing_else(host, name):
    if name == "absent":
        pytest.skip(f"the developers' pictures are not in {TRANSFER}")
    inputs = place_inputs(TRANSFER / name)
    target = inputs["target"]
    object_, mask, pasted, _ = host.run_node("DeepBlend_PlaceObject", **inputs)
    blended = host.run_node("DeepBlend_PoissonBlend", object=object_, mask=mask, target=target)
    assert torch.isfinite(blended).all()
    assert torch.equal(blended[mask == 0], target[mask == 0])
    inside = mask[0].numpy() > 0
    paste, poisson = (seam_jump(image[0].numpy(), inside) for image in (pasted, blended))
    assert poisson <= paste
    meta = json.loads((TRANSFER / name / "meta.json").read_text())
    assert abs(int((mask >= 0.5).sum()) - meta["mask_pixels_in_target"]) <= 0.02 * meta["mask_pixels_in_target"] + 5
