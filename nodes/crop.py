"""Handing the part of a picture around an object to other nodes, and putting back what they make of it."""

import logging

import torch
from comfy_api.latest import io

from ..blending_core.crop import (
    MULTIPLE,
    box_around,
    crop,
    crop_mask,
    size_of_scaled_part,
    size_of_unscaled_part,
    stitch,
)
from ..blending_core.placement import Box
from ..blending_core.region import spanned_region
from ..segmentation.boxes import BoxDict, boxes_per_frame, require_overlap
from .host import Progress, output_image, output_mask
from .inputs import (
    Batch,
    read_image,
    read_mask,
    require_choices,
    require_mask_of,
    require_numbers_in_range,
    some_of,
    warn_of_empty_masks,
)

logger = logging.getLogger(__name__)

ENLARGE_AND_REDUCE = "enlarge and reduce"
REDUCE_ONLY = "reduce only"
NEVER = "never"
LARGEST_SIDE = 16384  # pixels of the part that is cut out, in pictures of ordinary size


class CropObject(io.ComfyNode):
    """Cuts out the part of a picture around an object, at the size that a diffusion model works in."""

    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="DeepBlend_CropObject",
            display_name="Crop Object",
            category="DeepBlend",
            description="Cuts out the part of a picture around an object, at the size that a diffusion model works in. Stitch "
            "Object puts back what the model made of it, and leaves the rest of the picture untouched.",
            search_aliases=[
                "crop",
                "inpaint crop",
                "crop and stitch",
                "crop around mask",
                "masked area",
                "only masked",
                "zoom",
                "detailer",
            ],
            inputs=[
                io.Image.Input("image", tooltip="The picture to crop: a blended one, or Place Object's composite."),
                io.Mask.Input(
                    "mask",
                    tooltip="What shall change in the picture: the object, or the seam band of Mask Morphology. The crop lies "
                    "around it.",
                ),
                io.Int.Input(
                    "width",
                    default=512,
                    min=MULTIPLE,
                    max=4096,
                    step=MULTIPLE,
                    tooltip="Width of the crop in pixels, a multiple of 64: 512 for Stable Diffusion 1.5, 1024 for SDXL.",
                ),
                io.Int.Input(
                    "height",
                    default=512,
                    min=MULTIPLE,
                    max=4096,
                    step=MULTIPLE,
                    tooltip="Height of the crop in pixels, a multiple of 64.",
                ),
                io.Float.Input(
                    "context",
                    default=1.5,
                    min=1.0,
                    max=10.0,
                    step=0.1,
                    tooltip="How much of the surroundings the crop shows: 1 ends at the mask, 2 shows twice its width or "
                    "height. More shows the model better what belongs there, less gives the object more of its pixels.",
                ),
                io.Combo.Input(
                    "resize",
                    options=[ENLARGE_AND_REDUCE, REDUCE_ONLY, NEVER],
                    default=ENLARGE_AND_REDUCE,
                    tooltip="Enlarge and reduce has the object and its surroundings fill the crop. Reduce only leaves a small "
                    "object its pixels and shows more around it. Never keeps the pixels of large ones too: the crop then "
                    "grows as it must, and shrinks in a small picture.",
                ),
            ],
            outputs=[
                io.Image.Output("image", tooltip="The crop, all frames in one size."),
                io.Mask.Output("mask", tooltip="The mask in the crop, for the sampler."),
                io.BoundingBox.Output("bboxes", tooltip="Where the crop lies in each frame, for Stitch Object."),
            ],
        )

    @classmethod
    def execute(cls, image, mask, width, height, context, resize) -> io.NodeOutput:
        require_numbers_in_range(cls, width=width, height=height, context=context)
        require_choices(cls, resize=resize)
        for name, length in (("width", width), ("height", height)):
            if length % MULTIPLE:
                raise ValueError(f"{name} is {length}; multiples of {MULTIPLE} are accepted")
        image, mask = read_image("image", image), read_mask("mask", mask)
        require_mask_of("mask", mask, "image", image)
        batch = Batch(image=image, mask=mask)
        regions = [spanned_region(frame[0] > 0) for frame in mask]
        if not all(regions):
            logger.warning("Crop Object: mask is empty in %s; the middle is cropped there", some_of(regions))

        frame = tuple(image.shape[2:])
        whole = slice(0, frame[0]), slice(0, frame[1])
        # One size for all frames, so that the object does not grow and shrink in a video.
        found = list(filter(None, regions)) or [whole]
        extent = tuple(max(region[axis].stop - region[axis].start for region in found) for axis in range(2))
        size = int(height), int(width)  # a link may bring numbers of NumPy, which cannot be sent with the boxes
        if resize == NEVER:
            size = part = size_of_unscaled_part(extent, frame, size, context)
        else:
            part = size_of_scaled_part(extent, frame, size, context, enlarge=resize == ENLARGE_AND_REDUCE)
            if max(part) > max(LARGEST_SIDE, 2 * max(frame)):
                raise ValueError(
                    f"mask spans {extent[1]}×{extent[0]} pixels, which in the shape of {size[1]}×{size[0]} takes "
                    f"{part[1]}×{part[0]} of the picture; choose a width and height nearer to the object's shape"
                )

        progress = Progress(len(batch))
        crops, masks, boxes = [], [], []
        for index, sample in enumerate(batch):
            progress(index)
            box = box_around(regions[index % len(regions)] or whole, part, frame)
            cropped = crop(sample["image"], box, size)
            crops.append(output_image(cropped))
            masks.append(output_mask(crop_mask(sample["mask"], box, size)))
            boxes.append([{**box._asdict(), "label": "crop", "score": 1.0}])
            progress(index + 1, cropped)
        return io.NodeOutput(torch.cat(crops), torch.cat(masks), boxes)


