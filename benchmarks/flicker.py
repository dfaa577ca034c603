"""How much an object flickers in a video, and what a frame costs.

    python benchmarks/flicker.py [--frames 8] [--model FILE]

Three videos of every sample: its target stands still; it stands still but for grain, noise with a standard deviation of 2/255
that is new in every frame; a window moves over the picture and the object's box moves with what is in the window, so
that the frames can be laid over each other again. Prints, for every way to blend, the largest and the mean difference from one
frame to the next where the object covers the target fully, in 8-bit levels, and the mean evaluations and processor seconds of
the frames after the first. The rim lies within 4 pixels of the object's edge, where it has to meet the target's grain.
--model: VGG weights; without it the built-in model.
"""

import argparse
import sys
import time
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from auto_blend_quality import tensor
from deep_blend_quality import read_model

from blending_core import auto_blend
from blending_core.deep_blend import Settings, deep_blend_frame
from blending_core.differences import forward_differences
from blending_core.distance import distance_to_outside
from blending_core.opponent_edge_bank import OpponentEdgeBank
from blending_core.placement import Box, mask_box, place, scale_to_fit
from blending_core.poisson_blend import poisson_blend
from blending_core.recipes import PAINTING, PHOTOGRAPH, RECIPES
from ground_truth import FAMILIES

SAMPLES = (
    "cat rocket wood +2",
    "tissue wood rocket +3",
    "coffee on grass 0",
    "tissue on sky 0",
)  # two tight, two loose
GRAIN = 2 / 255
WINDOW, STEP = 256, (2, 5)  # pixels: side of the moving window, and how far it moves, down and to the right, in a frame
RIM = 4  # pixels
EVALUATIONS = 30


class Frame(NamedTuple):
    """What a blend takes, and by how much it must be moved, up and to the left, to lie over the first frame."""

    object: torch.Tensor
    mask: torch.Tensor
    target: torch.Tensor
    moved: tuple[int, int] = (0, 0)


class Run(NamedTuple):
    """Of every frame: picture, mask of the object, evaluations of the losses and processor seconds."""

    images: list[torch.Tensor]
    masks: list[torch.Tensor]
    evaluations: list[int]
    seconds: list[float]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--frames", type=int, default=8)
    parser.add_argument("--model", type=Path)
    arguments = parser.parse_args()
    model = read_model(arguments.model) if arguments.model else OpponentEdgeBank()
    torch.set_num_threads(1)
    samples = [sample for make in FAMILIES.values() for sample in make() if sample.name in SAMPLES]
    print("| video | blend | largest | at the rim | mean | evaluations | s |\n|---|---|---|---|---|---|---|")
    for make in (still, grain, moving):
        videos = [make(sample, arguments.frames) for sample in samples]
        runs = [all_runs(video, model) for video in videos]
        for name in runs[0]:
            inside, rim, mean = zip(
                *(differences(run[name], video) for run, video in zip(runs, videos, strict=True)), strict=True
            )
            counts = np.mean([run[name].evaluations[1:] for run in runs])
            seconds = np.mean([run[name].seconds[1:] for run in runs])
            numbers = f"{max(inside):.2f} | {max(rim):.2f} | {np.mean(mean):.3f} | {counts or '':.3} | {seconds:.2f}"
            print(f"| {make.__name__} | {name} | {numbers} |", flush=True)


def still(sample, frames):
    return [Frame(*map(tensor, (sample.source, sample.mask, sample.target)))] * frames


def grain(sample, frames):
    generator = torch.Generator().manual_seed(0)
    return [
        frame._replace(target=(frame.target + GRAIN * torch.randn(frame.target.shape, generator=generator)).clamp(0, 1))
        for frame in still(sample, frames)
    ]


def moving(sample, frames):
    """The object's box moves against the window as the picture does, and Place Object's rule fits the object into it."""
    source, mask, target, _ = still(sample, 1)[0]
    around, video = mask_box(mask[0, 0]), []
    for index in range(frames):
        top, left = (step * index for step in STEP)
        box = Box(around.x - left, around.y - top, around.width, around.height)
        scale = scale_to_fit(around.width, around.height, 0.0, box.width, box.height)
        center = box.x + box.width / 2, box.y + box.height / 2
        window = target[..., top : top + WINDOW, left : left + WINDOW]
        video.append(Frame(*place(source, mask, (WINDOW, WINDOW), center, scale), window, (-top, -left)))
    return video


def all_runs(video, model) -> dict[str, Run]:
    runs = {"exact Poisson": run(video, exact_poisson), "Auto Blend": run(video, lambda frame, _: seat(frame, None))}
    by_first_frame = runs["Auto Blend, first frame decides"] = run(video, seat)
    seated = [
        frame._replace(object=image, mask=mask)
        for frame, image, mask in zip(video, by_first_frame.images, by_first_frame.masks, strict=True)
    ]
    for recipe, number in ((PHOTOGRAPH, 1), (PAINTING, 1), (PAINTING, 2)):
        base = RECIPES[recipe]
        weights = (base.stage_1 if number == 1 else base.stage_2).scaled(histogram=0, total_variation=0)
        settings = Settings(weights, EVALUATIONS, base.keep_color_1 if number == 1 else base.keep_color_2)
        for title, warm in (("", False), (", video", True)):
            runs[f"stage {number}, {recipe}{title}"] = run(seated, partial(stage, model, settings, warm))
    return runs


def run(video, blend) -> Run:
    """blend: of a frame and what the frame before left, gives picture, mask, evaluations and what this frame leaves."""
    rows, left = [], None
    for frame in video:
        began = time.process_time()
        image, mask, evaluations, left = blend(frame, left)
        rows.append((image, mask, evaluations, time.process_time() - began))
    return Run(*map(list, zip(*rows, strict=True)))


def exact_poisson(frame, _):
    inside = frame.mask > 0
    return poisson_blend(frame.object, inside, frame.target, forward_differences(frame.object)), frame.mask, 0, None


def seat(frame, plan):
    inputs = frame.object, frame.mask, frame.target
    plan = plan or auto_blend.plan_seating(*inputs)
    return *auto_blend.seat(*inputs, plan, auto_blend.Settings()), 0, plan


def stage(model, settings, warm, frame, left):
    image, mask, target, _ = frame
    result, history, left = deep_blend_frame(
        image, mask, target, image, model, settings, blended=True, before=left if warm else None
    )
    return result, mask, len(history["total"]), left


def differences(run, video):
    """From one frame to the next, in 8-bit levels: the largest away from the object's rim, the largest at it, the mean."""
    laid_over = [
        [picture.roll([-step for step in frame.moved], (2, 3)) for picture in (image, mask == 1)]
        for image, mask, frame in zip(run.images, run.masks, video, strict=True)
    ]
    inside, rim, mean = [], [], []
    for (before, covered_before), (after, covered) in pairwise(laid_over):
        change = 255 * (after - before).abs().amax(1, keepdim=True)
        both = covered & covered_before
        at_rim = distance_to_outside(both, RIM + 1) <= RIM
        inside.append(float(change[both & ~at_rim].max()))
        rim.append(float(change[both & at_rim].max()))
        mean.append(float(change[both].mean()))
    return max(inside), max(rim), np.mean(mean)


if __name__ == "__main__":
    main()
