"""Everything the nodes need from ComfyUI itself. The only module that imports `comfy`."""

import time

import comfy.model_management
import comfy.utils
import torch
from PIL import Image
from torch import Tensor

PREVIEW_INTERVAL = 0.3  # seconds
PREVIEW_SIZE = 512  # pixels


def compute_device() -> torch.device:
    return comfy.model_management.get_torch_device()


def make_room(size: int) -> None:
    """Have ComfyUI move models out of the compute device's memory until `size` bytes are free."""
    comfy.model_management.free_memory(size, compute_device())


def output_image(image: Tensor) -> Tensor:
    """IMAGE value of `[B, C, H, W]`."""
    return output_mask(image.movedim(1, -1).contiguous())


def output_mask(mask: Tensor) -> Tensor:
    """MASK value of `[B, H, W]`."""
    return mask.to(comfy.model_management.intermediate_device(), comfy.model_management.intermediate_dtype())


class Progress:
    """Progress bar with a preview of the picture; stops the node when the user cancels the run.

    Called as the lower layers call their `on_step`.
    """

    def __init__(self, total: int):
        self.bar = comfy.utils.ProgressBar(total)
        self.last_preview = time.monotonic()

    def __call__(
        self, step: int, total: int, loss_terms: dict[str, float] | None = None, image: Tensor | None = None
    ) -> None:
        comfy.model_management.throw_exception_if_processing_interrupted()
        preview = None
        if image is not None and time.monotonic() - self.last_preview >= PREVIEW_INTERVAL:
            self.last_preview = time.monotonic()
            pixels = image[0, :3].clamp(0, 1).mul(255).round().byte().movedim(0, -1).cpu().numpy()
            preview = ("JPEG", Image.fromarray(pixels), PREVIEW_SIZE)
        self.bar.update_absolute(step, total, preview)
