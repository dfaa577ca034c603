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
    return _to_intermediate(image.movedim(1, -1).contiguous())


def output_mask(mask: Tensor) -> Tensor:
    """MASK value of `[B, 1, H, W]`."""
    return _to_intermediate(mask[:, 0])


def _to_intermediate(values: Tensor) -> Tensor:
    return values.to(comfy.model_management.intermediate_device(), comfy.model_management.intermediate_dtype())


class Progress:
    """Progress bar with a preview of the picture; stops the node when the user cancels the run."""

    def __init__(self, total: int):
        self.total = total
        self.bar = comfy.utils.ProgressBar(total)
        self.last_preview = time.monotonic()

    def preview_is_due(self) -> bool:
        """Whether a picture passed now would be shown; for callers that must compose it first."""
        return time.monotonic() - self.last_preview >= PREVIEW_INTERVAL

    def __call__(self, step: int, image: Tensor | None = None) -> None:
        """Show that `step` of the total is reached, and `image` (`[1, C, H, W]`) when a preview is due."""
        comfy.model_management.throw_exception_if_processing_interrupted()
        preview = None
        if image is not None and self.preview_is_due():
            self.last_preview = time.monotonic()
            stride = max(1, max(image.shape[-2:]) // PREVIEW_SIZE)
            pixels = image[0, :3, ::stride, ::stride].clamp(0, 1).mul(255).round().byte().movedim(0, -1).cpu().numpy()
            preview = ("JPEG", Image.fromarray(pixels), PREVIEW_SIZE)
        self.bar.update_absolute(step, self.total, preview)
