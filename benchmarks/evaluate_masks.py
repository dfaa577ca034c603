"""How well masks are found: GrabCut, SAM from a box, SAM from GroundingDINO's box for a phrase, and Mask R-CNN.

    python benchmarks/evaluate_masks.py [--output FOLDER]

Compares with what is known of each object (Xue et al. 2023, Fig. 3, measures intersection over union): the true mask of rendered
objects, the given masks of real sources that follow the outline, boxes around the objects of real photographs.
"""

import argparse
import csv
import json
import sys
import time
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
import numpy as np
from PIL import Image

import deepblend_package  # noqa: F401
from evaluation_pictures import with_edge, write_sheet
from ground_truth import FAMILIES
from published_tables import markdown
from segmenters import SEGMENTERS, Box, NotRunError, box_iou
from transfer_sets import SHARED, TRANSFER

PHOTOS = SHARED / "data" / "photos"
# Real sources whose mask follows the object's outline, and what the object is. Both towers are one source.
OUTLINED = {
    "libcom_sandwich": "sandwich",
    "libcom_teddy": "teddy bear",
    "tficon_panda_sketch": "panda",
    "tficon_tart": "tart",
    "tficon_tower_dusk": "tower",
}
RENDERED_FAMILIES = ("outline", "margin")
BOX_MARGIN = 0.03  # around a known mask, of the longer side of its box
COLUMNS = ("group", "object", "segmenter", "iou", "box_iou", "share_inside", "wall_s", "not_run")
DESCRIPTIONS = {
    "rendered": "rendered objects of the sets outline and margin, whose true mask is known; box from it with a "
    f"margin of {100 * BOX_MARGIN:.0f} % of its longer side",
    "real outlines": f"the sources of {', '.join(OUTLINED)}, whose given mask follows the outline; box from it, which "
    "nearly fills the picture",
    "photos": "objects of photographs around which a box is given",
}


class Item(NamedTuple):
    """An object in a picture, uint8 `[H, W, 3]`; mask: bool `[H, W]`, if it is known."""

    group: str
    name: str
    image: np.ndarray
    box: Box
    phrase: str
    mask: np.ndarray | None


def items() -> list[Item]:
    found = []
    for family in RENDERED_FAMILIES:
        for sample in FAMILIES[family]():
            mask = sample.alpha > 0.5
            image = (sample.source * 255).round().astype(np.uint8)
            found.append(Item("rendered", f"{family}/{sample.name}", image, box_around(mask), "", mask))
    for name, phrase in OUTLINED.items():
        if (TRANSFER / name).is_dir():
            image, mask = (
                _read(TRANSFER / name / f"{part}.png", mode) for part, mode in (("source", "RGB"), ("mask", "L"))
            )
            found.append(Item("real outlines", name, image, mask_box(mask > 127), phrase, mask > 127))
    if PHOTOS.is_dir():
        for photo in json.loads((PHOTOS / "boxes.json").read_text(encoding="utf-8")).values():
            image = _read(PHOTOS / photo["file"], "RGB")
            for phrase, box in photo["boxes_xyxy"].items():
                found.append(Item("photos", f"{photo['file']}/{phrase}", image, tuple(box), phrase, None))
    return found


def _read(path, mode):
    return np.asarray(Image.open(path).convert(mode))


def mask_box(mask: np.ndarray) -> Box | None:
    """x0, y0, x1, y1 of the pixels of a mask, those at x1 and y1 being the first beyond it; None for an empty one."""
    if not mask.any():
        return None
    ys, xs = np.nonzero(mask)
    return int(xs.min()), int(ys.min()), int(xs.max()) + 1, int(ys.max()) + 1


def box_around(mask: np.ndarray) -> Box:
    """The mask's box with a margin, within the picture."""
    left, top, right, bottom = mask_box(mask)
    margin = round(BOX_MARGIN * max(right - left, bottom - top))
    height, width = mask.shape
    return max(left - margin, 0), max(top - margin, 0), min(right + margin, width), min(bottom + margin, height)


