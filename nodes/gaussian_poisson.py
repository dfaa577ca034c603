"""Blending with a guide for the colours."""

import torch
from comfy_api.latest import io

from ..blending_core.composite import composite
from ..blending_core.gaussian_poisson import gaussian_poisson_blend, margin
from ..blending_core.guidance import RING_END
from ..blending_core.poisson import PROGRESS_STEPS
from ..blending_core.resample import resize_visible
from .blend import blend_region
from .host import Progress, output_image
from .inputs import (
    Batch,
    blended_output,
    placed_object_inputs,
    read_image,
    read_placed_object,
    require_numbers_in_range,
    warn_of_empty_masks,
)


class GaussianPoissonBlend(io.ComfyNode):
    """Gives the object the colours of a guide and keeps its detail."""

    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="DeepBlend_GaussianPoisson",
            display_name="Gaussian-Poisson Blend",
            category="DeepBlend",
            description="Takes the object's detail from the object and its colours, in large, from a guide: any picture, a "
            "diffusion pass for example, even a blurred or small one. Without a guide the object keeps its own colours and "
            "only its edge settles into the target (GP-GAN's blending, without its network).",
            search_aliases=[
                "gp-gan",
                "gpgan",
                "gaussian poisson",
                "color guide",
                "blend",
                "harmonize",
                "color transfer",
            ],
            inputs=[
                *placed_object_inputs(),
                io.Float.Input(
                    "color_weight",
                    default=1.0,
                    min=0.1,
                    max=10.0,
                    step=0.1,
                    tooltip="How firmly the colours follow the guide. Low values let the target's colours run further into the "
                    "object and take longer; at high ones the transition at the mask's edge is narrower.",
                ),
                io.Image.Input(
                    "guide",
                    optional=True,
                    tooltip="What colours the object should have, in large: the whole scene, of any size; it is stretched to "
                    "the target's. Only what lies under the mask counts. Where it is transparent, and without it, the object's own colours are "
                    "taken.",
                ),
            ],
            outputs=[blended_output()],
        )

    @classmethod
    def execute(cls, object, mask, target, color_weight, guide=None) -> io.NodeOutput:
        require_numbers_in_range(cls, color_weight=color_weight)
        batch = read_placed_object(mask, target, object=object)
        if guide is not None:
            batch = Batch(**batch.inputs, guide=read_image("guide", guide))
        warn_of_empty_masks("Gaussian-Poisson Blend", batch)
        progress = Progress(PROGRESS_STEPS * len(batch))
        blended = []

        def blend(object, mask, target, **more):
            image = gaussian_poisson_blend(object, mask > 0, target, color_weight=color_weight, **more)
            return composite(image, mask, target), mask

        for sample in batch:
            if guide is not None:
                color, alpha = resize_visible(sample["guide"], list(sample["target"].shape[-2:]))
                sample["guide"] = torch.lerp(sample["object"], color, alpha)
            around = max(RING_END, margin(sample["mask"] > 0))
            image, _ = blend_region(**sample, margin=around, blend=blend, progress=progress, finished=len(blended))
            blended.append(output_image(image))
        progress(progress.total)
        return io.NodeOutput(torch.cat(blended))
