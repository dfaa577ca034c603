"""What is measured of a blended picture, and each measure in words."""

import math

from torch import Tensor

from deepblend.blending_core.composite import composite
from deepblend.blending_core.measures import edge_distance, mse, psnr, seam_gradient, seam_saturation, ssim
from evaluation_sets import Sample
from lpips_squeeze import LPIPS
from pictures import to_numpy
from transfer_sets import judge

LARGEST_PSNR = 100.0  # dB; stands for equal pictures, so that a mean over samples exists

ERRORS = ("psnr", "ssim", "mse")
TRUTH, TRUTH_MASK, TARGET, SOURCE = "truth", "truth_mask", "target", "source"
REFERENCES = {
    TRUTH: "the true picture, over the whole picture. Known for the self-made sets only",
    TRUTH_MASK: "the true picture, inside the mask only: every pixel counts as much as the mask says, and a pixel of the SSIM "
    "map counts with its window, which may reach out of the mask",
    TARGET: "the target before anything was set in, over the whole picture: how little of it was changed",
    SOURCE: "the placed source object, inside the mask only: how far the object was left as it is. The reference is the plain "
    "copy-paste, so copy-paste itself is at the limit by definition",
}
LPIPS_REFERENCES = (TRUTH, TARGET, SOURCE)
SEAM_GRADIENT, SEAM_SATURATION, COLOR_DISTANCE = "seam_gradient", "seam_saturation", "color_distance"
CPU_SECONDS, WALL_SECONDS = "cpu_s", "wall_s"

COLUMNS = (
    *(f"{reference}_{error}" for reference in REFERENCES for error in ERRORS),
    *(f"{reference}_lpips" for reference in LPIPS_REFERENCES),
    SEAM_GRADIENT,
    SEAM_SATURATION,
    COLOR_DISTANCE,
    CPU_SECONDS,
    WALL_SECONDS,
)

DESCRIPTIONS = {
    "psnr": "peak signal-to-noise ratio in dB, from the mean squared error of the three channels together; higher is nearer. "
    f"Equal pictures count as {LARGEST_PSNR:.0f}. The mean over samples is that of the decibels",
    "ssim": "structural similarity (Wang et al. 2004: Gaussian window of 11 × 11 pixels, σ 1.5), mean of the channels and of "
    "the pixels whose window lies in the frame; 1 for equal pictures",
    "mse": "mean squared error of the three channels on the scale 0..255; lower is nearer",
    "lpips": "learned perceptual distance, LPIPS v0.1 with SqueezeNet 1.1 (Zhang et al. 2018), over the whole picture; lower is "
    "nearer. Against `source` the whole picture is compared with the plain copy-paste, from which it differs only inside "
    "the mask",
    SEAM_GRADIENT: "how much more the colours (0..1) step from pixel to pixel across the mask's edge than across the line "
    "2 pixels further out. 0 is no seam. An object that ends at the mask's edge has its own outline there, "
    "so that the true picture's own number, where it is known, is the one to come near to",
    SEAM_SATURATION: "the same of the saturation of HSV (Xue et al. 2023, section 3.3)",
    COLOR_DISTANCE: "CIE Lab distance between the mean colour of the object's core in the result and in the placed source. The "
    "core is deeper inside the mask than 0.08 of the square root of its area. Lower keeps the object's colour, "
    "which is not always wanted: light and style of the target change it too",
    CPU_SECONDS: "seconds of processor time for one picture, the network's set-up for this picture included",
    WALL_SECONDS: "seconds on the clock, with as many pictures at once as there are workers",
}


def measure(image: Tensor, sample: Sample, lpips: LPIPS | None) -> dict[str, float]:
    """All measures but the times; those that have no reference here, or no network, are left out.

    image: `[1, 3, H, W]`, of 8-bit values.
    """
    pasted = as_8_bit(composite(sample.object_, sample.mask, sample.target))
    target = as_8_bit(sample.target)
    pairs = {TARGET: (target, None), SOURCE: (pasted, sample.mask)}
    if sample.truth is not None:
        truth = as_8_bit(sample.truth)
        pairs |= {TRUTH: (truth, None), TRUTH_MASK: (truth, sample.mask)}
    values = {}
    for reference, (picture, weight) in pairs.items():
        values[f"{reference}_psnr"] = min(psnr(image, picture, weight).item(), LARGEST_PSNR)
        values[f"{reference}_ssim"] = ssim(image, picture, weight).item()
        values[f"{reference}_mse"] = mse(image, picture, weight).item()
        if lpips is not None and reference in LPIPS_REFERENCES:
            values[f"{reference}_lpips"] = lpips(image, picture).item()
    distance = edge_distance(sample.mask)
    values[SEAM_GRADIENT] = seam_gradient(image, distance).item()
    values[SEAM_SATURATION] = seam_saturation(image, distance).item()
    inside = sample.mask[0, 0].numpy() >= 0.5
    values[COLOR_DISTANCE] = float(judge(to_numpy(image), to_numpy(sample.object_), inside).core_shift)
    return {name: value for name, value in values.items() if not math.isnan(value)}


def measure_truth(sample: Sample, lpips: LPIPS | None) -> dict[str, float]:
    """What can be measured of the true picture itself."""
    values = measure(as_8_bit(sample.truth), sample, lpips)
    return {name: value for name, value in values.items() if not name.startswith(TRUTH)}


def as_8_bit(image: Tensor) -> Tensor:
    """Rounded to what a PNG file can hold."""
    return (image.clamp(0, 1) * 255).round() / 255
