"""Makes the pictures of docs/blends: what each way to blend makes of the same four objects.

    python benchmarks/blend_gallery.py [METHOD ...] [--output docs/blends]

A patch cut with a rim of cloth, the same cut along its outline, writing on paper, and the patch with its rim in a picture full
of texture. The photographs come from scikit-image's package: "astronaut" (NASA, public domain), "coffee" (Rachel Michetti,
CC0), "brick" (CC0), "text" (public domain) and "immunohistochemistry" (Center for Microscopy And Molecular Imaging, no known
copyright restrictions). Needs the tests' environment; methods are those of evaluate.py, with the built-in features.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import skimage.data
import torch
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
import deepblend_package  # noqa: F401
from deepblend.blending_core.morphology import dilate, erode
from deepblend.blending_core.placement import place
from deepblend.segmentation.components import fill_holes, keep_largest
from deepblend.segmentation.grabcut import grabcut_mask
from evaluation_methods import METHODS, load_networks
from pictures import to_numpy, to_torch

PANEL = 176  # pixels, the side of each of the four pictures
SHOWN = ["paste", "poisson", "poisson_mixed", "multiband", "gaussian_poisson", "auto", "photograph", "deep_saturation"]
PATCH = {"x": 125, "y": 335, "width": 95, "height": 100}  # on the astronaut's suit
WRITING = {"x": 2, "y": 84, "width": 196, "height": 86}
RIM = 12  # pixels of cloth around the patch


def scenes():
    """Object, mask and target of each of the four."""
    suit = skimage.data.astronaut()
    patch = fill_holes(keep_largest(grabcut_mask(suit, PATCH, 5).astype(float)))
    patch = erode(to_torch(patch), 2)
    tissue = skimage.data.immunohistochemistry()
    wood = skimage.data.coffee()[200:400, 400:600]
    brick = skimage.data.brick()[:240, :240, None] * np.array([0.95, 0.6, 0.5])
    paper = np.repeat(skimage.data.text()[..., None], 3, 2)
    around = np.zeros(paper.shape[:2])
    around[WRITING["y"] :, WRITING["x"] :][: WRITING["height"], : WRITING["width"]] = 1
    return [
        placed(suit, dilate(patch, 2 + RIM), wood, 1.15, -20.0),
        placed(suit, dilate(patch, 2), wood, 1.15, -20.0),
        placed(paper, to_torch(around), brick, 1.0, 0.0),
        placed(suit, dilate(patch, 2 + RIM), tissue[130:330, 160:360], 1.15, -20.0),
    ]


def placed(source, mask, target, scale, rotation):
    """In the middle of the target, whose `[H, W, 3]` colours and those of the source are 0..255."""
    source, target = (to_torch(image / 255) for image in (source, target))
    height, width = target.shape[-2:]
    return *place(source, mask, (height, width), (width / 2, height / 2), scale, rotation), target


def panel(picture):
    image = Image.fromarray((to_numpy(picture).clip(0, 1) * 255).round().astype(np.uint8))
    return np.asarray(image.resize((PANEL, PANEL), Image.Resampling.LANCZOS))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("methods", nargs="*", default=SHOWN, metavar="METHOD", help=", ".join(METHODS))
    parser.add_argument("--output", type=Path, default=Path(__file__).resolve().parents[1] / "docs" / "blends")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    arguments.output.mkdir(parents=True, exist_ok=True)
    inputs = scenes()
    for key in arguments.methods:
        blend = METHODS[key].make(load_networks(None, [key]))
        strip = np.hstack([panel(blend(*scene)) for scene in inputs])
        Image.fromarray(strip).save(arguments.output / f"{key}.jpg", quality=88)


if __name__ == "__main__":
    main()
