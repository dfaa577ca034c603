"""The ways to a mask that are compared: each a function of a picture, a box and a phrase. Nothing is downloaded."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torchvision.models import detection

from deepblend.segmentation import text_boxes
from deepblend.segmentation.checkpoints import named
from deepblend.segmentation.grabcut import grabcut_mask
from deepblend.segmentation.grounding_dino import TRANSFORMERS, detector_from_weights
from deepblend.segmentation.phrases import read_prompt, tokenize
from deepblend.segmentation.sam import BEST, Prompt, prompt_masks
from deepblend.segmentation.sam_original import segmenter_from_weights
from deepblend.segmentation.vocabulary import read_vocabulary
from evaluation_methods import read_weights
from pictures import to_torch

CHECKOUT = Path(__file__).resolve().parents[1]
# The first that is there is taken.
SAM = ("sam_vit_h_4b8939.pth", "sam_vit_l_0b3195.pth", "sam_vit_b_01ec64.pth")
GROUNDING_DINO = ("groundingdino_swinb_cogcoor.pth", "groundingdino_swint_ogc.pth")
MASK_R_CNN = {
    "maskrcnn_resnet50_fpn_v2_coco-73cbd019.pth": detection.maskrcnn_resnet50_fpn_v2,
    "maskrcnn_resnet50_fpn_coco-bf2d0c1e.pth": detection.maskrcnn_resnet50_fpn,
}
GRABCUT_ITERATIONS = 5  # the defaults of GrabCut Mask and Text to Box
BOX_THRESHOLD = 0.3
LEAST_SCORE = 0.5  # of what Mask R-CNN finds

Box = tuple[float, float, float, float]  # x0, y0, x1, y1 in pixels
Segment = Callable[[np.ndarray, Box, str], np.ndarray]


class NotRunError(Exception):
    """One sentence that says why."""


def models_folders() -> list[Path]:
    """Where files of weights are looked for: $DEEPBLEND_MODELS, the models of the ComfyUI in $COMFYUI_PATH, of the one that
    holds this checkout, and what torch has fetched before."""
    folders = [Path(os.environ["DEEPBLEND_MODELS"])] if os.environ.get("DEEPBLEND_MODELS") else []
    if os.environ.get("COMFYUI_PATH"):
        folders.append(Path(os.environ["COMFYUI_PATH"], "models"))
    if CHECKOUT.parent.name == "custom_nodes":
        folders.append(CHECKOUT.parent.parent / "models")
    return [*folders, Path(torch.hub.get_dir(), "checkpoints")]


def find(names: tuple[str, ...]) -> Path:
    """The first of these files that is there, anywhere below a folder of models.

    Raises:
        NotRunError: if none is.
    """
    for name in names:
        for folder in models_folders():
            for directory, _, files in os.walk(folder, followlinks=True):
                if name in files and _is_whole(path := Path(directory, name)):
                    return path
    raise NotRunError(
        f"none of {', '.join(names)} is there; they are looked for in $DEEPBLEND_MODELS and in the models of $COMFYUI_PATH"
    )


def _is_whole(path: Path) -> bool:
    checkpoint = named(path.name)
    return checkpoint is None or path.stat().st_size == checkpoint.size


def grabcut() -> tuple[str, Segment]:
    def segment(image, box, _phrase):
        left, top, right, bottom = (round(side) for side in box)
        try:
            return grabcut_mask(
                image, {"x": left, "y": top, "width": right - left, "height": bottom - top}, GRABCUT_ITERATIONS
            )
        except ValueError as error:
            raise NotRunError(str(error)) from error

    return "GrabCut Mask", segment


def sam() -> tuple[str, Segment]:
    path = find(SAM)
    network = segmenter_from_weights(read_weights(path))
    return f"SAM ({path.stem})", lambda image, box, _phrase: sam_mask(network, image, box)


def sam_mask(network, image: np.ndarray, box: Box) -> np.ndarray:
    with torch.no_grad():
        embedding = network.encode(to_torch(image)[0] / 255)
        return prompt_masks(network, embedding, [Prompt(box, (), ())], BEST, False)[0].numpy() > 0.5


def text_and_sam() -> tuple[str, Segment]:
    path, sam_path, vocabulary_path = find(GROUNDING_DINO), find(SAM), find(("vocab.txt",))
    weights = torch.load(path, map_location="cpu", weights_only=True)
    detector, network = (
        detector_from_weights(weights["model"], TRANSFORMERS),
        segmenter_from_weights(read_weights(sam_path)),
    )
    vocabulary = read_vocabulary(vocabulary_path)

    def segment(image, _box, phrase):
        if not phrase:
            raise NotRunError("the object has no name")
        phrases = read_prompt(phrase, BOX_THRESHOLD)
        tokens, positions = tokenize(phrases, vocabulary, detector.text_length)
        height, width = image.shape[:2]
        with torch.no_grad():
            logits, boxes = detector(text_boxes.detector_pixels(to_torch(image) / 255), torch.tensor([tokens]))
        scores = text_boxes.phrase_scores(logits[0], positions)
        found = text_boxes.boxes_above_thresholds(scores, boxes[0], phrases, width, height)
        if not found:
            return np.zeros((height, width), bool)
        x, y = found[0]["x"], found[0]["y"]
        return sam_mask(network, image, (x, y, x + found[0]["width"], y + found[0]["height"]))

    return f"GroundingDINO and SAM ({path.stem}, {sam_path.stem})", segment


def mask_r_cnn() -> tuple[str, Segment]:
    path = find(tuple(MASK_R_CNN))
    network = MASK_R_CNN[path.name](weights=None, weights_backbone=None).eval()
    network.load_state_dict(read_weights(path))

    def segment(image, box, _phrase):
        with torch.no_grad():
            (found,) = network([to_torch(image)[0] / 255])
        trusted = found["scores"] >= LEAST_SCORE
        if not trusted.any():
            return np.zeros(image.shape[:2], bool)
        overlaps = [box_iou(box, tuple(other)) for other in found["boxes"][trusted].tolist()]
        return found["masks"][trusted][int(np.argmax(overlaps)), 0].numpy() > 0.5

    return f"Mask R-CNN ({path.stem})", segment


def box_iou(first: Box, second: Box) -> float:
    """Intersection over union of two boxes."""
    width = max(0.0, min(first[2], second[2]) - max(first[0], second[0]))
    height = max(0.0, min(first[3], second[3]) - max(first[1], second[1]))
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (first, second)]
    return width * height / (sum(areas) - width * height)


# In words what each is given.
SEGMENTERS = {
    "grabcut": (grabcut, "GrabCut Mask: the box"),
    "sam": (sam, "SAM Mask: the box"),
    "text_and_sam": (
        text_and_sam,
        "Text to Box and SAM Mask: the object's name, and of the boxes the one with the best score",
    ),
    "mask_r_cnn": (
        mask_r_cnn,
        "torchvision's Mask R-CNN: nothing; of what it finds the object whose box fits the given one best",
    ),
}
