"""Blending by optimisation: feature models, both stages of deep blending, and the saturation loss."""

import logging
from typing import NamedTuple

import torch
from comfy_api.latest import io

from ..blending_core import auto_blend
from ..blending_core.deep_blend import (
    STATISTICS_OF_OBJECT,
    STATISTICS_OF_PICTURE,
    Settings,
    deep_blend_frame,
    working_bytes,
)
from ..blending_core.opponent_edge_bank import OpponentEdgeBank
from ..blending_core.recipes import PAINTING, PHOTOGRAPH, PUBLISHED_LOOK, RECIPES
from ..blending_core.region import spanned_region
from ..blending_core.saturation import OBJECT, PAPER, RELATIVE, SEAM, SaturationSettings
from ..blending_core.vgg import VGG
from ..blending_core.warm_start import WarmStart
from ..segmentation.checkpoints import PERCEPTUAL
from .blend import WORKING_COPIES
from .host import (
    Progress,
    make_room,
    managed,
    on_compute_device,
    output_image,
    read_weights,
)
from .inputs import (
    blended_output,
    read_placed_object,
    require_choices,
    require_numbers_in_range,
    target_input,
    warn_of_empty_masks,
)
from .loss_preview import loss_preview
from .model_files import download_input, find_or_fetch, fingerprint, model_choices
from .precision import AUTO, precision_for, precision_input
from .sockets import Features, Losses, Saturation

logger = logging.getLogger(__name__)

BUILT_IN = "built-in"


class LoadPerceptualModel(io.ComfyNode):
    """Loads the network whose features the losses of deep blending compare."""

    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="DeepBlend_LoadPerceptualModel",
            display_name="Load Perceptual Model",
            category="DeepBlend",
            description="Loads the network that Deep Blend sees style and content with: VGG-19 or VGG-16, whole or cut off, as "
            ".pth or .safetensors with torchvision's names, from models/perceptual; or the built-in one, which needs no file.",
            search_aliases=["vgg", "vgg19", "vgg16", "feature extractor", "style transfer model", "perceptual loss"],
            inputs=[
                io.Combo.Input(
                    "model",
                    options=[BUILT_IN, *model_choices(PERCEPTUAL)],
                    default=BUILT_IN,
                    tooltip="Built-in sees edges and colours only, at a tenth of the cost. VGG also sees brushwork and larger "
                    "texture. Put files into models/perceptual, or choose vgg19-dcbb9e9d.pth and switch on download.",
                ),
                download_input(),
            ],
            outputs=[
                Features.Output("features", tooltip="The network, for Deep Blend Stage 1 and Deep Blend Stage 2.")
            ],
        )

    @classmethod
    def fingerprint_inputs(cls, model, download=False):
        return fingerprint(PERCEPTUAL, model, download)

    @classmethod
    def execute(cls, model, download=False) -> io.NodeOutput:
        with torch.inference_mode(False):
            return io.NodeOutput(_built_in() if model == BUILT_IN else _from_file(model, download))


class DeepBlendStage1(io.ComfyNode):
    """Optimises the object's pixels for gradient, content and style."""

    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="DeepBlend_Stage1",
            display_name="Deep Blend Stage 1",
            category="DeepBlend",
            description="Optimises the object's pixels until their detail is the object's and their style the target's: light and "
            "colour settle into a photograph, an object in a painting takes on its look. Begin with Auto Blend's picture, "
            "as object and as start.",
            search_aliases=[
                "deep image blending",
                "style transfer",
                "harmonize",
                "harmonization",
                "painterly",
                "gatys",
            ],
            inputs=[
                io.Image.Input(
                    "object",
                    tooltip="The picture whose detail is kept: Auto Blend's image, with which it looks best, or the object "
                    "from Place Object.",
                ),
                _mask_input(),
                target_input(),
                _recipe_input(),
                _iterations_input(),
                _multiplier("gradient", 1.0, "How firmly edges and shading of the object are kept."),
                _multiplier("content", 1.0, "How firmly the object's features, what makes it recognisable, are kept."),
                _multiplier("style", 1.0, "How far the object takes on the target's style."),
                *_further_inputs(),
                io.Image.Input(
                    "start",
                    optional=True,
                    tooltip="The picture to begin with: Auto Blend's image. Without it the object is first set in as Auto Blend "
                    "would.",
                ),
                _features_input(),
                precision_input(),
                _video_input(),
            ],
            outputs=[blended_output(), _losses_output()],
        )

    @classmethod
    def execute(
        cls,
        object,
        mask,
        target,
        recipe,
        iterations,
        start=None,
        features=None,
        precision=AUTO,
        video=False,
        **settings,
    ) -> io.NodeOutput:
        require_choices(cls, recipe=recipe, statistics=settings["statistics"], precision=precision)
        require_numbers_in_range(cls, iterations=iterations, **_numbers(settings))
        base = RECIPES[recipe]
        batch = read_placed_object(mask, target, object=object, start=start)
        return _run(
            "Deep Blend Stage 1",
            batch,
            features,
            _settings(base.stage_1, base.keep_color_1, iterations, **settings),
            precision,
            video,
            reference="object",
        )


