"""What the mask nodes show after a run: the picture, darkened outside of the mask, with the mask's edge drawn in."""

from collections.abc import Sequence

import torch
from comfy_api.latest import io
from torch import Tensor

from ..blending_core.morphology import dilate, erode
from .preview_pictures import bounded_size, previews, small_copy

LARGEST_SIDE = 768  # pixels
LINE_SHARE = 1 / 300  # of the preview's longer side, for each of the two tones of the edge
# Outside of the mask the picture is grey, dark and bluish, so that what lies there is seen and never taken for the object.
LIGHT_OUTSIDE, TINT_OUTSIDE = 0.4, (0.0, 0.05, 0.12)


def mask_previews(node: type[io.ComfyNode], masks: Tensor, pictures: Sequence[Tensor] | None) -> dict | None:
    """The `ui` output for a batch of masks.

    masks: `[B, 1, H, W]` in 0..1. pictures: `[C, h, w]` for each mask, of any size; None shows the masks themselves.
    """
    if pictures is None:
        return previews(node, "mask", (overlay(mask[None], None) for mask in masks))
    pairs = zip(masks, pictures, strict=True)
    return previews(node, "mask", (overlay(mask[None], picture[None]) for mask, picture in pairs))


def overlay(mask: Tensor, picture: Tensor | None) -> Tensor:
    """The picture with its mask, or the mask alone; `[1, 3, h, w]` in 0..1, no side longer than LARGEST_SIDE.

    mask: `[1, 1, H, W]` in 0..1. picture: `[1, C, h, w]`, of which the colours are shown, stretched to the mask's shape.
    """
    size = bounded_size(mask, LARGEST_SIDE)
    mask = small_copy(mask, size)
    if picture is None:
        shown = mask.expand(-1, 3, -1, -1)
    else:
        color = small_copy(picture[:, :3].to(mask.device), size).clamp(0, 1)
        outside = LIGHT_OUTSIDE * color.mean(1, keepdim=True) + color.new_tensor(TINT_OUTSIDE).view(1, 3, 1, 1)
        shown = outside + mask * (color - outside)
    # Two tones are seen on every ground. A mask that is faint throughout has its edge at half of its strength.
    inside = (mask > mask.amax() / 2).float()
    width = max(1, round(max(size) * LINE_SHARE))
    shown = torch.where(erode(inside, width) < inside, torch.zeros_like(shown), shown)
    return torch.where(dilate(inside, width) > inside, torch.ones_like(shown), shown)
