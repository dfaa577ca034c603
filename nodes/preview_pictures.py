"""Pictures that a node shows after a run: small copies, in ComfyUI's folder for temporary files."""

import logging
import uuid
from collections.abc import Iterable
from itertools import islice

from comfy_api.latest import io, ui
from torch import Tensor

from ..blending_core.resample import resize

logger = logging.getLogger(__name__)

MOST_FRAMES = 8  # of a batch
COMPRESSION = 1  # of PNG: quick


def is_seen(node: type[io.ComfyNode]) -> bool:
    """Whether the editor runs the node, which sends its workflow along; else nobody looks at what it shows."""
    return bool(node.hidden.extra_pnginfo)


def previews(node: type[io.ComfyNode], name: str, pictures: Iterable[Tensor]) -> dict | None:
    """The `ui` output that shows pictures `[1, 3, H, W]` in a node, the first MOST_FRAMES of them.

    Returns:
        `{"images": [...]}`. None if nobody looks or, with a warning, if the files cannot be written.
    """
    if not is_seen(node):
        return None
    try:
        return {"images": [save_temporary(picture, name) for picture in islice(pictures, MOST_FRAMES)]}
    except OSError as error:
        logger.warning("%s: the previews cannot be written (%s)", node.define_schema().display_name, error)
        return None


def bounded_size(image: Tensor, largest_side: int) -> list[int]:
    """Height and width of `[B, C, H, W]`, reduced in proportion until neither is larger."""
    shrink = min(1, largest_side / max(image.shape[2:]))
    return [max(1, round(length * shrink)) for length in image.shape[2:]]


def small_copy(image: Tensor, size: list[int]) -> Tensor:
    """`image` in another size; from a coarse copy, which is close enough and takes a fraction of the time."""
    stride = max(1, min(length // (2 * wanted) for length, wanted in zip(image.shape[2:], size, strict=True)))
    return resize(image[:, :, ::stride, ::stride].float(), size)


def save_temporary(image: Tensor, name: str) -> dict[str, str]:
    """Write `[1, C, H, W]` as a PNG file of its own.

    Returns:
        `{"filename": ..., "subfolder": ..., "type": "temp"}`, as the editor asks for it.

    Raises:
        OSError: if it cannot be written.
    """
    (file,) = ui.ImageSaveHelper.save_images(
        image.clamp(0, 1).movedim(1, -1),
        f"deepblend_{name}_{uuid.uuid4().hex}",
        folder_type=io.FolderType.temp,
        cls=None,  # a preview carries no workflow
        compress_level=COMPRESSION,
    )
    return file