class StitchObject(io.ComfyNode):
    """Puts an edited crop back where it was cut out."""

    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="DeepBlend_StitchObject",
            display_name="Stitch Object",
            category="DeepBlend",
            description="Puts the crop that Crop Object made back into its picture, after a diffusion model or any other node "
            "has changed it. Only pixels under the mask change.",
            search_aliases=[
                "stitch",
                "inpaint stitch",
                "crop and stitch",
                "uncrop",
                "paste back",
                "merge crop",
                "composite",
            ],
            inputs=[
                io.Image.Input(
                    "image",
                    tooltip="The crop as it was changed. It may have been enlarged or reduced, but not cut.",
                ),
                io.BoundingBox.Input(
                    "bboxes", force_input=True, tooltip="Where the crop lies in each frame: from Crop Object."
                ),
                io.Image.Input(
                    "target", tooltip="The picture that was cropped. It stays untouched where the mask is 0."
                ),
                io.Mask.Input(
                    "mask",
                    tooltip="What may change in the picture, usually the mask that Crop Object got. Where it is soft the crop "
                    "and the picture are mixed.",
                ),
            ],
            outputs=[io.Image.Output("image", tooltip="The target with the edited crop under the mask.")],
        )

    @classmethod
    def execute(cls, image, bboxes, target, mask) -> io.NodeOutput:
        image, target, mask = read_image("image", image), read_image("target", target), read_mask("mask", mask)
        require_mask_of("mask", mask, "target", target)
        batch = Batch(image=image[:, :3], mask=mask, target=target)
        boxes = _read_boxes(bboxes, batch)
        warn_of_empty_masks("Stitch Object", batch)
        progress = Progress(len(batch))
        stitched = []
        for sample, box in zip(batch, boxes, strict=True):
            progress(len(stitched))
            result = stitch(sample["image"], box, sample["mask"], sample["target"])
            stitched.append(output_image(result))
            progress(len(stitched), result)
        return io.NodeOutput(torch.cat(stitched))


def _read_boxes(bboxes: list | dict, batch: Batch) -> list[Box]:
    """The one box of each frame, which lies in the target and has the image's shape."""
    (height, width), (target_height, target_width) = (batch.inputs[name].shape[2:] for name in ("image", "target"))
    boxes = []
    for number, frame in enumerate(boxes_per_frame(bboxes, len(batch)), 1):
        if len(frame) != 1:
            raise ValueError(
                f"bboxes holds {len(frame)} boxes for frame {number}; one for each frame is accepted, as Crop Object gives it"
            )
        require_overlap(frame[0], target_width, target_height)
        _require_shape(frame[0], width, height)
        boxes.append(Box(*(frame[0][side] for side in Box._fields)))
    return boxes


def _require_shape(box: BoxDict, width: int, height: int) -> None:
    """Raise a sentence unless one zoom, with sizes rounded up to whole pixels, makes the box of a picture of this size."""
    sides = [(box["width"], width), (box["height"], height)]
    if max((part - 1) / side for part, side in sides) >= min(part / side for part, side in sides):
        raise ValueError(
            f"image is {width}×{height} pixels but the crop in bboxes was taken from {box['width']}×{box['height']}; "
            "a picture of that shape is accepted, of any size"
        )
