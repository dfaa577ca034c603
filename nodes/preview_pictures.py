"""Small copies of pictures for what a node shows, in ComfyUI's folder for temporary files."""

import uuid

from comfy_api.latest import io, ui
from torch import Tensor

from ..blending_core.resample import resize

COMPRESSION = 1  # of PNG: quick


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
