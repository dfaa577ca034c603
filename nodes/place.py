"""Putting the object where it belongs."""

import logging

import torch
from comfy_api.latest import io

from ..blending_core.composite import composite
from ..blending_core.placement import mask_box, place, scale_to_fit
from ..segmentation.boxes import boxes_per_frame, require_overlap
from .host import Progress, make_room, output_image, output_mask
from .inputs import Batch, read_image, read_mask, require_mask_of, require_numbers_in_range, some_of
from .placed_layers import layers_output, placed_layers
from .placement_preview import PlacementPreview
from .preview_pictures import is_seen

logger = logging.getLogger(__name__)

# Copies of a float32 RGB picture, source or canvas, that placing one sample takes at most.
WORKING_COPIES = 12


class PlaceObject(io.ComfyNode):
    """Moves, scales and turns the object onto the target's canvas."""

    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="DeepBlend_PlaceObject",
            display_name="Place Object",
            category="DeepBlend",
            description="Moves, scales, turns and mirrors an object onto the target picture, without a fringe of its old "
            "background. The outputs fit the blending nodes.",
            search_aliases=["paste", "insert object", "overlay", "composite", "transform", "move", "position", "layer"],
            inputs=[
                io.Image.Input("source", tooltip="The picture with the object."),
                io.Mask.Input(
                    "mask",
                    optional=True,
                    tooltip="The object in the source picture. Without it the alpha channel of an RGBA source is used, and of "
                    "an RGB source the whole picture. Load Image's mask is 1 where a file is transparent: for a cut-out put "
                    "Invert Mask between.",
                ),
                io.Image.Input("target", tooltip="The picture that receives the object."),
                io.Float.Input(
                    "x",
                    default=0.5,
                    min=-1.0,
                    max=2.0,
                    step=0.005,
                    round=0.00001,
                    tooltip="Where the middle of the object goes, from 0 (left edge of the target) to 1 (right edge). "
                    "It may lie outside; the object is then cut off by the frame.",
                ),
                io.Float.Input(
                    "y",
                    default=0.5,
                    min=-1.0,
                    max=2.0,
                    step=0.005,
                    round=0.00001,
                    tooltip="Where the middle of the object goes, from 0 (top edge of the target) to 1 (bottom edge).",
                ),
                io.Float.Input(
                    "scale",
                    default=1.0,
                    min=0.01,
                    max=32.0,
                    step=0.01,
                    round=0.00001,
                    tooltip="Size of the object; 1 keeps the pixels of the source, 0.5 makes it half as wide and high.",
                ),
                io.Float.Input(
                    "rotation",
                    default=0.0,
                    min=-360.0,
                    max=360.0,
                    step=1.0,
                    round=0.001,
                    tooltip="Degrees clockwise. Multiples of 90 only rearrange pixels, other angles resample them.",
                ),
                io.Boolean.Input(
                    "flip", default=False, tooltip="Mirror the object left and right before it is turned."
                ),
                io.BoundingBox.Input(
                    "bboxes",
                    optional=True,
                    force_input=True,
                    tooltip="Box in the target that the object is fitted into, its proportions kept. The first box of a frame "
                    "replaces x, y and scale.",
                ),
                io.Mask.Input(
                    "occluder",
                    optional=True,
                    tooltip="What stays in front of the object, in the target: the object passes behind it.",
                ),
            ],
            outputs=[
                io.Image.Output("object", tooltip="The whole source picture on the target's canvas."),
                io.Mask.Output("mask", tooltip="The object on the target's canvas."),
                io.Image.Output("composite", tooltip="The object simply pasted over the target."),
                io.BoundingBox.Output("bboxes", tooltip="Box of the placed object in each frame."),
                *layers_output(),
            ],
            # The editor sends its workflow along; without it nobody looks at the widget.
            hidden=[io.Hidden.extra_pnginfo],
            # After a reload the page gets what the widget shows again, though the node comes from the cache.
            has_intermediate_output=True,
        )

    @classmethod
    def execute(
        cls, source, target, x, y, scale, rotation, flip, mask=None, bboxes=None, occluder=None
    ) -> io.NodeOutput:
        require_numbers_in_range(cls, x=x, y=y, scale=scale, rotation=rotation)
        batch = _read_inputs(source, mask, target, occluder)
        boxes = [[]] * len(batch) if bboxes is None else boxes_per_frame(bboxes, len(batch))
        if bboxes is not None and not all(boxes):
            logger.warning("Place Object: bboxes is empty in %s; x, y and scale place the object", some_of(boxes))
        make_room(WORKING_COPIES * 3 * 4 * max(source[0, ..., 0].numel(), target[0, ..., 0].numel()))

        progress = Progress(len(batch))
        view = None
        if is_seen(cls):
            numbers = {"x": x, "y": y, "scale": scale, "rotation": rotation}
            view = PlacementPreview(len(batch), numbers, flip)
        objects, masks, composites, placed_boxes, layers = [], [], [], [], []
        for sample, sample_boxes in zip(batch, boxes, strict=True):
            progress(len(objects))
            if view:
                view.add(len(objects), sample, sample_boxes)
            center, sample_scale, label = _position(sample, sample_boxes, x, y, scale, rotation)
            if not objects and layers_output():
                layers.append(placed_layers(sample, center, sample_scale, rotation, flip, label["label"]))
            image, object_mask = _place_sample(sample, center, sample_scale, rotation, flip)
            pasted = composite(image, object_mask, sample["target"])
            around = mask_box(object_mask[0, 0])
            objects.append(output_image(image))
            masks.append(output_mask(object_mask))
            composites.append(output_image(pasted))
            placed_boxes.append([{**around._asdict(), **label}] if around else [])
            # In the editor the widget shows the picture already.
            progress(len(objects), None if view else pasted)
        if not all(placed_boxes):
            logger.warning("Place Object: no object is to be seen in %s", some_of(placed_boxes))
        preview = view.ui() if view else None
        return io.NodeOutput(
            torch.cat(objects), torch.cat(masks), torch.cat(composites), placed_boxes, *layers, ui=preview
        )


def _read_inputs(source, mask, target, occluder):
    source = read_image("source", source)
    target = read_image("target", target)
    if mask is not None:
        mask = read_mask("mask", mask)
        require_mask_of("mask", mask, "source", source)
    elif source.shape[1] == 4:
        mask = source[:, 3:].clamp(0, 1)
    else:
        mask = torch.ones_like(source[:, :1])
    if occluder is not None:
        occluder = read_mask("occluder", occluder)
        require_mask_of("occluder", occluder, "target", target)
    return Batch(source=source[:, :3], mask=mask, target=target, occluder=occluder)


def _position(sample, boxes, x, y, scale, rotation):
    """Where the middle of the object goes, in pixels, its scale, and label and score for its box."""
    height, width = sample["target"].shape[-2:]
    label = {"label": "object", "score": 1.0}
    center = x * width, y * height
    if boxes:
        box = boxes[0]
        require_overlap(box, width, height)
        label = {key: box.get(key, value) for key, value in label.items()}
        center = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        around = mask_box(sample["mask"][0, 0])
        if around:
            scale = scale_to_fit(around.width, around.height, rotation, box["width"], box["height"])
    return center, scale, label


def _place_sample(sample, center, scale, rotation, flip):
    """The object and its mask on the canvas."""
    image, mask = place(sample["source"], sample["mask"], sample["target"].shape[-2:], center, scale, rotation, flip)
    if "occluder" in sample:
        mask = torch.minimum(mask, 1 - sample["occluder"])
    return image, mask
