"""Runs methods on samples, several samples at once, and measures what they give."""

import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch

from evaluation_methods import METHODS, load_networks
from evaluation_metrics import CPU_SECONDS, WALL_SECONDS, as_8_bit, measure, measure_truth
from evaluation_sets import Sample
from lpips_squeeze import find_lpips
from pictures import to_numpy
from transfer_sets import SHARED

TRUTH_ROW = "truth"  # stands where a method does, for the true picture


class Result(NamedTuple):
    """rows: set, sample, method and measures of each method, and of the truth if it is known. pictures: by method, uint8
    `[H, W, 3]`."""

    sample: Sample
    rows: list[dict[str, str | float]]
    pictures: dict[str, np.ndarray]


def run_all(samples: list[Sample], keys: list[str], model: Path | None, workers: int) -> Iterator[Result]:
    """The results in the samples' order. keys: of METHODS. workers: processes, of one thread each."""
    run = partial(run_sample, keys=keys, model=model)
    if workers == 1:
        yield from map(run, samples)
        return
    # A process that is forked while threads run may hang.
    with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
        yield from pool.map(run, samples)


def run_sample(sample: Sample, keys: list[str], model: Path | None) -> Result:
    # Sums depend on the number of threads, and many small pictures are done faster with one each.
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    networks, lpips = load_networks(model, keys), find_lpips(SHARED / "models")
    rows, pictures = [], {}
    for key in keys:
        blend = METHODS[key].make(networks)
        begin = time.process_time(), time.perf_counter()
        image = blend(sample.object_, sample.mask, sample.target)
        end = time.process_time(), time.perf_counter()
        image = as_8_bit(image)
        times = {CPU_SECONDS: end[0] - begin[0], WALL_SECONDS: end[1] - begin[1]}
        rows.append(_row(sample, key, measure(image, sample, lpips) | times))
        pictures[key] = _bytes(image)
    if sample.truth is not None:
        rows.append(_row(sample, TRUTH_ROW, measure_truth(sample, lpips)))
        pictures[TRUTH_ROW] = _bytes(sample.truth)
    return Result(sample, rows, pictures)


def _row(sample, key, values):
    return {"set": sample.set_name, "sample": sample.name, "method": key, **values}


def _bytes(image):
    return (to_numpy(image).clip(0, 1) * 255).round().astype(np.uint8)