class SaturationLoss(io.ComfyNode):
    """Settings of stage 2's saturation loss."""

    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="DeepBlend_SaturationLoss",
            display_name="Saturation Loss",
            category="DeepBlend",
            description="Wired to Deep Blend Stage 2, keeps the saturation from jumping at the object's edge and from breaking up "
            "inside it. Not wired, or disabled, it is off.",
            search_aliases=["saturation", "hsv", "color rim", "deep blend loss"],
            inputs=[
                io.Boolean.Input("enabled", default=True, tooltip="Off is the same as not wiring this node."),
                io.Float.Input(
                    "weight",
                    default=1.0,
                    min=0.0,
                    max=10.0,
                    step=0.1,
                    tooltip="How firmly the saturation is kept as even as the target's. 1 is the recipe's strength.",
                ),
                io.Combo.Input(
                    "form",
                    options=[RELATIVE, PAPER],
                    default=RELATIVE,
                    tooltip="Relative compares how much the saturation varies over the object with how much it does in the "
                    "target, so that one weight suits every size. Paper compares both whole pictures, as published: a small "
                    "object then counts for little.",
                ),
                io.Combo.Input(
                    "region",
                    options=[OBJECT, SEAM],
                    default=OBJECT,
                    tooltip="Where the saturation is compared: over all of the object, or only along its edge.",
                ),
                io.Int.Input(
                    "width",
                    default=4,
                    min=1,
                    max=64,
                    advanced=True,
                    tooltip="Pixels on either side of the mask's edge that count as seam. Only read when region is seam.",
                ),
            ],
            outputs=[Saturation.Output("saturation", tooltip="These settings, for Deep Blend Stage 2.")],
        )

    @classmethod
    def execute(cls, enabled, **settings) -> io.NodeOutput:
        require_choices(cls, form=settings["form"], region=settings["region"])
        require_numbers_in_range(cls, weight=settings["weight"], width=settings["width"])
        return io.NodeOutput(SaturationSettings(**settings) if enabled else None)


class DeepBlendStage2(io.ComfyNode):
    """Refines the style of a blended picture."""

    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="DeepBlend_Stage2",
            display_name="Deep Blend Stage 2",
            category="DeepBlend",
            description="Gives the object of an already blended picture more of the target's style: for paintings and drawings. "
            "With the Saturation Loss no coloured rim appears along its edge. Photographs seldom gain by it.",
            search_aliases=["deep image blending", "style refinement", "style transfer", "painterly", "harmonization"],
            inputs=[
                io.Image.Input("image", tooltip="The blended picture: from Deep Blend Stage 1 or Auto Blend."),
                _mask_input(),
                target_input(),
                _recipe_input(),
                _iterations_input(),
                _multiplier("content", 1.0, "How firmly the picture's features are kept."),
                _multiplier("style", 1.0, "How far the object takes on the target's style."),
                *_further_inputs(),
                _features_input(),
                Saturation.Input("saturation", optional=True, tooltip="From the Saturation Loss node. Not wired: off."),
                precision_input(),
                _video_input(),
            ],
            outputs=[blended_output(), _losses_output()],
        )

    @classmethod
    def execute(
        cls,
        image,
        mask,
        target,
        recipe,
        iterations,
        features=None,
        saturation=None,
        precision=AUTO,
        video=False,
        **settings,
    ) -> io.NodeOutput:
        require_choices(cls, recipe=recipe, statistics=settings["statistics"], precision=precision)
        require_numbers_in_range(cls, iterations=iterations, **_numbers(settings))
        base = RECIPES[recipe]
        settings = _settings(base.stage_2, base.keep_color_2, iterations, **settings)
        weight = saturation.weight * settings.weights.saturation if saturation else 0.0
        settings = settings._replace(
            weights=settings.weights._replace(saturation=weight), saturation=saturation or SaturationSettings()
        )
        batch = read_placed_object(mask, target, image=image)
        return _run("Deep Blend Stage 2", batch, features, settings, precision, video, reference="image")


