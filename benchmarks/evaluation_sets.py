"""The pictures that methods are evaluated on: self-made ones whose right answer is known, and the developers' real ones."""

from fnmatch import fnmatchcase
from typing import NamedTuple

import cv2
import numpy as np
from torch import Tensor

from deepblend.blending_core.placement import place
from ground_truth import FAMILIES
from pictures import to_torch
from transfer_sets import SETS, TRANSFER, place_inputs

PAINTED = {"dib_1", "dib_3", "dib_5", "tficon_panda_sketch", "tficon_tower_sketch"}
REAL = [name for name in SETS if (TRANSFER / name).is_dir()]
# The real pictures, by what the object comes into.
REAL_SETS = {
    "paintings": [name for name in REAL if name in PAINTED],
    "photographs": [name for name in REAL if name not in PAINTED],
}
DESCRIPTIONS = {
    "outline": "rendered objects cut along their outline, the mask up to 4 pixels wrong, into another photograph; truth known",
    "margin": "rendered objects with a wide margin, onto the same kind of ground in another light; truth known",
    "recoloured": "a part of a photograph from a copy of it in another light; truth known",
    "paintings": "real pictures, the target a painting or a drawing; no truth",
    "photographs": "real pictures, the target a photograph; no truth",
}


class Sample(NamedTuple):
    """object_: the placed source with its surroundings, `[1, 3, H, W]` in 0..1; mask: `[1, 1, H, W]`; target, and the truth
    where it is known: `[1, 3, H, W]`."""

    set_name: str
    name: str
    object_: Tensor
    mask: Tensor
    target: Tensor
    truth: Tensor | None


def samples(patterns: list[str], long_side: int) -> list[Sample]:
    """Those that a pattern means: the name of a set, or "set/sample" with the wildcards * and ?.

    long_side: pixels; larger pictures are reduced to it, smaller ones are left as they are.

    Raises:
        ValueError: if a pattern means no sample.
    """
    found, unused = [], set(patterns)
    for set_name in DESCRIPTIONS:
        # Making a set takes a second.
        if not any(fnmatchcase(set_name, pattern.partition("/")[0]) for pattern in patterns):
            continue
        names, make = _family(set_name)
        for index, name in enumerate(names):
            fitting = {pattern for pattern in patterns if _means(pattern, set_name, name)}
            unused -= fitting
            if fitting:
                found.append(make(index, long_side))
    # A fresh machine has no real pictures; that is no mistake in the command.
    unused -= set() if REAL else set(REAL_SETS)
    if unused:
        raise ValueError(
            f"--sets: {', '.join(sorted(unused))} means no sample; {', '.join(DESCRIPTIONS)} are accepted, or set/sample "
            'with wildcards, such as "paintings/dib_*"'
        )
    return found


def _means(pattern: str, set_name: str, name: str) -> bool:
    whole_set, _, sample = pattern.partition("/")
    return fnmatchcase(set_name, whole_set) and fnmatchcase(name, sample or "*")


def _family(set_name: str):
    """Names of the set's samples, and a function of index and long side that makes one."""
    if set_name in REAL_SETS:
        names = REAL_SETS[set_name]
        return names, lambda index, long_side: _real_sample(set_name, names[index], long_side)
    family = FAMILIES[set_name]()
    return [sample.name for sample in family], lambda index, long_side: _made_sample(set_name, family[index], long_side)


def _made_sample(set_name, sample, long_side):
    pictures = (_reduced(image, long_side) for image in (sample.source, sample.target, sample.truth))
    source, target, truth = map(to_torch, pictures)
    mask = to_torch(_reduced(sample.mask.astype(float), long_side) >= 0.5).float()
    return Sample(set_name, sample.name, source, mask, target, truth)


def _reduced(image: np.ndarray, long_side: int) -> np.ndarray:
    factor = long_side / max(image.shape[:2])
    if factor >= 1:
        return image
    size = tuple(max(1, round(length * factor)) for length in image.shape[1::-1])
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)


def _real_sample(set_name, name, long_side):
    inputs = place_inputs(name)
    if max(inputs["target"].shape[1:3]) > long_side:
        inputs = place_inputs(name, long_side=long_side)
    source, target = (inputs[key].movedim(-1, 1).contiguous() for key in ("source", "target"))
    height, width = target.shape[-2:]
    center = inputs["x"] * width, inputs["y"] * height
    object_, mask = place(source, inputs["mask"][:, None], (height, width), center, inputs["scale"])
    return Sample(set_name, name, object_, mask, target, None)
