"""Blending without optimisation."""

import logging

import torch
from comfy_api.latest import io

from ..blending_core import auto_blend
from ..blending_core import guidance as fields
from ..blending_core.composite import composite
from ..blending_core.differences import forward_differences
from ..blending_core.feather import feather_inward
from ..blending_core.multiband import MOST_LEVELS, automatic_levels, multiband_blend
from ..blending_core.poisson import PROGRESS_STEPS
from ..blending_core.poisson_blend import poisson_blend
from ..blending_core.region import spanned_region
from ..blending_core.screening import depth_rising_screening
from .host import Progress, make_room, output_image, output_mask
from .inputs import (
    blended_output,
    placed_object_inputs,
    read_placed_object,
    require_choices,
    require_numbers_in_range,
    warn_of_empty_masks,
)

logger = logging.getLogger(__name__)

# Copies of the float32 RGB region of the object that blending holds at most, the solver's coarse grids included.
WORKING_COPIES = 24


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
                *placed_object_inputs(),
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
            outputs=[blended_output()],
        )

    @classmethod
    def execute(cls, object, mask, target, guidance, color_fidelity, surroundings, feather) -> io.NodeOutput:
        require_choices(cls, guidance=guidance, surroundings=surroundings)
        require_numbers_in_range(cls, color_fidelity=color_fidelity, feather=feather)
        batch = read_placed_object(mask, target, object=object)
        warn_of_empty_masks("Poisson Blend", batch)

        def blend(*region, on_step):
            return _poisson_blend(*region, on_step, guidance, color_fidelity, surroundings, feather)

        progress = Progress(PROGRESS_STEPS * len(batch))
        blended = []
        for sample in batch:
            image, _ = blend_region(
                **sample, margin=fields.RING_END, blend=blend, progress=progress, finished=len(blended)
            )
            blended.append(output_image(image))
        progress(progress.total)
        return io.NodeOutput(torch.cat(blended))


class MultibandBlend(io.ComfyNode):
    """Blends the object band by band of a Laplacian pyramid."""

    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="DeepBlend_Multiband",
            display_name="Multiband Blend",
            category="DeepBlend",
            description="The quick way: fine detail passes from the target to the object over a few pixels and broad colours "
            "over many, so that no edge shows and texture stays crisp (multiband blending). The middle of the object keeps its "
            "own colours. Outside the mask no pixel changes.",
            search_aliases=[
                "multi-band",
                "multiband blending",
                "laplacian pyramid",
                "pyramid blend",
                "feather",
                "seamless",
                "blend",
                "multiresolution",
                "burt adelson",
            ],
            inputs=[
                *placed_object_inputs(),
                io.Int.Input(
                    "levels",
                    default=0,
                    min=0,
                    max=MOST_LEVELS,
                    tooltip="1 is a paste with an edge two pixels soft. Each further level lets broader colours pass over twice "
                    "as many pixels, inward: the seam of a loosely cut object fades away, but parts of the object that are thin "
                    "take the target's colours and turn to glass. 0 chooses by the object's size and by how tightly it is cut; "
                    "for a video choose a number, so that the look does not jump.",
                ),
            ],
            outputs=[blended_output()],
        )

    @classmethod
    def execute(cls, object, mask, target, levels) -> io.NodeOutput:
        require_numbers_in_range(cls, levels=levels)
        batch = read_placed_object(mask, target, object=object)
        warn_of_empty_masks("Multiband Blend", batch)
        progress = Progress(PROGRESS_STEPS * len(batch))
        images, used = [], []
        for sample in batch:
            progress(PROGRESS_STEPS * len(images))
            make_room(WORKING_COPIES * sample["target"].numel() * 4)
            used.append(levels or automatic_levels(**sample))

            def blend(object, mask, target, on_step, levels=used[-1]):
                return composite(multiband_blend(object, mask > 0, target, levels), mask, target), mask

            image, _ = blend_region(**sample, margin=1, blend=blend, progress=progress, finished=len(images))
            images.append(output_image(image))
        progress(progress.total)
        if not levels:
            logger.info("Multiband Blend: levels %s", ", ".join(map(str, dict.fromkeys(used))))
        return io.NodeOutput(torch.cat(images))


