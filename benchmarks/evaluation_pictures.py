"""Contact sheets and plots of an evaluation."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

from evaluation_methods import METHODS
from evaluation_metrics import COLOR_DISTANCE, CPU_SECONDS, SEAM_GRADIENT, TRUTH_MASK
from evaluation_report import Row, mean
from evaluation_run import TRUTH_ROW, Result
from pictures import to_numpy

matplotlib.use("Agg")
from matplotlib import pyplot

CELL, GAP, HEADER = 256, 4, 22  # pixels
MARGIN = 0.3  # around the object, of the square root of its area
ROWS_A_SHEET = 6
EDGE = (255, 0, 255)


def write_sheets(results: Sequence[Result], folder: Path) -> list[str]:
    """Per set one or more sheets: a row for each sample, cut out around its object; the names of the files."""
    by_set: dict[str, list[Result]] = {}
    for result in results:
        by_set.setdefault(result.sample.set_name, []).append(result)
    names = []
    for set_name, members in by_set.items():
        rows = [_cells(result) for result in members]
        names += write_sheet(rows, [result.sample.name for result in members], folder, set_name)
    return names


def write_sheet(rows: Sequence[dict[str, np.ndarray]], names: Sequence[str], folder: Path, title: str) -> list[str]:
    """Contact sheets of a few rows each, "title.png" if one is enough; the names of the files."""
    starts = range(0, len(rows), ROWS_A_SHEET)
    files = [f"{title}_{number}.png" if len(starts) > 1 else f"{title}.png" for number in range(1, len(starts) + 1)]
    for start, file in zip(starts, files, strict=True):
        page = slice(start, start + ROWS_A_SHEET)
        contact_sheet(rows[page], names[page]).save(folder / file)
    return files


def contact_sheet(rows: Sequence[dict[str, np.ndarray]], names: Sequence[str]) -> Image.Image:
    """Pictures uint8 `[H, W, 3]` by their labels, the same ones in every row, each in a square; names: of the rows."""
    labels = list(rows[0])
    rows = [{label: _fitted(picture) for label, picture in row.items()} for row in rows]
    heights = [HEADER + max(picture.height for picture in row.values()) + GAP for row in rows]
    sheet = Image.new("RGB", ((CELL + GAP) * len(labels) - GAP, sum(heights)), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(14)
    for index, (row, name) in enumerate(zip(rows, names, strict=True)):
        top = sum(heights[:index])
        for column, label in enumerate(labels):
            left = column * (CELL + GAP)
            draw.text((left + 2, top + 2), label if column else f"{name}: {label}", "black", font)
            sheet.paste(row[label], (left, top + HEADER))
    return sheet


def _fitted(picture):
    factor = CELL / max(picture.shape[:2])
    size = tuple(max(1, round(length * factor)) for length in picture.shape[1::-1])
    return Image.fromarray(picture).resize(size, Image.Resampling.BICUBIC)


def with_edge(picture: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """The picture with the pixels along the mask's edge, those inside, in one colour; as many as are a pixel of a cell."""
    width = -(-max(inside.shape) // CELL)
    edge = inside & ~ndimage.binary_erosion(inside, iterations=width, border_value=1)
    return np.where(edge[..., None], np.uint8(EDGE), picture)


def _cells(result):
    sample = result.sample
    inside = sample.mask[0, 0].numpy() >= 0.5
    ys, xs = np.nonzero(inside)
    margin = round(MARGIN * len(ys) ** 0.5)
    part = np.s_[max(ys.min() - margin, 0) : ys.max() + 1 + margin, max(xs.min() - margin, 0) : xs.max() + 1 + margin]
    source, target = ((to_numpy(image) * 255).round().astype(np.uint8) for image in (sample.object_, sample.target))
    labels = {key: METHODS[key].label if key in METHODS else key for key in result.pictures}
    pictures = {"source": with_edge(source, inside), "target": target}
    pictures |= {labels[key]: picture for key, picture in result.pictures.items()}
    return {label: picture[part] for label, picture in pictures.items()}


def write_plots(rows: Sequence[Row], folder: Path) -> list[str]:
    """The names of the files."""
    keys = [key for key in METHODS if any(row["method"] == key for row in rows)]
    column = f"{TRUTH_MASK}_psnr"
    made = [row for row in rows if column in row]
    real = [row for row in rows if row["method"] != TRUTH_ROW and column not in row]
    names = []
    if made:
        _plot_by_set(made, keys, column, "PSNR inside the mask against the truth (dB)").savefig(folder / "quality.png")
        _plot_against(made, keys, CPU_SECONDS, column, "CPU seconds", "PSNR inside the mask (dB)", log=True).savefig(
            folder / "cost.png"
        )
        names += ["quality.png", "cost.png"]
    if real:
        _plot_against(
            real,
            keys,
            COLOR_DISTANCE,
            SEAM_GRADIENT,
            "colour distance of the object to its source (CIE Lab)",
            "seam gradient jump",
        ).savefig(folder / "real.png")
        names.append("real.png")
    pyplot.close("all")
    return names


def _plot_by_set(rows, keys, column, label):
    sets = list(dict.fromkeys(row["set"] for row in rows))
    figure, panels = pyplot.subplots(
        1, len(sets), figsize=(4 * len(sets) + 4, 0.35 * len(keys) + 1.5), sharey=True, squeeze=False, dpi=120
    )
    for panel, set_name in zip(panels[0], sets, strict=True):
        for place, key in enumerate(keys):
            values = [row[column] for row in rows if row["set"] == set_name and row["method"] == key]
            panel.plot(values, [place] * len(values), ".", color="0.75")
            panel.plot(np.mean(values), place, "D", color="tab:blue")
        panel.set_title(set_name)
        panel.grid(axis="x", alpha=0.3)
    panels[0, 0].set_yticks(range(len(keys)), [METHODS[key].label for key in keys])
    panels[0, 0].invert_yaxis()
    figure.supxlabel(f"{label}; grey: samples, blue: mean")
    figure.tight_layout()
    return figure


def _plot_against(rows, keys, across, up, across_label, up_label, log=False):
    """Means of the methods in two measures."""
    figure, panel = pyplot.subplots(figsize=(9, 5), dpi=120)
    for number, key in enumerate(keys):
        x, y = mean(rows, key, across), mean(rows, key, up)
        panel.plot(x, y, "os^Dvp*"[number // 10 % 7], color=f"C{number % 10}", label=METHODS[key].label)
    if log:
        panel.set_xscale("log")
    panel.set_xlabel(across_label)
    panel.set_ylabel(up_label)
    panel.grid(alpha=0.3)
    panel.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    figure.tight_layout()
    return figure
