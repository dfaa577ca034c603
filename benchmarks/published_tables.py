"""Tables 2 and 3 of Xue et al. 2023, "Image Blending Algorithm with Automatic Mask Generation", with our figures beside them."""

import math
from collections.abc import Callable, Sequence

METRICS = ("psnr", "ssim", "mse")

# The row's name in the paper, its figures, and the method of ours that comes closest to it.
TABLE_2 = (
    ("GP-GAN", (19.94, 0.73, 833.81), "gaussian_poisson"),
    ("Poisson Blending", (21.77, 0.71, 472.46), "poisson"),
    ("Deep Image Blending", (22.11, 0.72, 712.64), "deep"),
    ("Deep Image Blending", (22.11, 0.72, 712.64), "as_published"),
    ("Copy and Paste", (17.98, 0.57, 866.41), "paste"),
    ("Ours", (23.59, 0.78, 617.51), "deep_pan_saturation"),
)
# The same for the ablation, one figure for each of three pictures.
TABLE_3 = (
    ("Baseline", ((17.85, 18.32, 17.99), (0.57, 0.61, 0.67), (718.20, 661.94, 594.32)), "deep"),
    ("+PAN", ((20.77, 20.16, 22.09), (0.74, 0.69, 0.79), (543.98, 721.69, 401.49)), "deep_pan"),
    ("+Saturation Loss", ((19.79, 19.94, 22.29), (0.6, 0.62, 0.81), (681.91, 658.20, 383.38)), "deep_saturation"),
    (
        "+PAN+Saturation Loss",
        ((29.57, 24.58, 23.64), (0.72, 0.83, 0.79), (612.95, 568.47, 402.93)),
        "deep_pan_saturation",
    ),
)
DIGITS = {"psnr": 2, "ssim": 3, "mse": 1}

NOT_THE_SAME = """\
**These are not the same data, and the columns cannot be subtracted from each other.** The paper measured 20 sets of
pictures (Table 2) and 3 (Table 3) that are not published, at 512 × 512 pixels; ours are made here or are the public pictures
named above. It does not say which picture PSNR, SSIM and MSE compare the result with: no truth is known of a real composite,
so it may be the target, the source or another blend; nor whether the whole picture counts or the object. We give
each reading that can be computed, and each names its reference. GP-GAN's network is not part of this project; its row stands
beside the Gaussian-Poisson equation alone. "Deep Image Blending" and "Ours" stand beside our chain with our defaults (from Auto
Blend's picture, the recipe painting), the former also beside our stages set as its paper has them; none is the authors' program.

The printed figures do not all fit together. PSNR and MSE of one pair of 8-bit pictures determine each other: PSNR =
10 log10(255² / MSE). A mean of such PSNRs over sets is never below the PSNR of the mean MSE, but Table 2 prints {paste_psnr} dB
for Copy and Paste, whose MSE of {paste_mse} stands for {paste_least:.2f} dB at least. In Table 3, where each figure is of one
picture, {disagreeing} of {pairs} pairs differ from it by more than 1 dB; the PSNR of {largest_psnr} dB stands beside an MSE of
{largest_mse}, which is {largest_implied:.2f} dB. So the two columns were measured differently, and the paper does not say how.
"""


def psnr_of_mse(mse: float) -> float:
    """PSNR in dB of a picture with values 0..255 whose mean squared error is this."""
    return 10 * math.log10(255**2 / mse)


def not_the_same() -> str:
    """Why the paper's figures and ours are not comparable, and where the paper's contradict each other."""
    pairs = [pair for _, (psnrs, _, mses), _ in TABLE_3 for pair in zip(psnrs, mses, strict=True)]
    (paste,) = (figures for name, figures, _ in TABLE_2 if name == "Copy and Paste")
    largest_psnr, largest_mse = max(pairs, key=lambda pair: abs(pair[0] - psnr_of_mse(pair[1])))
    return NOT_THE_SAME.format(
        paste_psnr=paste[0],
        paste_mse=paste[2],
        paste_least=psnr_of_mse(paste[2]),
        disagreeing=sum(abs(psnr - psnr_of_mse(mse)) > 1 for psnr, mse in pairs),
        pairs=len(pairs),
        largest_psnr=largest_psnr,
        largest_mse=largest_mse,
        largest_implied=psnr_of_mse(largest_mse),
    )


def table_2(readings: dict[str, Callable[[str, str], float | None]]) -> list[list[str]]:
    """Rows of text, the heading first.

    readings: by their headings, functions that give the mean of a method (a key) in a metric (of METRICS), None where there is
    none.
    """
    rows = [["method in the paper", "paper: PSNR", "SSIM", "MSE", "our method"]]
    for heading in readings:
        rows[0] += [f"{heading}: PSNR", "SSIM", "MSE"]
    for name, figures, key in TABLE_2:
        row = [name, *(f"{figure:.2f}" for figure in figures), f"`{key}`"]
        for value in readings.values():
            row += [in_digits(value(key, metric), metric) for metric in METRICS]
        rows.append(row)
    return rows


def table_3(readings: dict[str, Sequence[Callable[[str, str], float | None]]]) -> list[list[str]]:
    """As `table_2`, with a function for each of three pictures."""
    rows = [["ablation in the paper", "paper: PSNR", "SSIM", "MSE", "our method"]]
    for heading in readings:
        rows[0] += [f"{heading}: PSNR", "SSIM", "MSE"]
    for name, figures, key in TABLE_3:
        row = [name, *("/".join(f"{figure:.2f}" for figure in triple) for triple in figures), f"`{key}`"]
        for values in readings.values():
            row += ["/".join(in_digits(value(key, metric), metric) for value in values) for metric in METRICS]
        rows.append(row)
    return rows


def in_digits(value: float | None, metric: str) -> str:
    return "–" if value is None else f"{value:.{DIGITS[metric]}f}"


def markdown(rows: list[list[str]]) -> str:
    """A table in Markdown; the first row is the heading."""
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([lines[0], "|" + "---|" * len(rows[0]), *lines[1:]])
