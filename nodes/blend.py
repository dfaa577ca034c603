"""Blending without optimisation."""

import logging

import torch
from comfy_api.latest import io

from ..blending_core import guidance as fields
from ..blending_core.composite import composite
from ..blending_core.differences import forward_differences, pairwise
from ..blending_core.feather import feather_inward
from ..blending_core.poisson import PROGRESS_STEPS, solve_poisson
from ..blending_core.region import spanned_region
from ..blending_core.screening import depth_rising_screening
from .host import Progress, make_room, output_image
from .inputs import Batch, read_image, read_mask, require_mask_of, require_numbers_in_range, require_same_size, some_of

logger = logging.getLogger(__name__)

# Copies of the float32 RGB region of the object that the solver holds at most, its coarse grids included.
WORKING_COPIES = 16


class PoissonBlend(io.ComfyNode):
    """Seats the object by solving the Poisson equation exactly."""

    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="DeepBlend_PoissonBlend",
            display_name="Poisson Blend",
            category="DeepBlend",
            description="Keeps the object's detail and lets its colours meet the target at the mask's edge, so that no seam "
            "is left (Poisson image editing). Best for masks with some background around the object.",
            search_aliases=[
                "seamless clone",
                "seamlessclone",
                "poisson",
                "gradient domain",
                "blend",
                "harmonize",
                "mixed",
            ],
            inputs=[
                io.Image.Input(
                    "object", tooltip="The object on the target's canvas, with its surroundings: from Place Object."
                ),
                io.Mask.Input("mask", tooltip="The object on the target's canvas: from Place Object."),
                io.Image.Input(
                    "target", tooltip="The picture that receives the object. It stays untouched where the mask is 0."
                ),
                io.Combo.Input(
                    "guidance",
                    options=["source", "mixed", "monochrome"],
                    default="source",
                    tooltip="Source keeps the object's detail. Mixed keeps the stronger of object and target at every pixel: "
                    "for writing, smoke or glass the target shows through. Monochrome carries over light and shade only and "
                    "takes the target's colours.",
                ),
                io.Float.Input(
                    "color_fidelity",
                    default=0.0,
                    min=0.0,
                    max=400.0,
                    step=1.0,
                    tooltip="How far the middle of the object keeps its own colours. 0 lets the target's colours run through "
                    "the whole object, 16 is mild, 64 strong, 400 the most. The edge meets the target at any value.",
                ),
                io.Combo.Input(
                    "surroundings",
                    options=["auto", "use", "ignore"],
                    default="auto",
                    tooltip="Whether the pixels around the object in its own picture count. Use keeps the step between object "
                    "and surroundings. Ignore is for a cut-out on a flat colour, which would tint the object. Auto ignores "
                    "them when they have one colour and the object's edge has another.",
                ),
                io.Int.Input(
                    "feather",
                    default=0,
                    min=0,
                    max=512,
                    tooltip="Pixels over which the result fades into the target, inward from the mask's edge.",
                ),
            ],
            outputs=[io.Image.Output("image")],
        )

    @classmethod
    def execute(cls, object, mask, target, guidance, color_fidelity, surroundings, feather) -> io.NodeOutput:
        require_numbers_in_range(cls, color_fidelity=color_fidelity, feather=feather)
        object, target, mask = read_image("object", object), read_image("target", target), read_mask("mask", mask)
        require_mask_of("mask", mask, "target", target)
        require_same_size("object", object, "target", target)
        batch = Batch(object=object[:, :3], mask=mask, target=target)
        filled = mask.flatten(1).any(1).tolist()
        if not all(filled):
            logger.warning(
                "Poisson Blend: mask is empty in %s; the target is returned unchanged there", some_of(filled)
            )

        progress = Progress(PROGRESS_STEPS * len(batch))
        settings = {
            "guidance": guidance,
            "color_fidelity": color_fidelity,
            "surroundings": surroundings,
            "feather": feather,
        }
        blended = []
        for sample in batch:
            progress(PROGRESS_STEPS * len(blended))
            blended.append(output_image(_blend(**sample, **settings, progress=progress, finished=len(blended))))
        progress(progress.total)
        return io.NodeOutput(torch.cat(blended))


def _blend(object, mask, target, progress, finished, **settings):
    """Blend one sample, after `finished` others, within the region that its mask spans."""
    region = spanned_region(mask[0, 0] > 0, margin=fields.RING_END)
    if region is None:
        return target
    part = (slice(None), slice(None), *region)
    make_room(WORKING_COPIES * target[part].numel() * 4)

    def on_step(step, _total, _loss_terms, image):
        preview = None
        if progress.preview_is_due():
            preview = target[:, :3].clone()
            preview[part] = image
        progress(PROGRESS_STEPS * finished + step, preview)

    result = target.clone()
    result[part] = _blend_region(object[part], mask[part], target[part], on_step, **settings)
    return result


def _blend_region(object, mask, target, on_step, guidance, color_fidelity, surroundings, feather):
    mask = feather_inward(mask, feather)
    inside = mask > 0
    target_color, target_alpha = target[:, :3], target[:, 3:]
    if guidance == "monochrome":
        differences = fields.monochrome_differences(object)
    else:
        differences = forward_differences(object)
    if surroundings == "ignore" or (surroundings == "auto" and fields.is_cut_out(object, inside).item()):
        differences = fields.without_surroundings(differences, inside)
    target_differences, conductance = forward_differences(target_color), None
    if target_alpha.shape[1]:
        conductance = fields.opaque_pairs(target_alpha, inside)
        seen = pairwise(torch.mul, target_alpha)
        target_differences = tuple(d * s for d, s in zip(target_differences, seen, strict=True))
    if guidance == "mixed":
        differences = fields.stronger_differences(differences, target_differences)

    solved = solve_poisson(
        torch.where(inside, object, target_color),
        inside,
        differences,
        screening=depth_rising_screening(inside, color_fidelity) if color_fidelity else 0.0,
        reference=object,
        conductance=conductance,
        on_step=on_step,
    )
    return composite(solved.clamp(0, 1), mask, target)
