"""From a picture and phrases to boxes: what goes into a GroundingDINO and what is made of what comes out.

Both are done here and not by the libraries' processors, whose pictures and names differ between versions.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from .boxes import BoxDict
from .phrases import Phrase

# GroundingDINO's own evaluation: the shorter side becomes 800 pixels, unless the longer one would pass 1333.
SHORTER_SIDE = 800
LONGEST_SIDE = 1333
LEAST_SIDE = 40  # of very long pictures: the network chooses its 900 boxes from as many places at least
MEAN = (0.485, 0.456, 0.406)
STANDARD_DEVIATION = (0.229, 0.224, 0.225)

# Of two boxes of one phrase that overlap by more (intersection over union), the one with the lower score is the same
# object seen twice. The detector is trained to find each object once, so that only near copies are left to remove, and
# two people who embrace must stay two.
SAME_OBJECT = 0.8

ALL, BEST, LARGEST, LEFT, RIGHT, INDEX = "all", "best", "largest", "left", "right", "index"
SELECTIONS = (ALL, BEST, LARGEST, LEFT, RIGHT, INDEX)


def input_size(height: int, width: int) -> tuple[int, int]:
    """Height and width at which the detector looks at a picture of this size."""
    shorter, longer = min(height, width), max(height, width)
    side = min(SHORTER_SIDE, round(LONGEST_SIDE * shorter / longer))
    size = (side, int(side * longer / shorter)) if side >= LEAST_SIDE else (LEAST_SIDE, LONGEST_SIDE)
    return size if height <= width else size[::-1]


def detector_pixels(picture: Tensor) -> Tensor:
    """`[1, 3, H, W]` in 0..1, resized and normalised for the detector."""
    size = input_size(*picture.shape[-2:])
    resized = F.interpolate(picture, size, mode="bilinear", antialias=True, align_corners=False)
    mean, deviation = (resized.new_tensor(values)[:, None, None] for values in (MEAN, STANDARD_DEVIATION))
    return (resized - mean) / deviation


def phrase_scores(logits: Tensor, positions: list[list[int]]) -> Tensor:
    """Score in 0..1 of every query for every phrase, `[Q, P]`: the highest of the phrase's tokens.

    logits: `[Q, T]`, before the sigmoid; positions: of each phrase's tokens.
    """
    return torch.stack([logits[:, tokens].amax(1) for tokens in positions], 1).sigmoid()


def boxes_above_thresholds(
    scores: Tensor, boxes: Tensor, phrases: list[Phrase], width: int, height: int
) -> list[BoxDict]:
    """The boxes that reach their phrase's threshold, the highest score first.

    A query stands for one object: of the phrases whose thresholds it reaches it gets the one with the highest score.

    Args:
        scores: `[Q, P]` in 0..1.
        boxes: `[Q, 4]` centre x, centre y, width, height as fractions of the picture.
        phrases: the P phrases.
        width, height: of the picture in pixels.

    Returns:
        boxes inside the picture, in whole pixels, with the phrase as `label` and a `score`.
    """
    try:
        from torchvision.ops import batched_nms
    except ImportError as error:
        raise ImportError(
            f"Text to Box needs torchvision, which cannot be imported ({error}); install torchvision"
        ) from error

    scores, boxes = scores.float().cpu(), boxes.float().cpu()
    thresholds = scores.new_tensor([phrase.threshold for phrase in phrases])
    score, phrase = torch.where(scores >= thresholds, scores, -1).max(1)
    center, size = boxes[:, :2], boxes[:, 2:]
    extent = boxes.new_tensor([width, height, width, height])
    corners = torch.cat([center - size / 2, center + size / 2], 1).clamp(0, 1) * extent
    found = ((score >= 0) & torch.isfinite(corners).all(1)).nonzero()[:, 0]
    found = found[batched_nms(corners[found], score[found], phrase[found], SAME_OBJECT)]
    kept = []
    for query in found.tolist():
        left, top, right, bottom = (round(side) for side in corners[query].tolist())
        if right > left and bottom > top:
            box = {"x": left, "y": top, "width": right - left, "height": bottom - top}
            kept.append({**box, "label": phrases[phrase[query]].text, "score": score[query].item()})
    # Equal scores leave the order to the sides, so that it does not depend on the sorting algorithm.
    return sorted(kept, key=lambda box: (-box["score"], box["x"], box["y"], box["width"], box["height"]))


def select_boxes(boxes: list[BoxDict], selection: str, index: int) -> list[BoxDict]:
    """Those of the boxes, the highest score first, that the selection means; none if there is none of that index."""
    if selection == ALL or not boxes:
        return boxes
    if selection == INDEX:
        return boxes[index : index + 1]
    if selection == BEST:
        return boxes[:1]
    value = {
        LARGEST: lambda box: box["width"] * box["height"],
        LEFT: lambda box: -box["x"],
        RIGHT: lambda box: box["x"] + box["width"],
    }[selection]
    return [max(boxes, key=value)]  # the first of equals