def _mask_input() -> io.Input:
    return io.Mask.Input(
        "mask",
        tooltip="The object on the target's canvas: from Auto Blend, which trims it to the outline, or from Place Object.",
    )


def _recipe_input() -> io.Input:
    return io.Combo.Input(
        "recipe",
        options=[PHOTOGRAPH, PAINTING, PUBLISHED_LOOK],
        default=PHOTOGRAPH,
        tooltip="The weights to begin with. Photograph lets light and colour settle and leaves detail alone. Painting gives "
        "the object the target's look and keeps it recognisable. Published look recolours it boldly, as the pictures of the paper.",
    )


def _iterations_input() -> io.Input:
    return io.Int.Input(
        "iterations",
        default=30,
        min=1,
        max=1000,
        tooltip="The most evaluations of the losses that are made; each is one pass through the network and back. It stops "
        "earlier when nothing more is gained.",
    )


def _multiplier(name: str, default: float, tooltip: str, advanced: bool = False) -> io.Input:
    strength = "1 is the recipe's strength" + ("." if default else ", 0 is off.")
    return io.Float.Input(
        name, default=default, min=0.0, max=10.0, step=0.1, tooltip=f"{tooltip} {strength}", advanced=advanced
    )


def _further_inputs() -> list[io.Input]:
    return [
        _multiplier(
            "histogram",
            0.0,
            "Gives the features the same distribution as in the target, which evens out texture.",
            True,
        ),
        _multiplier("tv", 0.0, "Total variation: smooths the object and calms speckles.", True),
        io.Float.Input(
            "keep_color",
            default=1.0,
            min=0.0,
            max=2.0,
            step=0.05,
            tooltip="How much of its own colour the object gets back at the end, with the new light and dark kept. 0 is none, 1 the "
            "recipe's share (none in stage 1 of painting and in the published look), 2 all of it.",
        ),
        io.Combo.Input(
            "statistics",
            options=[STATISTICS_OF_OBJECT, STATISTICS_OF_PICTURE],
            default=STATISTICS_OF_OBJECT,
            advanced=True,
            tooltip="Whether the style of the object alone, or of the whole picture with it, is to be the target's. Picture is "
            "what the papers do: a small object then changes little.",
        ),
    ]


def _features_input() -> io.Input:
    return Features.Input(
        "features",
        optional=True,
        tooltip="From Load Perceptual Model. Without it the built-in model is used, which needs no file.",
    )


def _video_input() -> io.Input:
    return io.Boolean.Input(
        "video",
        default=False,
        optional=True,
        tooltip="Switch on when the batch is a video: a frame takes over what was changed in the frame before, moved with the "
        "object, and is optimised further only where that no longer fits. The object does not flicker, and most frames "
        "are quick. Off, every frame is optimised by itself.",
    )


def _losses_output() -> io.Output:
    return Losses.Output("losses", tooltip="The loss terms of every evaluation, for Plot Losses.")


def _numbers(settings):
    return {name: value for name, value in settings.items() if name != "statistics"}


def _settings(weights, keep_color_of_recipe, iterations, keep_color, statistics, tv, **multipliers) -> Settings:
    return Settings(
        weights=weights.scaled(total_variation=tv, **multipliers),
        evaluations=iterations,
        # From none over the recipe's share to all of it.
        keep_color=keep_color_of_recipe * min(keep_color, 1.0)
        + (1 - keep_color_of_recipe) * max(keep_color - 1.0, 0.0),
        statistics=statistics,
    )


