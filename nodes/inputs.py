"""Reading node inputs: checks with one clear sentence each, and the layout and precision of the lower layers."""

import logging
from collections.abc import Iterator

import torch
from comfy_api.latest import io
from torch import Tensor

from ..blending_core.resample import MASK_ROUNDING
from .host import compute_device

logger = logging.getLogger(__name__)

LARGEST_VALUE = 1000  # beyond it nothing can be meant for a picture, and float32 sums lose the rest of it


def read_image(name: str, image: Tensor) -> Tensor:
    """IMAGE `[B, H, W, C]` as `[B, C, H, W]`.

    Raises:
        ValueError: if it has not 3 or 4 channels, is empty, or holds NaN or values far beyond 0 to 1.
    """
    if image.dim() != 4 or image.shape[-1] not in (3, 4):
        raise ValueError(
            f"{name} has the shape {list(image.shape)}; a picture [batch, height, width, channels] "
            "with 3 (RGB) or 4 (RGBA) channels is accepted"
        )
    return _finite(name, image.movedim(-1, 1))


def read_mask(name: str, mask: Tensor) -> Tensor:
    """MASK `[B, H, W]`, or `[H, W]` as some nodes give it, as `[B, 1, H, W]` in 0..1.

    Values that 8 bits cannot show become 0: a trace of a mask over the whole picture, as a sigmoid or a blur leaves it,
    is not an object.

    Raises:
        ValueError: if it has another shape, is empty, or holds NaN or values far beyond 0 to 1.
    """
    if mask.dim() == 2:
        mask = mask[None]
    if mask.dim() != 3:
        raise ValueError(
            f"{name} has the shape {list(mask.shape)}; a mask [batch, height, width] or [height, width] is accepted"
        )
    mask = _finite(name, mask[:, None]).clamp(0, 1)
    return torch.where(mask < MASK_ROUNDING, torch.zeros_like(mask), mask)


def _finite(name: str, values: Tensor) -> Tensor:
    if values.numel() == 0:
        raise ValueError(f"{name} has the shape {list(values.shape)} and holds no pixel; at least one is needed")
    broken = values.numel() - int((values.abs() <= LARGEST_VALUE).sum())
    if broken:
        raise ValueError(
            f"{name} holds {broken} values that are NaN, infinite or beyond ±{LARGEST_VALUE}; "
            "numbers from 0 to 1 are accepted"
        )
    return values


def require_same_size(name: str, values: Tensor, other_name: str, other: Tensor) -> None:
    """Raise a sentence naming both sizes unless the two have the same height and width."""
    (height, width), (other_height, other_width) = values.shape[-2:], other.shape[-2:]
    if (height, width) != (other_height, other_width):
        raise ValueError(
            f"{name} is {width}×{height} pixels but {other_name} is {other_width}×{other_height}; "
            f"{name} must have the size of {other_name}"
        )


def require_mask_of(name: str, mask: Tensor, image_name: str, image: Tensor) -> None:
    """`require_same_size`, with its own sentence for what LoadImage gives when a file has no alpha channel."""
    is_placeholder = mask.shape[-2:] == (64, 64) and not mask.any()
    if is_placeholder and image.shape[-2:] != (64, 64):
        raise ValueError(
            f"{name} is the empty 64×64 mask that Load Image gives when the picture has no alpha channel; wire a mask"
        )
    require_same_size(name, mask, image_name, image)


def require_numbers_in_range(node: type[io.ComfyNode], **values: float) -> None:
    """Raise a sentence unless each value is within the range that the node's schema states.

    ComfyUI checks widgets itself, but not values that come through a link.
    """
    for field in node.define_schema().inputs:
        if field.id in values and not field.min <= values[field.id] <= field.max:
            raise ValueError(f"{field.id} is {values[field.id]}; numbers from {field.min} to {field.max} are accepted")


def require_choices(node: type[io.ComfyNode], **values: str) -> None:
    """Raise a sentence unless each value is one of the options that the node's schema states; for values through a link."""
    for field in node.define_schema().inputs:
        if field.id in values and values[field.id] not in field.options:
            options = ", ".join(map(repr, field.options))
            raise ValueError(f"{field.id} is {values[field.id]!r}; {options} are accepted")


def some_of(frames: list) -> str:
    """How many of the frames are false, for a warning: "1 of 3 frames"."""
    return f"{sum(not frame for frame in frames)} of {len(frames)} frames"


class Batch:
    """Inputs that belong together, sample by sample; an input with one sample goes with every sample.

    Iterating gives dicts of float32 `[1, C, H, W]` on the compute device, so that only one sample at a time takes its
    memory. Inputs that are None are left out.

    Raises:
        ValueError: if two inputs hold different numbers of samples, neither of them one.
    """

    def __init__(self, **inputs: Tensor | None):
        self.inputs = {name: value for name, value in inputs.items() if value is not None}
        largest = max(self.inputs, key=lambda name: len(self.inputs[name]))
        self.count = len(self.inputs[largest])
        for name, value in self.inputs.items():
            if len(value) not in (1, self.count):
                raise ValueError(
                    f"{name} has {len(value)} frames but {largest} has {self.count}; 1 or {self.count} is accepted"
                )

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        device = compute_device()
        for index in range(self.count):
            yield {
                name: value[index % len(value)][None].to(device, torch.float32) for name, value in self.inputs.items()
            }


def placed_object_inputs() -> list[io.Input]:
    """Inputs that every node which blends a placed object begins with."""
    return [
        io.Image.Input(
            "object", tooltip="The object on the target's canvas, with its surroundings: from Place Object."
        ),
        io.Mask.Input("mask", tooltip="The object on the target's canvas: from Place Object."),
        target_input(),
    ]


def target_input() -> io.Input:
    return io.Image.Input(
        "target", tooltip="The picture that receives the object. It stays untouched where the mask is 0."
    )


def blended_output() -> io.Output:
    return io.Image.Output(
        "image", tooltip="The target with the object in it. Where the mask is 0 its pixels are the target's own."
    )


def read_placed_object(mask: Tensor, target: Tensor, **images: Tensor | None) -> Batch:
    """mask, target, and further pictures of the target's size, of which only the colours count."""
    mask, target = read_mask("mask", mask), read_image("target", target)
    require_mask_of("mask", mask, "target", target)
    colors = {}
    for name, image in images.items():
        if image is not None:
            image = read_image(name, image)
            require_same_size(name, image, "target", target)
            colors[name] = image[:, :3]
    return Batch(mask=mask, target=target, **colors)


def warn_of_empty_masks(node: str, batch: Batch) -> None:
    filled = batch.inputs["mask"].flatten(1).any(1).tolist()
    if not all(filled):
        logger.warning("%s: mask is empty in %s; the target is returned unchanged there", node, some_of(filled))
