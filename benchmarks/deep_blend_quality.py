"""What the stages of deep blending do to the developers' pictures, and what the photograph recipe costs in truth.

    python benchmarks/deep_blend_quality.py [--model FILE] [--long-side 256] [--sheets FOLDER] [SET ...]

For every set it prints, for the recipes photograph (stage 1) and painting (both stages, without and with the saturation loss),
how far the losses fall, from Auto Blend's picture and from a paste, and the excess seam of the results. Then, unless sets are
named, the mean PSNR in dB of Auto Blend and of the photograph recipe on the families of ground_truth.py. --model: VGG weights;
without it the built-in model. With --sheets it writes one picture per set: paste, Auto Blend, photograph, painting stage 1,
stage 2, stage 2 with the saturation loss, published look stage 1 and 2, and where there are such the authors' two results.
"""

import argparse
import sys
from pathlib import Path

import cv2
import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from auto_blend_quality import array, tensor

from blending_core import auto_blend
from blending_core.composite import composite
from blending_core.deep_blend import Settings, deep_blend
from blending_core.opponent_edge_bank import OpponentEdgeBank
from blending_core.placement import place
from blending_core.recipes import PAINTING, PHOTOGRAPH, PUBLISHED_LOOK, RECIPES
from blending_core.vgg import VGG
from ground_truth import FAMILIES, psnr, regions
from transfer_sets import SETS, TRANSFER, judge, place_inputs

EVALUATIONS = 30
SHEET_HEIGHT = 360


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("sets", nargs="*", metavar="SET")
    parser.add_argument("--model", type=Path)
    parser.add_argument("--long-side", type=int, default=256)
    parser.add_argument("--sheets", type=Path)
    arguments = parser.parse_args()
    model = read_model(arguments.model) if arguments.model else OpponentEdgeBank()
    jumps = []
    for name in arguments.sets or SETS:
        print(name, flush=True)
        pictures, jump = measure_set(name, arguments.long_side, model)
        jumps.append(jump)
        if arguments.sheets:
            arguments.sheets.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(arguments.sheets / f"{name}.png"), sheet(name, *pictures)[..., ::-1])
    print("mean excess seam: Auto Blend, painting stage 1, stage 2, with saturation loss", np.mean(jumps, 0).round(2))
    if not arguments.sets:
        measure_truth(model)


def read_model(path):
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        return VGG(load_file(path))
    return VGG(torch.load(path, map_location="cpu", weights_only=True))


def measure_set(name, long_side, model):
    inputs = place_inputs(name, long_side=long_side)
    source, target = (inputs[key].movedim(-1, 1).contiguous() for key in ("source", "target"))
    height, width = target.shape[-2:]
    center = inputs["x"] * width, inputs["y"] * height
    object_, mask = place(source, inputs["mask"][:, None], (height, width), center, inputs["scale"])
    pasted = composite(object_, mask, target)
    plan = auto_blend.plan_seating(object_, mask, target)
    seated, seated_mask = auto_blend.seat(object_, mask, target, plan, auto_blend.Settings())

    def stage(number, recipe, image, saturation=True):
        base = RECIPES[recipe]
        weights = base.stage_1 if number == 1 else base.stage_2
        weights = weights.scaled(histogram=0, total_variation=0, saturation=float(saturation))
        settings = Settings(weights, EVALUATIONS, base.keep_color_1 if number == 1 else base.keep_color_2)
        return deep_blend(image, seated_mask, target, image, model, settings)

    photograph, history = stage(1, PHOTOGRAPH, seated)
    report("photograph, stage 1", history)
    first, history = stage(1, PAINTING, seated)
    report("painting, stage 1", history)
    weights = RECIPES[PAINTING].stage_1.scaled(histogram=0, total_variation=0)
    _, history = deep_blend(object_, mask, target, pasted, model, Settings(weights, EVALUATIONS))
    report("painting, stage 1 from a paste", history)
    second, history = stage(2, PAINTING, first, saturation=False)
    report("painting, stage 2", history)
    saturated, history = stage(2, PAINTING, first)
    report("painting, stage 2 with saturation loss", history)
    bold, _ = stage(1, PUBLISHED_LOOK, seated)
    bolder, _ = stage(2, PUBLISHED_LOOK, bold)

    inside = mask[0, 0].numpy() > 0.5
    seams = [
        judge(array(image), array(object_), inside).seam for image in (seated, photograph, first, second, saturated)
    ]
    print("  excess seam: Auto Blend {:.1f}, photograph {:.1f}, painting {:.1f}, {:.1f}, {:.1f}".format(*seams))
    images = [pasted, seated, photograph, first, second, saturated, bold, bolder]
    return ([array(image) for image in images], inside), [seams[index] for index in (0, 2, 3, 4)]


def report(title, history):
    changes = (f"{name} {values[0]:.3f} -> {values[-1]:.3f}" for name, values in history.items())
    print(f"  {title + ':':40s} {', '.join(changes)}")


def sheet(name, images, inside):
    """The pictures around the object, side by side, in two rows."""
    for stage in ("first", "second"):
        path = TRANSFER / name / f"reference_{stage}_pass.png"
        if path.exists():
            reference = cv2.imread(str(path))[..., ::-1] / 255
            images.append(cv2.resize(reference, inside.shape[::-1], interpolation=cv2.INTER_AREA))
    ys, xs = np.nonzero(inside)
    margin = round(0.3 * len(ys) ** 0.5)
    rows = slice(max(ys.min() - margin, 0), ys.max() + margin)
    columns = slice(max(xs.min() - margin, 0), xs.max() + margin)
    factor = SHEET_HEIGHT / images[0][rows, columns].shape[0]
    size = round(images[0][rows, columns].shape[1] * factor), SHEET_HEIGHT
    images = [cv2.resize(image[rows, columns], size, interpolation=cv2.INTER_CUBIC) for image in images]
    images += [np.ones_like(images[0])] * (len(images) % 2)
    half = len(images) // 2
    sheet = np.vstack([np.hstack(images[:half]), np.hstack(images[half:])])
    return (sheet.clip(0, 1) * 255).round().astype(np.uint8)


def measure_truth(model):
    base = RECIPES[PHOTOGRAPH]
    settings = Settings(base.stage_1.scaled(histogram=0, total_variation=0), EVALUATIONS, base.keep_color_1)
    for family, make in FAMILIES.items():
        scores = []
        for sample in make():
            inputs = tensor(sample.source), tensor(sample.mask), tensor(sample.target)
            plan = auto_blend.plan_seating(*inputs)
            seated, mask = auto_blend.seat(*inputs, plan, auto_blend.Settings())
            image, _ = deep_blend(seated, mask, inputs[2], seated, model, settings)
            where = regions(sample)["mask"]
            scores.append([psnr(array(picture), sample.truth, where) for picture in (seated, image)])
        print("{}: Auto Blend {:.2f} dB, with the photograph recipe {:.2f} dB".format(family, *np.mean(scores, 0)))


if __name__ == "__main__":
    main()