def _run(name, batch, features, settings, precision, video, reference) -> io.NodeOutput:
    """Optimise every sample of a batch, in a video with what the one before leaves; `reference` names the input whose content
    is kept."""
    warn_of_empty_masks(name, batch)
    progress = Progress(settings.evaluations * len(batch))
    images, losses, left = [], [], _Left()
    # Gradients cannot flow through tensors that were made in inference mode.
    with torch.inference_mode(False), torch.enable_grad(), _same_results_every_time():
        features = _built_in() if features is None else features
        settings = settings._replace(precision=precision_for(name, precision, features["patcher"].model))
        rounded = settings.precision == torch.bfloat16
        for sample in batch:
            sample = {key: value.clone() if value.is_inference() else value for key, value in sample.items()}
            image, history = sample["target"], {}
            if sample["mask"].any():
                left = left if video else _Left()
                frame = len(images), len(batch)
                image, history, left = _optimise(sample, features, settings, reference, left, progress, frame)
            images.append(output_image(image))
            losses.append({"name": name, "terms": history})
            if history:
                total = history["total"]
                logger.info(
                    "%s: total loss %.4g -> %.4g in %d evaluations with %s in %s",
                    name,
                    total[0],
                    total[-1] if rounded else min(total),
                    len(total),
                    features["config"]["name"],
                    "bf16" if rounded else "fp32",
                )
        progress(progress.total)
        return io.NodeOutput(torch.cat(images), losses)


def _same_results_every_time():
    """cuDNN must not choose its algorithms by their speed of the day."""
    cudnn = torch.backends.cudnn
    return cudnn.flags(enabled=cudnn.enabled, benchmark=False, deterministic=True, allow_tf32=cudnn.allow_tf32)


class _Left(NamedTuple):
    """What a frame of a video leaves to the next: how Auto Blend set the object in, and what the optimisation changed."""

    plan: auto_blend.Plan | None = None
    warm_start: WarmStart | None = None


def _optimise(sample, features, settings, reference, left, progress, frame):
    finished, frames = frame
    seen = {}

    def on_step(step, total, terms, image):
        for name, value in terms.items():
            seen.setdefault(name, []).append(value)
        preview = None
        if progress.preview_is_due():
            heading = [f"frame {finished + 1} of {frames}"] if frames > 1 else []
            preview = loss_preview(image, seen, [*heading, f"evaluation {step} of {total}"])
        progress(settings.evaluations * finished + step, preview)

    mask, target, plan = sample["mask"], sample["target"], left.plan
    if "start" in sample:
        start = sample["start"]
    elif reference == "object":
        plan = plan or auto_blend.plan_seating(sample["object"], mask, target)
        start = _seated(sample["object"], mask, target, plan, lambda *_: progress(settings.evaluations * finished))
    else:
        start = sample[reference]
    model = on_compute_device(features["patcher"], working_bytes(mask, target, features["patcher"].model, settings))
    blended = True if reference == "image" else None
    image, history, warm_start = deep_blend_frame(
        sample[reference], mask, target, start, model, settings, on_step, blended=blended, before=left.warm_start
    )
    return image, history, _Left(plan, warm_start)


def _seated(object, mask, target, plan, on_step):
    """The object as Auto Blend sets it in."""
    part = (slice(None), slice(None), *spanned_region(mask[0, 0] > 0, auto_blend.margin(mask)))
    make_room(WORKING_COPIES * target[part].numel() * 4)
    image = target.clone()
    image[part], _ = auto_blend.seat(object[part], mask[part], target[part], plan, auto_blend.Settings(), on_step)
    return image[:, :3]


def _built_in():
    return {"patcher": managed(OpponentEdgeBank()), "config": {"name": BUILT_IN}}


def _from_file(name, download):
    path = find_or_fetch(PERCEPTUAL, name, download)
    try:
        network = VGG(read_weights(path))
    except ValueError as error:
        raise ValueError(f"model {name!r}: {error}") from error
    return {"patcher": managed(network), "config": {"name": name}}
