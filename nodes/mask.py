"""Shaping a mask."""

import torch
from comfy_api.latest import io

from ..blending_core import morphology
from ..blending_core.feather import feather_inward
from ..blending_core.region import spanned_region
from ..segmentation import components
from .host import Progress, output_mask
from .inputs import Batch, read_image, read_mask, require_choices, require_mask_of, require_numbers_in_range
from .mask_preview import mask_previews

ERODE_DILATE = "erode, then dilate"
DILATE_ERODE = "dilate, then erode"
SEAM_BAND = "seam band"


class MaskMorphology(io.ComfyNode):
    """Cleans a mask, moves its edge by whole pixels and softens it."""

    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="DeepBlend_MaskMorphology",
            display_name="Mask Morphology",
            category="DeepBlend",
            description="Cleans a mask and moves its edge by exactly the stated pixels: holes and loose pieces first, then "
            "erosion and dilation, then the protected area, then the feather.",
            search_aliases=["erode", "dilate", "grow mask", "shrink mask", "expand mask", "feather mask", "fill holes"],
            inputs=[
                io.Mask.Input("mask", tooltip="The mask to shape; soft edges stay soft."),
                io.Combo.Input(
                    "operation",
                    options=[ERODE_DILATE, DILATE_ERODE, SEAM_BAND],
                    default=ERODE_DILATE,
                    tooltip="Erode first to lose specks and thin hairs, dilate first to close gaps. "
                    "Seam band gives only a band along the edge, for repainting the seam.",
                ),
                io.Int.Input(
                    "erode",
                    default=2,
                    min=0,
                    max=512,
                    tooltip="Pixels by which the edge moves inward; for the seam band, its reach into the object.",
                ),
                io.Int.Input(
                    "dilate",
                    default=4,
                    min=0,
                    max=512,
                    tooltip="Pixels by which the edge moves outward; for the seam band, its reach out of the object. "
                    "Poisson blending likes a few pixels of background around the object.",
                ),
                io.Combo.Input(
                    "shape",
                    options=list(morphology.SHAPES),
                    default="disk",
                    tooltip="Disk moves the edge equally far in every direction and rounds corners, square keeps corners, "
                    "cross moves along rows and columns only.",
                    advanced=True,
                ),
                io.Int.Input(
                    "feather",
                    default=0,
                    min=0,
                    max=512,
                    tooltip="Pixels over which the mask fades towards its edge. It fades inward, so nothing outside the "
                    "mask is touched, and not at the border of the picture.",
                ),
                io.Boolean.Input(
                    "fill_holes",
                    default=True,
                    tooltip="Close holes that are enclosed by the object, such as missed highlights.",
                ),
                io.Boolean.Input(
                    "keep_largest", default=False, tooltip="Keep only the largest connected piece and drop all others."
                ),
                io.Mask.Input(
                    "protect",
                    optional=True,
                    tooltip="Pixels that the mask must not enter, for example a neighbouring object.",
                ),
                io.Image.Input(
                    "image",
                    optional=True,
                    tooltip="The picture that is shown under the mask in the node. It has no effect on the mask; without it "
                    "the mask itself is shown.",
                ),
            ],
            outputs=[io.Mask.Output("mask", tooltip="The shaped mask, of the same size.")],
            hidden=[io.Hidden.extra_pnginfo],
            has_intermediate_output=True,
        )

    @classmethod
    def execute(
        cls, mask, operation, erode, dilate, shape, feather, fill_holes, keep_largest, protect=None, image=None
    ) -> io.NodeOutput:
        require_choices(cls, operation=operation, shape=shape)
        require_numbers_in_range(cls, erode=erode, dilate=dilate, feather=feather)
        mask = read_mask("mask", mask)
        if protect is not None:
            protect = read_mask("protect", protect)
            require_mask_of("protect", protect, "mask", mask)
        if image is not None:
            image = read_image("image", image)
        batch = Batch(mask=mask, protect=protect)
        progress = Progress(len(batch))
        shaped = []
        for sample in batch:
            progress(len(shaped))
            result = torch.zeros_like(sample["mask"])
            # Nothing happens farther from the object than it grows, so a small object in a large picture is fast.
            region = spanned_region(sample["mask"][0, 0] > 0, margin=dilate + 1)
            if region:
                part = (slice(None), slice(None), *region)
                piece = sample["mask"][part]
                if fill_holes or keep_largest:
                    piece = _clean(piece, fill_holes, keep_largest)
                piece = _move_edge(piece, operation, erode, dilate, shape)
                if "protect" in sample:
                    piece = torch.minimum(piece, 1 - sample["protect"][part])
                result[part] = feather_inward(piece, feather)
            shaped.append(output_mask(result))
        progress(len(batch))
        shaped = torch.cat(shaped)
        # Only to look at: its frames need not be as many as the mask's.
        pictures = None if image is None else [image[index % len(image)] for index in range(len(shaped))]
        return io.NodeOutput(shaped, ui=mask_previews(cls, shaped[:, None], pictures))


def _clean(mask, fill_holes, keep_largest):
    pixels = mask[0, 0].cpu().numpy()
    if fill_holes:
        pixels = components.fill_holes(pixels)
    if keep_largest:
        pixels = components.keep_largest(pixels)
    return torch.from_numpy(pixels).to(mask)[None, None]


def _move_edge(mask, operation, inward, outward, shape):
    if operation == SEAM_BAND:
        return morphology.seam_band(mask, inward, outward, shape)
    if operation == ERODE_DILATE:
        return morphology.dilate(morphology.erode(mask, inward, shape), outward, shape)
    return morphology.erode(morphology.dilate(mask, outward, shape), inward, shape)