def measure_mask(found: np.ndarray, item: Item) -> dict[str, float]:
    """iou: with the known mask. box_iou: of the boxes, where only a box is known. share_inside: of what was found, how much
    lies in the box; 0 if nothing was found."""
    left, top, right, bottom = (round(side) for side in item.box)
    inside = found[top:bottom, left:right].sum() / max(found.sum(), 1)
    box = mask_box(found)
    if item.mask is not None:
        fit = {"iou": float((found & item.mask).sum() / (found | item.mask).sum())}
    else:
        fit = {"box_iou": 0.0 if box is None else box_iou(box, item.box)}
    return {**fit, "share_inside": float(inside)}


def evaluate(output: Path) -> tuple[str, list[str]]:
    """Run all segmenters whose weights are there; writes masks.csv and contact sheets into the folder. Returns the section of
    the report and the names of the sheets."""
    objects, rows, labels, not_run = items(), [], {}, {}
    pictures = [{"given": with_edge(item.image, _given(item))} for item in objects]
    for key, (make, words) in SEGMENTERS.items():
        try:
            labels[key], segment = make()
        except NotRunError as error:
            not_run[words] = str(error)
            continue
        for item, cells in zip(objects, pictures, strict=True):
            row = {"group": item.group, "object": item.name, "segmenter": key}
            begin, cells[key] = time.perf_counter(), np.full_like(item.image, 255)
            try:
                found = segment(item.image, item.box, item.phrase)
                row |= {"wall_s": time.perf_counter() - begin, **measure_mask(found, item)}
                cells[key] = with_edge(item.image, found)
            except NotRunError as error:
                row["not_run"] = str(error)
            rows.append(row)
    with (output / "masks.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(
            {name: f"{value:.4g}" if isinstance(value, float) else value for name, value in row.items()} for row in rows
        )
    files = []
    for group in DESCRIPTIONS:
        chosen = [index for index, item in enumerate(objects) if item.group == group]
        cells, names = [pictures[index] for index in chosen], [objects[index].name for index in chosen]
        files += write_sheet(cells, names, output, f"masks_{group.replace(' ', '_')}")
    return section(rows, labels, not_run), files


def _given(item):
    if item.mask is not None:
        return item.mask
    left, top, right, bottom = (round(side) for side in item.box)
    mask = np.zeros(item.image.shape[:2], bool)
    mask[top:bottom, left:right] = True
    return mask


def section(rows: list[dict], labels: dict[str, str], not_run: dict[str, str]) -> str:
    """labels: of the segmenters that were run."""
    table = [["segmenter", "objects", "how many", "IoU", "box IoU", "share in the box", "wall s", "not run"]]
    for key, label in labels.items():
        for group in DESCRIPTIONS:
            chosen = [row for row in rows if (row["segmenter"], row["group"]) == (key, group)]
            done = [row for row in chosen if "not_run" not in row]
            if not chosen:
                continue
            means = [
                f"{np.mean(values):.{digits}f}" if (values := [row[column] for row in done if column in row]) else ""
                for column, digits in (("iou", 3), ("box_iou", 3), ("share_inside", 3), ("wall_s", 2))
            ]
            table.append([label, group, str(len(done)), *means, str(len(chosen) - len(done))])
    parts = [
        "## Masks",
        "What the segmenters are given:",
        "\n".join(f"- {words}." for _, words in SEGMENTERS.values()),
        "What they are compared with, as intersection over union of the masks, or of the boxes where only a box is known:",
        "\n".join(f"- {group}: {words}." for group, words in DESCRIPTIONS.items()),
        "Xue et al. 2023 compare R-CNN with "
        "DINO and SAM in Fig. 3 by intersection over union, on pictures that are not published.",
        markdown(table),
    ]
    reasons = {f"{row['segmenter']}, {row['object']}": row["not_run"] for row in rows if row.get("not_run")}
    reasons = {**not_run, **{where: why for where, why in reasons.items() if why != "the object has no name"}}
    if reasons:
        parts += ["Not run:", "\n".join(f"- {what}: {why}." for what, why in reasons.items())]
    return "\n\n".join(parts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("output", "evaluation"), metavar="FOLDER")
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    print(evaluate(options.output)[0])


if __name__ == "__main__":
    main()