class AutoBlend(io.ComfyNode):
    """Seats the object by itself."""

    AUTO, AUTO_BY_FIRST_FRAME = "auto", "auto, first frame decides"

    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="DeepBlend_AutoBlend",
            display_name="Auto Blend",
            category="DeepBlend",
            description="Sets the object into the target so that it looks right without a setting: finds out whether the mask "
            "is loose or follows the object's outline, whether both pictures show the same scene, or whether it is writing, "
            "and blends accordingly. Outside the mask no pixel changes.",
            search_aliases=[
                "auto",
                "seamless",
                "harmonize",
                "blend",
                "paste object",
                "insert object",
                "matting",
                "composite",
            ],
            inputs=[
                *placed_object_inputs(),
                io.Combo.Input(
                    "mode",
                    options=[
                        cls.AUTO,
                        cls.AUTO_BY_FIRST_FRAME,
                        auto_blend.LOOSE,
                        auto_blend.TIGHT,
                        auto_blend.MIXED,
                        auto_blend.SAME_SCENE,
                    ],
                    default=cls.AUTO,
                    tooltip="Auto decides for every frame; for a video let the first frame decide for all, so that the look does "
                    "not jump. Loose: the mask holds background all around the object. Tight: it follows the outline. Mixed: "
                    "writing, smoke or glass on even ground. Same scene: the source is the target in other light.",
                ),
                io.Float.Input(
                    "edge_softness",
                    default=1.0,
                    min=0.0,
                    max=2.0,
                    step=0.05,
                    tooltip="How softly a hard outline passes into the target, for tight masks. 1 is chosen by the object's "
                    "size, 0 cuts hard, 2 is twice as soft.",
                ),
                io.Float.Input(
                    "color_fidelity",
                    default=1.0,
                    min=0.0,
                    max=2.0,
                    step=0.05,
                    tooltip="How far the middle of a loosely cut object keeps its own colours. 0 lets the target's light run "
                    "through all of it, 1 keeps a little, 2 keeps nearly everything. Tight objects always keep theirs.",
                ),
                io.Float.Input(
                    "color_containment",
                    default=1.0,
                    min=0.0,
                    max=2.0,
                    step=0.05,
                    tooltip="Fits the object into the target's range of light and colour, as for a drawing or a black-and-white "
                    "photograph. 0 never does, 1 where the pictures call for it, 2 always and fully.",
                ),
                io.Float.Input(
                    "color_match",
                    default=0.0,
                    min=0.0,
                    max=1.0,
                    step=0.05,
                    tooltip="Takes on the colours around the object. 0 keeps its own, 0.25 is subtle, 1 dyes it.",
                ),
            ],
            outputs=[
                blended_output(),
                io.Mask.Output(
                    "mask", tooltip="What of the object was set in: the mask without the background that it held."
                ),
                io.String.Output("mode", tooltip="The mode of every frame, with the numbers that decided it."),
            ],
        )

    @classmethod
    def execute(cls, object, mask, target, mode, **settings) -> io.NodeOutput:
        require_choices(cls, mode=mode)
        require_numbers_in_range(cls, **settings)
        batch = read_placed_object(mask, target, object=object)
        warn_of_empty_masks("Auto Blend", batch)
        chosen = None if mode in (cls.AUTO, cls.AUTO_BY_FIRST_FRAME) else mode
        settings = auto_blend.Settings(**settings)
        progress = Progress(PROGRESS_STEPS * len(batch))
        images, masks, reports, plan = [], [], [], None

        def blend(*region, on_step):
            return auto_blend.seat(*region, plan, settings, on_step)

        for sample in batch:
            if plan is None or mode != cls.AUTO_BY_FIRST_FRAME:
                plan = auto_blend.plan_seating(**sample, mode=chosen)
            margin = auto_blend.margin(sample["mask"])
            image, seated_mask = blend_region(
                **sample, margin=margin, blend=blend, progress=progress, finished=len(images)
            )
            images.append(output_image(image))
            masks.append(output_mask(seated_mask))
            reports.append(_explain(plan, chosen) if sample["mask"].any() else "nothing: the mask is empty")
        progress(progress.total)
        logger.info("Auto Blend: %s", reports[0] if len(set(reports)) == 1 else _summary(reports))
        return io.NodeOutput(torch.cat(images), torch.cat(masks), "\n".join(reports))


