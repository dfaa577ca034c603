"""Judging a result: numbers, and charts of them."""

import logging
import math

import torch
from comfy_api.latest import io

from ..blending_core import measures
from ..blending_core.region import spanned_region
from . import chart
from .compare_preview import PICTURE_COLORS, comparison
from .host import Progress, make_room, output_image
from .inputs import Batch, read_image, read_mask, require_mask_of, require_same_size, some_of
from .loss_chart import loss_chart
from .preview_pictures import MOST_FRAMES, is_seen, previews
from .sockets import Losses

logger = logging.getLogger(__name__)

# Copies of a float32 RGB picture that comparing one sample takes at most.
WORKING_COPIES = 12
BEST_PSNR = 100.0  # dB, in place of infinity, which JSON cannot hold

OUTPUTS = ("psnr", "ssim", "mse", "seam_gradient", "seam_saturation")
SCORES = (
    *OUTPUTS,
    *("psnr_inside", "ssim_inside", "mse_inside"),
    *("seam_gradient_reference", "seam_saturation_reference"),
)


class CompareImages(io.ComfyNode):
    """Measures how far a picture is from a reference, and whether the mask's edge shows in it."""

    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="DeepBlend_CompareImages",
            display_name="Compare Images",
            category="DeepBlend",
            description="Measures how far a picture is from a reference (PSNR, SSIM, MSE) and, with a mask, how plainly the "
            "seam along the mask's edge shows in its colours and in its saturation. Of a batch the numbers are means.",
            search_aliases=[
                "psnr",
                "ssim",
                "mse",
                "metrics",
                "evaluate",
                "quality",
                "difference",
                "seam",
                "saturation",
            ],
            inputs=[
                io.Image.Input("image", tooltip="The picture to judge. Transparency is left out of account."),
                io.Image.Input(
                    "reference",
                    tooltip="What it is compared with, of the same size: the true picture where there is one, or the target "
                    "before the blend.",
                ),
                io.Mask.Input(
                    "mask",
                    optional=True,
                    tooltip="The object that was set in. Its edge is where the seam is looked for, and the report gives PSNR, "
                    "SSIM and MSE inside of it too. Without it the two seam measures are 0.",
                ),
            ],
            outputs=[
                io.Float.Output(
                    "psnr",
                    tooltip="Peak signal-to-noise ratio in dB over the whole picture, with or without a mask; higher is "
                    f"closer. {BEST_PSNR:g} at most, for equal pictures.",
                ),
                io.Float.Output(
                    "ssim",
                    tooltip="Structural similarity over the whole picture, with or without a mask: 1 for equal pictures.",
                ),
                io.Float.Output(
                    "mse",
                    tooltip="Mean squared error over the whole picture, with or without a mask, on the scale 0..255: 0 for "
                    "equal pictures.",
                ),
                io.Float.Output(
                    "seam_gradient",
                    tooltip="How much more the colours of the image jump across the mask's edge than 2 pixels further out, on "
                    "the scale 0..1. 0 is no seam, below 0 an edge that is smoother than its surroundings; 0 too where there is "
                    "no edge to measure, as the report says.",
                ),
                io.Float.Output(
                    "seam_saturation",
                    tooltip="The same jump in the saturation, 0..1, which shows seams that the colours hide.",
                ),
                io.String.Output(
                    "report", tooltip="All numbers to read: the mean and every frame, also inside the mask."
                ),
                io.Image.Output(
                    "plot",
                    tooltip="Chart of the saturation of image and reference against the distance to the mask's edge: a "
                    "step at 0 that the reference does not have is a seam. One chart per frame.",
                ),
            ],
            hidden=[io.Hidden.extra_pnginfo],
            # With nothing wired to its outputs it still shows both pictures.
            is_output_node=True,
            has_intermediate_output=True,
        )

    @classmethod
    def execute(cls, image, reference, mask=None) -> io.NodeOutput:
        image, reference = read_image("image", image), read_image("reference", reference)
        require_same_size("image", image, "reference", reference)
        if mask is not None:
            mask = read_mask("mask", mask)
            require_mask_of("mask", mask, "image", image)
        batch = Batch(image=image[:, :3], reference=reference[:, :3], mask=mask)
        make_room(WORKING_COPIES * 4 * image[0, :3].numel())
        progress = Progress(len(batch))
        frames, plots, shown = [], [], []
        for sample in batch:
            progress(len(frames))
            sample["image"], sample["reference"] = sample["image"].clamp(0, 1), sample["reference"].clamp(0, 1)
            title = "Saturation across the mask's edge"
            if len(batch) > 1:
                title += f", frame {len(frames) + 1} of {len(batch)}"
            scores, plot = _compare(title, **sample)
            frames.append(scores)
            plots.append(output_image(plot))
            if is_seen(cls) and len(shown) < MOST_FRAMES:
                shown.append(comparison(**sample, plot=plot))
        progress(len(batch))
        has_seam = [not math.isnan(scores["seam_gradient"]) for scores in frames]
        if mask is not None and not all(has_seam):
            logger.warning("Compare Images: mask has no edge to measure in %s", some_of(has_seam))
        means = {name: _mean([scores[name] for scores in frames]) for name in SCORES}
        outputs = [0.0 if math.isnan(means[name]) else means[name] for name in OUTPUTS]
        report = _report(frames, means, mask is not None)
        return io.NodeOutput(*outputs, report, torch.cat(plots), ui=previews(cls, "comparison", shown))


