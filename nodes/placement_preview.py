"""What the placement widget shows after a run: small pictures in ComfyUI's folder for temporary files, and their places."""

import logging
import math

import torch
from torch import Tensor

from ..blending_core.placement import mask_box
from ..blending_core.region import spanned_region
from ..blending_core.resample import resize, resize_visible
from ..segmentation.boxes import SIDES, BoxDict
from .preview_pictures import bounded_size, save_temporary

logger = logging.getLogger(__name__)

LARGEST_SIDE = 1024  # pixels; the widget is a few hundred wide
MOST_FRAMES = 16  # of a batch
MOST_PIXELS = 4 * 1024**2  # of the targets of all frames together, likewise of the objects


class PlacementPreview:
    """Gathers the `ui` output of a batch that is placed sample by sample; of a large one, frames spread evenly over it.

    Args:
        count: samples of the batch.
        numbers, flip: as the node got them, for those that come through a link.
    """

    def __init__(self, count: int, numbers: dict[str, float], flip: bool):
        shown = min(count, MOST_FRAMES)
        self.count = count
        self.indices = {round(place * (count - 1) / max(shown - 1, 1)) for place in range(shown)}
        self.largest_side = min(LARGEST_SIDE, math.isqrt(MOST_PIXELS // shown))
        # A link may bring numbers of NumPy, which cannot be sent.
        self.values = {**{name: float(number) for name, number in numbers.items()}, "flip": bool(flip)}
        self.frames: list[dict] = []
        self.last: dict[str, tuple[Tensor, dict[str, str]]] = {}  # picture and file of the frame before, by their role

    def add(self, index: int, sample: dict[str, Tensor], boxes: list[BoxDict]) -> None:
        """Write what is to be seen of a sample, if it is one of those to be shown.

        Args:
            index: its place in the batch.
            sample: source, mask, target and perhaps occluder, `[1, C, H, W]`.
            boxes: of this sample; the first one replaced x, y and scale.
        """
        if index not in self.indices:
            return
        try:
            self.frames.append(self._frame(index, sample, boxes))
        except OSError as error:
            logger.warning("Place Object: the pictures for its widget cannot be written (%s)", error)
            self.indices, self.frames = set(), []

    def ui(self) -> dict | None:
        """`{"placement": [...]}` with an entry per frame: sizes of source and target, files, and boxes in pixels of the
        source or the target. None if the files could not be written."""
        return {"placement": self.frames} if self.frames else None

    def _frame(self, index: int, sample: dict[str, Tensor], boxes: list[BoxDict]) -> dict:
        source, mask, target = sample["source"], sample["mask"], sample["target"]
        box, visible = mask_box(mask[0, 0]), spanned_region(mask[0, 0] > 0)
        size = bounded_size(target, self.largest_side)
        shrunk = resize(target, size) if target.shape[1] == 3 else _visible(target, size)
        frame = {
            "frame": index,
            "frames": self.count,
            "values": self.values,
            "source": _size(source),
            "target": {"size": _size(target), "file": self._saved("target", shrunk)},
            "mask_box": box and box._asdict(),
            "object": None,
            "occluder": None,
            "box": {side: boxes[0][side] for side in SIDES} if boxes else None,
        }
        if visible:
            rows, columns = visible
            cut_out = torch.cat([source, mask], 1)[..., rows, columns]
            crop = {"x": columns.start, "y": rows.start, **_size(cut_out)}
            file = self._saved("object", _visible(cut_out, bounded_size(cut_out, self.largest_side)))
            frame["object"] = {"file": file, "crop": crop}
        if "occluder" in sample:
            alpha = resize(sample["occluder"], size)
            opaque = torch.cat([torch.ones_like(alpha).expand(-1, 3, -1, -1), alpha], 1)
            frame["occluder"] = self._saved("occluder", opaque)
        return frame

    def _saved(self, role: str, image: Tensor) -> dict[str, str]:
        """The picture's file: that of the frame before if it shows the same, as where one target receives many objects."""
        last = self.last.get(role)
        if last and torch.equal(last[0], image):
            return last[1]
        file = save_temporary(image, f"placement_{role}")
        self.last[role] = image, file
        return file


def _size(image: Tensor) -> dict[str, int]:
    return {"width": image.shape[3], "height": image.shape[2]}


def _visible(image: Tensor, size: list[int]) -> Tensor:
    return torch.cat(resize_visible(image, size), 1)