def _explain(plan: auto_blend.Plan, chosen: str | None) -> str:
    """One line: the mode, why, and the numbers."""
    tightness, correlation, object_share, ground_deviation = plan.measures
    reasons = {
        auto_blend.SAME_SCENE: "the pictures agree around the object",
        auto_blend.HALF: "the pictures show the same place, not the same moment",
        auto_blend.MIXED: "little of the mask differs from its even ground",
        auto_blend.LOOSE: "there is background along the mask's edge",
        auto_blend.TIGHT: "the mask's edge follows the object's outline"
        if tightness is not None
        else "the object has no surroundings of its own",
    }
    step = "none measurable" if tightness is None else f"{tightness:.2f}"
    return (
        f"{plan.mode}: {'chosen by hand' if chosen else reasons[plan.mode]} (edge step {step}, scene correlation "
        f"{correlation:.2f}, object share {object_share:.2f}, ground deviation {ground_deviation:.1f}, "
        f"chroma ratio {plan.containment.chroma_ratio:.2f})"
    )


def _summary(reports: list[str]) -> str:
    modes = [report.split(":")[0] for report in reports]
    return ", ".join(f"{mode} in {modes.count(mode)} of {len(modes)} frames" for mode in dict.fromkeys(modes))


def blend_region(object, mask, target, margin, blend, progress, finished, **images):
    """Blend one sample, after `finished` others, within the region that its mask spans and `margin` pixels around it.

    blend: takes the parts of object, mask and target, those of further images by their names, and `on_step`. Returns the picture and the mask that `blend` gives for the region, 0 around it.
    """
    progress(PROGRESS_STEPS * finished)
    region = spanned_region(mask[0, 0] > 0, margin)
    if region is None:
        return target, mask
    part = (slice(None), slice(None), *region)
    make_room(WORKING_COPIES * target[part].numel() * 4)

    def on_step(step, _total, _loss_terms, image):
        preview = None
        if progress.preview_is_due():
            preview = target[:, :3].clone()
            preview[part] = image
        progress(PROGRESS_STEPS * finished + step, preview)

    parts = {name: image[part] for name, image in images.items()}
    result, blended_mask = target.clone(), torch.zeros_like(mask)
    result[part], blended_mask[part] = blend(object[part], mask[part], target[part], **parts, on_step=on_step)
    return result, blended_mask


def _poisson_blend(object, mask, target, on_step, guidance, color_fidelity, surroundings, feather):
    mask = feather_inward(mask, feather)
    inside = mask > 0
    if guidance == "monochrome":
        differences = fields.monochrome_differences(object)
    else:
        differences = forward_differences(object)
    if surroundings == "ignore" or (surroundings == "auto" and fields.is_cut_out(object, inside).item()):
        differences = fields.without_surroundings(differences, inside)
    blended = poisson_blend(
        object,
        inside,
        target,
        differences,
        mixed=guidance == "mixed",
        screening=depth_rising_screening(inside, color_fidelity) if color_fidelity else 0.0,
        on_step=on_step,
    )
    return composite(blended, mask, target), mask
