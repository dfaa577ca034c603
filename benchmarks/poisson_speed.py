"""What solving the Poisson equation costs and how exact it is, beside its peers, in one process and in turns.

    python benchmarks/poisson_speed.py [--sizes 256 512] [--pictures ellipse dib_3] [--repeats 5] [--threads 1]
        [--device cuda]

Prints a Markdown table: median CPU and wall seconds; largest and mean error against the exact solution, both clipped to 0..255;
largest residual of the equation on the mask, in float64; pixels changed outside the mask. Errors and residuals are in 8-bit
levels. Peers: SciPy's sparse direct solver with its assembly (up to 1024 pixels; above, "exact" is our solver in
float64), cv2.seamlessClone, and, where fpie can be imported, its best solver with 5000 iterations (up to 512 pixels).
Pictures: an ellipse of 2.7 million pixels at 2048, and sets of ../shared/data/transfer, whose masks are kept off the frame because
not all peers can solve there. --device: where ours computes, besides the processor, transfers there and back
included. Needs the tests' environment.
"""

import argparse
import json
import sys
import time
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image
from scipy.sparse import coo_matrix
from scipy.sparse.linalg import splu

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from blending_core.differences import forward_differences
from blending_core.poisson import solve_poisson
from pictures import smooth_picture, to_torch
from transfer_sets import TRANSFER

try:
    from fpie.process import DEFAULT_BACKEND, EquProcessor
except ImportError:
    DEFAULT_BACKEND = None

FPIE_ITERATIONS = 5000
SCALE = 256  # of 8-bit levels; a power of two, so that the background stays bit-equal on the way
LARGEST = {"SciPy splu": 1024, "fpie": 512}  # pixels
PATIENCE = 30.0  # CPU seconds; a method that has used so many on one picture is not repeated
STEPS = ((0, 1), (0, -1), (1, 0), (-1, 0))


def ellipse_pictures(size):
    """Source, mask, target: 8-bit, with waves and noise."""
    noise = np.random.default_rng(0).normal(0, 4, (2, size, size, 3))
    source, target = (
        (smooth_picture(size, size, seed) * 255 + noise[seed]).clip(0, 255).round().astype(np.uint8) for seed in (0, 1)
    )
    y, x = (np.mgrid[:size, :size] + 0.5) / size - 0.5
    return source, off_frame((x / 0.473) ** 2 + (y / 0.448) ** 2 < 1), target


def off_frame(inside):
    inside[[0, -1]] = inside[:, [0, -1]] = False
    return inside


