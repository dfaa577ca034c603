"""What the placement widget shows after a run: small pictures in ComfyUI's folder for temporary files, and their places."""

import logging

import torch
from torch import Tensor

from ..blending_core.placement import mask_box
from ..blending_core.region import spanned_region
from ..blending_core.resample import resize, resize_visible
from ..segmentation.boxes import SIDES, BoxDict
from .preview_pictures import bounded_size, save_temporary

logger = logging.getLogger(__name__)

LARGEST_SIDE = 1024  # pixels; the widget is a few hundred wide


def placement_preview(
    sample: dict[str, Tensor], boxes: list[BoxDict], numbers: dict[str, float], flip: bool
) -> dict | None:
    """The `ui` output of one placed sample.

    Args:
        sample: source, mask, target and perhaps occluder, `[1, C, H, W]`.
        boxes: of this sample; the first one replaced x, y and scale.
        numbers, flip: as the node got them, for those that come through a link.

    Returns:
        `{"placement": [...]}` with one entry: source and target sizes, files, and boxes in pixels of the source or the
        target. None, with a warning, if the files cannot be written.
    """
    source, mask, target = sample["source"], sample["mask"], sample["target"]
    box, visible = mask_box(mask[0, 0]), spanned_region(mask[0, 0] > 0)
    preview = {
        # A link may bring numbers of NumPy, which cannot be sent.
        "values": {**{name: float(number) for name, number in numbers.items()}, "flip": bool(flip)},
        "source": _size(source),
        "target": {"size": _size(target)},
        "mask_box": box and box._asdict(),
        "object": None,
        "occluder": None,
        "box": {side: boxes[0][side] for side in SIDES} if boxes else None,
    }
    try:
        size = bounded_size(target, LARGEST_SIDE)
        preview["target"]["file"] = _saved(resize(target, size) if target.shape[1] == 3 else _visible(target, size))
        if visible:
            rows, columns = visible
            cut_out = torch.cat([source, mask], 1)[..., rows, columns]
            crop = {"x": columns.start, "y": rows.start, **_size(cut_out)}
            preview["object"] = {"file": _saved(_visible(cut_out, bounded_size(cut_out, LARGEST_SIDE))), "crop": crop}
        if "occluder" in sample:
            alpha = resize(sample["occluder"], size)
            preview["occluder"] = _saved(torch.cat([torch.ones_like(alpha).expand(-1, 3, -1, -1), alpha], 1))
    except OSError as error:
        logger.warning("Place Object: the pictures for its widget cannot be written (%s)", error)
        return None
    return {"placement": [preview]}


def _size(image: Tensor) -> dict[str, int]:
    return {"width": image.shape[3], "height": image.shape[2]}


def _visible(image: Tensor, size: list[int]) -> Tensor:
    return torch.cat(resize_visible(image, size), 1)


def _saved(image: Tensor) -> dict[str, str]:
    return save_temporary(image, "placement")
