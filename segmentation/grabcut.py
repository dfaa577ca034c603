"""GrabCut segmentation from a box (Rother et al. 2004), as OpenCV implements it."""

from collections.abc import Callable

import numpy as np

from .boxes import BoxDict, clip_box, describe

# OpenCV draws the first colour clusters at random, from a generator that the whole process shares; it is seeded before
# each use, so that the same picture gives the same mask.
RANDOM_SEED = 0
# OpenCV's colour model has five clusters; with fewer pixels on either side it fails.
LEAST_PIXELS = 5
# Longest side at which the object is looked for. In larger pictures only a band along the outline that was found is then
# decided again pixel by pixel, since the time grows with the area.
COARSE_SIDE = 1024
LEAST_COARSE_BOX = 8  # pixels that the box's shorter side keeps there, so that thin objects are not lost


def grabcut_mask(
    image: np.ndarray,
    box: BoxDict,
    iterations: int,
    on_step: Callable[[int, int], None] | None = None,
) -> np.ndarray:
    """Separate the object in a box from its background.

    Pixels outside the box are background; of those, the ones farther from the box than its own longer side are not
    looked at, so that the background's colours are those around the object and large pictures stay fast.

    Args:
        image: `[H, W, 3]` uint8 RGB.
        box: the object's box; it may reach out of the picture.
        iterations: rounds of colour model and graph cut.
        on_step: called with the round and the number of rounds before each; may raise to stop.

    Returns:
        bool `[H, W]`.

    Raises:
        ValueError: if the box lies outside the picture or leaves no background in it.
        ImportError: if OpenCV is not installed.
    """
    try:
        import cv2
    except ImportError as error:
        raise ImportError(
            f"GrabCut needs OpenCV, which cannot be imported ({error}); install opencv-python, "
            "or opencv-python-headless on a server without graphics libraries"
        ) from error

    height, width = image.shape[:2]
    box = clip_box(box, width, height)
    if width * height - box["width"] * box["height"] < LEAST_PIXELS:
        raise ValueError(
            f"bboxes: {describe(box)} covers the whole picture of {width}×{height} pixels; "
            "GrabCut learns the background from the pixels outside the box, so leave some around the object"
        )
    if box["width"] * box["height"] < LEAST_PIXELS:
        raise ValueError(f"bboxes: {describe(box)} is too small for GrabCut; at least {LEAST_PIXELS} pixels are needed")

    margin = max(box["width"], box["height"])
    top, left = max(box["y"] - margin, 0), max(box["x"] - margin, 0)
    region = np.s_[top : box["y"] + box["height"] + margin, left : box["x"] + box["width"] + margin]
    crop = np.ascontiguousarray(image[region][..., ::-1])
    labels = np.full(crop.shape[:2], cv2.GC_BGD, np.uint8)
    inner_top, inner_left = box["y"] - top, box["x"] - left
    labels[inner_top : inner_top + box["height"], inner_left : inner_left + box["width"]] = cv2.GC_PR_FGD

    factor = -(-max(crop.shape[:2]) // COARSE_SIDE)
    factor = min(factor, max(1, min(box["width"], box["height"]) // LEAST_COARSE_BOX))
    size = (-(-crop.shape[1] // factor), -(-crop.shape[0] // factor))
    coarse = cv2.resize(crop, size, interpolation=cv2.INTER_AREA)
    # A coarse pixel that holds any background is background, so that the thinnest strip of it is still there.
    in_box = cv2.resize((labels == cv2.GC_PR_FGD).astype(np.float32), size, interpolation=cv2.INTER_AREA)
    coarse_labels = np.where(in_box > 0.999, cv2.GC_PR_FGD, cv2.GC_BGD).astype(np.uint8)
    _cut(cv2, coarse, coarse_labels, iterations, on_step)
    if factor == 1:
        labels = coarse_labels
    elif (coarse_labels == cv2.GC_PR_FGD).any():
        labels = _refined(cv2, crop, labels, coarse_labels, factor)
    else:
        labels[:] = cv2.GC_BGD
    mask = np.zeros((height, width), bool)
    mask[region] = (labels == cv2.GC_PR_FGD) | (labels == cv2.GC_FGD)
    return mask


def _cut(cv2, picture, labels, iterations, on_step=None):
    """Run GrabCut on OpenCV's labels, in place."""
    cv2.setRNGSeed(RANDOM_SEED)
    background, foreground = np.zeros((1, 65)), np.zeros((1, 65))
    for step in range(iterations):
        if on_step:
            on_step(step, iterations)
        if not np.isin(labels, (cv2.GC_PR_FGD, cv2.GC_FGD)).any():
            break  # everything went to the background: there is no object colour left to model
        mode = cv2.GC_INIT_WITH_MASK if step == 0 else cv2.GC_EVAL
        cv2.grabCut(picture, labels, None, background, foreground, 1, mode)


def _refined(cv2, picture, labels, coarse_labels, factor):
    """Labels at full size: those of the coarse picture, decided again within two of its pixels from the outline."""
    size = picture.shape[1::-1]
    found = cv2.resize((coarse_labels == cv2.GC_PR_FGD).astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)
    reach = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (4 * factor + 1, 4 * factor + 1))
    outer, inner = cv2.dilate(found, reach), cv2.erode(found, reach)
    refined = np.where(inner > 0, cv2.GC_FGD, np.where(found > 0, cv2.GC_PR_FGD, cv2.GC_PR_BGD)).astype(np.uint8)
    refined[(outer == 0) | (labels == cv2.GC_BGD)] = cv2.GC_BGD
    x, y, width, height = cv2.boundingRect(cv2.dilate(outer, reach))
    near = np.s_[y : y + height, x : x + width]
    part = np.ascontiguousarray(refined[near])
    _cut(cv2, np.ascontiguousarray(picture[near]), part, 1)
    refined[near] = part
    return refined