def transfer_pictures(name, size):
    """A set, placed as its notes say, on a square target of this side."""
    folder = TRANSFER / name
    source, mask, target = (
        np.asarray(Image.open(folder / f"{part}.png").convert(mode))
        for part, mode in (("source", "RGB"), ("mask", "L"), ("target", "RGB"))
    )
    placement = json.loads((folder / "meta.json").read_text())["placement"]
    factor = np.array([size / target.shape[1], size / target.shape[0]])
    box = [round(v) for v in placement["scaled_source_size"] * factor]
    left, top = (round(v) for v in placement["top_left_xy"] * factor)
    shift = np.array([[box[0] / source.shape[1], 0, left], [0, box[1] / source.shape[0], top]])
    shift[:, 2] += (shift[0, 0] - 1) / 2, (shift[1, 1] - 1) / 2
    placed = cv2.warpAffine(source, shift, (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    inside = cv2.warpAffine(mask, shift, (size, size), flags=cv2.INTER_LINEAR) >= 128
    return placed, off_frame(inside), cv2.resize(target, (size, size), interpolation=cv2.INTER_AREA)


def ours(source, inside, target, dtype=torch.float32, tolerance=1e-5, device="cpu"):
    source, target = (to_torch(image, dtype).to(device) / SCALE for image in (source, target))
    inside = to_torch(inside).to(device)
    start, guidance = torch.where(inside, source, target), forward_differences(source)
    return solve_poisson(start, inside, guidance, tolerance=tolerance)[0].movedim(0, -1).cpu().numpy() * SCALE


def scipy_direct(source, inside, target):
    number = np.full(inside.shape, -1)
    number[inside] = np.arange(inside.sum())
    y, x = np.nonzero(inside)
    source, target = source.astype(float), target.astype(float)
    right_side = np.zeros((len(y), 3))
    rows, columns = [np.arange(len(y))], [np.arange(len(y))]
    for dy, dx in STEPS:
        near = number[y + dy, x + dx]
        right_side += source[y, x] - source[y + dy, x + dx]
        right_side[near < 0] += target[y + dy, x + dx][near < 0]
        rows.append(np.flatnonzero(near >= 0))
        columns.append(near[near >= 0])
    values = np.concatenate([np.full(len(y), 4.0), *(np.full(len(r), -1.0) for r in rows[1:])])
    matrix = coo_matrix((values, (np.concatenate(rows), np.concatenate(columns)))).tocsc()
    target[inside] = splu(matrix, permc_spec="MMD_AT_PLUS_A", options={"SymmetricMode": True}).solve(right_side)
    return target


def seamless_clone(source, inside, target):
    y, x = np.nonzero(inside)
    center = [int(v.min() + (np.ptp(v) + 1) // 2) for v in (x, y)]  # it puts the middle of the mask's box here
    return cv2.seamlessClone(source, target, inside.astype(np.uint8) * 255, center, cv2.NORMAL_CLONE)


def fpie(source, inside, target):
    processor = EquProcessor("src", DEFAULT_BACKEND, torch.get_num_threads())
    processor.reset(source, inside.astype(np.uint8) * 255, target, (0, 0), (0, 0))
    return processor.step(FPIE_ITERATIONS)[0]


def residual(image, source, inside):
    change = image.astype(float) - source
    y, x = np.nonzero(inside)
    return np.abs(sum(change[y, x] - change[y + dy, x + dx] for dy, dx in STEPS)).max()


def timed(function, *pictures):
    cpu, wall = time.process_time(), time.perf_counter()
    result = function(*pictures)
    return result, time.process_time() - cpu, time.perf_counter() - wall


def compare(name, size, pictures, methods, repeats):
    source, inside, target = pictures
    methods = {key: method for key, method in methods.items() if size <= LARGEST.get(key.split(",")[0], size)}
    results, times = {}, {key: [] for key in methods}
    for _ in range(repeats):
        for key, method in methods.items():
            if sum(cpu for cpu, _ in times[key]) < PATIENCE:
                results[key], *seconds = timed(method, *pictures)
                times[key].append(seconds)
    exact = results.get("SciPy splu")
    if exact is None:
        exact = ours(*pictures, dtype=torch.float64, tolerance=1e-10)
    for key, result in results.items():
        error = np.abs(result.clip(0, 255) - exact.clip(0, 255))[inside]
        cpu, wall = np.median(times[key], 0)
        changed = int((result != target).any(-1)[~inside].sum())
        print(
            f"| {name} | {size} | {inside.sum():,} | {key} | {cpu:.3f} | {wall:.3f} | {len(times[key])} | "
            f"{error.max():.2g} | {error.mean():.2g} | {residual(result, source, inside):.2g} | {changed:,} |",
            flush=True,
        )


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[256, 512, 1024, 2048])
    parser.add_argument("--pictures", nargs="+", default=["ellipse", "dib_1", "dib_3", "dib_5"])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    cv2.setNumThreads(options.threads)
    methods = {"ours": ours, "SciPy splu": scipy_direct, "cv2.seamlessClone": seamless_clone}
    if options.device:
        methods[f"ours, {options.device}"] = partial(ours, device=options.device)
    if DEFAULT_BACKEND:
        methods[f"fpie, {DEFAULT_BACKEND}"] = fpie
    for method in methods.values():  # what is loaded or compiled at the first call is not timed
        method(*ellipse_pictures(32))
    print("| picture | side | unknowns | method | CPU s | wall s | n | error | mean | residual | changed outside |")
    print("|---|---|---|---|---|---|---|---|---|---|---|")
    for size in options.sizes:
        for name in options.pictures:
            if name == "ellipse":
                compare(name, size, ellipse_pictures(size), methods, options.repeats)
            elif (TRANSFER / name).is_dir():
                compare(name, size, transfer_pictures(name, size), methods, options.repeats)


if __name__ == "__main__":
    main()
