"""From a box to a mask."""

import logging

import torch
from comfy_api.latest import io

from ..segmentation.boxes import boxes_per_frame
from ..segmentation.grabcut import grabcut_mask
from .host import Progress, output_mask
from .inputs import read_image, require_numbers_in_range

logger = logging.getLogger(__name__)


class GrabCutMask(io.ComfyNode):
    """Segments the object in a box without a neural network."""

    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="DeepBlend_GrabCutMask",
            display_name="GrabCut Mask",
            category="DeepBlend",
            description="Cuts the object out of its box by colour and contrast (GrabCut). Needs no model file.",
            search_aliases=["grabcut", "segment", "segmentation", "cut out", "box to mask", "background removal"],
            inputs=[
                io.Image.Input("image", tooltip="The picture with the object."),
                io.BoundingBox.Input(
                    "bboxes",
                    force_input=True,
                    tooltip="Box around the object, with some background inside the picture around it. "
                    "Several boxes of a frame give one mask of all their objects.",
                ),
                io.Int.Input(
                    "iterations",
                    default=5,
                    min=1,
                    max=50,
                    tooltip="Rounds of refinement. More rounds follow the object's outline better until nothing changes, "
                    "usually by 5 to 10; each costs the same time.",
                ),
            ],
            outputs=[io.Mask.Output("mask", tooltip="1 on the object, 0 elsewhere.")],
        )

    @classmethod
    def execute(cls, image, bboxes, iterations) -> io.NodeOutput:
        require_numbers_in_range(cls, iterations=iterations)
        image = read_image("image", image)
        frames = boxes_per_frame(bboxes, len(image))
        progress = Progress(max(sum(len(boxes) for boxes in frames) * iterations, 1))
        finished = 0

        def on_step(step, _):
            progress(finished + step)

        masks = torch.zeros(len(image), 1, *image.shape[2:])
        for index, boxes in enumerate(frames):
            picture = _to_uint8(image[index])
            for box in boxes:
                masks[index, 0][torch.from_numpy(grabcut_mask(picture, box, iterations, on_step))] = 1
                finished += iterations
        progress(progress.total)
        if not masks.any():
            logger.warning("GrabCut Mask: no object was found in bboxes; the mask is empty")
        return io.NodeOutput(output_mask(masks))


def _to_uint8(picture):
    """`[C, H, W]` in 0..1 as the `[H, W, 3]` uint8 array that OpenCV takes."""
    return picture[:3].float().clamp(0, 1).mul(255).round().byte().movedim(0, -1).cpu().numpy()