class PlotLosses(io.ComfyNode):
    """Draws how the losses of an optimisation fell."""

    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="DeepBlend_PlotLosses",
            display_name="Plot Losses",
            category="DeepBlend",
            description="Draws the losses of a deep blend, on a logarithmic axis, from evaluation to evaluation: whether it had "
            "settled, and which term had the most to say.",
            search_aliases=["loss", "loss curve", "convergence", "chart", "graph", "optimization", "history"],
            inputs=[
                Losses.Input(
                    "losses",
                    tooltip="The losses of a deep blend. Every term is drawn with its weight, so that the terms add up to the "
                    "total; a batch gives one chart per frame.",
                )
            ],
            outputs=[io.Image.Output("image", tooltip="One chart per frame. Values of 0 are left out of the lines.")],
        )

    @classmethod
    def execute(cls, losses) -> io.NodeOutput:
        charts = []
        losses = losses or [{"name": "losses", "terms": {}}]
        for number, entry in enumerate(losses, start=1):
            title = entry["name"] if len(losses) == 1 else f"{entry['name']}, frame {number} of {len(losses)}"
            charts.append(output_image(loss_chart(title, entry["terms"])))
        return io.NodeOutput(torch.cat(charts))


def _compare(title, image, reference, mask=None):
    """Scores of one sample by name, NaN where there is nothing to measure, and its chart."""
    scores = dict.fromkeys(SCORES, math.nan) | _errors("", image, reference, None)
    if mask is None:
        return scores, chart.sentence_chart(title, "a mask is needed to look at the seam")
    plot = None
    # Nothing farther from the mask than this is measured, so a small object in a large picture is fast.
    region = spanned_region(mask[0, 0] > 0, margin=measures.PROFILE_REACH + 2)
    if region:
        part = (slice(None), slice(None), *region)
        image, reference, mask = image[part], reference[part], mask[part]
        distance = measures.edge_distance(mask)
        scores |= _errors("_inside", image, reference, mask)
        scores |= _seam("", image, distance) | _seam("_reference", reference, distance)
        plot = _plot_saturation(title, image, reference, distance)
    return scores, chart.sentence_chart(title, "the mask has no edge in this picture") if plot is None else plot


def _errors(suffix, image, reference, weight):
    return {
        "psnr" + suffix: min(float(measures.psnr(image, reference, weight)), BEST_PSNR),
        "ssim" + suffix: float(measures.ssim(image, reference, weight)),
        "mse" + suffix: float(measures.mse(image, reference, weight)),
    }


def _seam(suffix, picture, distance):
    return {
        "seam_gradient" + suffix: float(measures.seam_gradient(picture, distance)),
        "seam_saturation" + suffix: float(measures.seam_saturation(picture, distance)),
    }


def _plot_saturation(title, image, reference, distance):
    reach = measures.PROFILE_REACH
    middles, edges = [step + 0.5 for step in range(-reach, reach)], list(range(-reach, reach + 1))
    lines = []
    # The reference is a broad pale line below the other, so that both are seen where they are equal.
    styles = {"image": (image, 2.5), "reference": (reference, 6)}
    for name, (picture, width) in styles.items():
        color = PICTURE_COLORS[name]
        mean, step = (values[0].tolist() for values in measures.saturation_profile(picture, distance))
        if not any(math.isfinite(value) for value in step):
            return None
        lines.append(chart.Line(name, middles, mean, color, width))
        lines.append(chart.Line(f"{name}, steps", edges, step, color, width, dashed=True))
    return chart.line_chart(
        title,
        [*lines[::2], *lines[1::2]],
        "pixels from the mask's edge: outside below 0, inside above",
        "saturation",
        (-reach, reach),
        (0, 1),
        mark=0,
    )


def _mean(values):
    """Mean of those that are not NaN; NaN if none is left."""
    values = [value for value in values if not math.isnan(value)]
    return sum(values) / len(values) if values else math.nan


def _report(frames, means, has_mask):
    if len(frames) == 1:
        return "\n".join(_lines(means, has_mask))
    blocks = [(f"mean of {len(frames)} frames", means)]
    blocks += [(f"frame {number}", scores) for number, scores in enumerate(frames, start=1)]
    return "\n".join(line for head, scores in blocks for line in (head, *("  " + x for x in _lines(scores, has_mask))))


def _lines(scores, has_mask):
    """The report on one frame, or on the mean of all."""

    def errors(suffix):
        psnr, ssim, mse = (scores[name + suffix] for name in ("psnr", "ssim", "mse"))
        return f"PSNR {psnr:.2f} dB, SSIM {ssim:.4f}, MSE {mse:.2f}"

    def jump(name):
        return f"{scores[name]:.4f} (reference {scores[name + '_reference']:.4f})"

    yield f"whole picture: {errors('')}"
    if not has_mask:
        yield "seam: a mask is needed"
        return
    yield f"inside the mask: {'the mask is empty' if math.isnan(scores['mse_inside']) else errors('_inside')}"
    if math.isnan(scores["seam_gradient"]):
        yield "seam: the mask has no edge to measure"
    else:
        yield f"seam: gradient {jump('seam_gradient')}, saturation {jump('seam_saturation')}"
