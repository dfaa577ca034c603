"""The report of an evaluation, in Markdown. It gives figures; conclusions from them are drawn by people."""

from collections.abc import Sequence
from functools import partial

import numpy as np

import evaluation_sets
from evaluation_methods import METHODS
from evaluation_metrics import (
    COLOR_DISTANCE,
    CPU_SECONDS,
    DESCRIPTIONS,
    ERRORS,
    REFERENCES,
    SEAM_GRADIENT,
    SEAM_SATURATION,
    SOURCE,
    TARGET,
    TRUTH,
    TRUTH_MASK,
    WALL_SECONDS,
)
from evaluation_run import TRUTH_ROW
from published_tables import markdown, not_the_same, table_2, table_3

Row = dict[str, str | float]
# The first samples of the self-made sets, and three of the real ones, stand for the three pictures of Table 3.
MADE_THREE = (("outline", 0), ("margin", 0), ("recoloured", 0))
REAL_THREE = (("paintings", 0), ("paintings", 1), ("paintings", 2))
DIGITS = {"psnr": 2, "ssim": 4, "mse": 1, "lpips": 4}
FURTHER = (SEAM_GRADIENT, SEAM_SATURATION, COLOR_DISTANCE, CPU_SECONDS, WALL_SECONDS)
FURTHER_DIGITS = {SEAM_GRADIENT: 4, SEAM_SATURATION: 4, COLOR_DISTANCE: 1, CPU_SECONDS: 2, WALL_SECONDS: 2}
HEADINGS = {TRUTH: "truth", TRUTH_MASK: "truth in mask", TARGET: "target", SOURCE: "source in mask"}


def report(rows: list[Row], facts: list[str], not_run: dict[str, str], masks: str, pictures: list[str]) -> str:
    """facts: on what and with what it was run, one line each. not_run: methods and other parts with the reasons. masks: the
    section on masks. pictures: file names."""
    made = [row for row in rows if f"{TRUTH}_psnr" in row]
    real = [row for row in rows if row["set"] in evaluation_sets.REAL_SETS]
    parts = [
        "# Evaluation",
        "\n".join(f"- {fact}" for fact in facts),
        "## What is measured",
        "Every method gets the same placed object, mask and target; its picture is rounded to 8 bits first.",
        "\n".join(f"- `{name}`: {words}." for name, words in DESCRIPTIONS.items()),
        "PSNR, SSIM, MSE and LPIPS are taken against each of these references, where there is one:",
        "\n".join(f"- `{name}`: {words}." for name, words in REFERENCES.items()),
        "## Methods",
        "\n".join(
            f"- `{key}`, {METHODS[key].label}: {METHODS[key].words}."
            for key in METHODS
            if any(row["method"] == key for row in rows)
        ),
        *(_summary(name, rows) for name in evaluation_sets.DESCRIPTIONS if any(row["set"] == name for row in rows)),
        "## Table 2 of Xue et al. 2023, and ours",
        markdown(
            table_2(
                {
                    "self-made, truth": partial(_mean, made, TRUTH),
                    "self-made, truth in mask": partial(_mean, made, TRUTH_MASK),
                    "real, target": partial(_mean, real, TARGET),
                    "real, source in mask": partial(_mean, real, SOURCE),
                }
            )
        ),
        "## Table 3 of Xue et al. 2023, and ours",
        "Self-made: the first samples of outline, margin and recoloured. Real: the first three with a painted target.",
        markdown(
            table_3(
                {
                    "self-made, truth": [partial(_mean, part, TRUTH) for part in _three(rows, MADE_THREE)],
                    "real, target": [partial(_mean, part, TARGET) for part in _three(rows, REAL_THREE)],
                    "real, source in mask": [partial(_mean, part, SOURCE) for part in _three(rows, REAL_THREE)],
                }
            )
        ),
        not_the_same(),
        masks,
    ]
    if not_run:
        parts += ["## Not run", "\n".join(f"- {what}: {reason}" for what, reason in not_run.items())]
    parts += ["## Pictures", "\n\n".join(f"![{name}]({name})" for name in pictures)]
    return "\n\n".join(parts) + "\n"


def _mean(rows: Sequence[Row], reference: str, key: str, metric: str) -> float | None:
    return mean(rows, key, f"{reference}_{metric}")


def mean(rows: Sequence[Row], key: str, column: str) -> float | None:
    """Mean of a method over the rows that have the column; None if none has."""
    values = [row[column] for row in rows if row["method"] == key and column in row]
    return float(np.mean(values)) if values else None


def _three(rows, places):
    """The rows of each of three samples, which may be absent."""
    parts = []
    for set_name, index in places:
        names = list(dict.fromkeys(row["sample"] for row in rows if row["set"] == set_name))
        parts.append(
            [row for row in rows if row["set"] == set_name and row["sample"] == "".join(names[index : index + 1])]
        )
    return parts


def _summary(set_name, rows):
    rows = [row for row in rows if row["set"] == set_name]
    count = len({row["sample"] for row in rows})
    known = any(f"{TRUTH}_psnr" in row for row in rows)
    references = (TRUTH, TRUTH_MASK) if known else (TARGET, SOURCE)
    columns = [(f"{reference}_{error}", error) for reference in references for error in (*ERRORS, "lpips")]
    columns = [pair for pair in columns if any(pair[0] in row for row in rows)] + [(name, name) for name in FURTHER]
    return "\n\n".join(
        [
            f"## {set_name}",
            f"{count} samples: {evaluation_sets.DESCRIPTIONS[set_name]}. Means; the best of each column is bold: of the seam "
            f"measures the one nearest to {'the true picture' if known else '0'}"
            + "; in comparison with the source the best but copy-paste.",
            markdown(summary_table(rows, columns)),
        ]
    )


def summary_table(rows: Sequence[Row], columns: Sequence[tuple[str, str]]) -> list[list[str]]:
    """Means of every method, the best of each column bold, and of the truth if it is there.

    columns: names in the rows, and the measure that each is of.
    """
    keys = [key for key in METHODS if any(row["method"] == key for row in rows)]
    cells = {key: [METHODS[key].label] for key in keys} | {TRUTH_ROW: ["the truth itself"]}
    for column, measure in columns:
        means = {key: mean(rows, key, column) for key in cells}
        best = _best(column, measure, means)
        digits = DIGITS.get(measure, FURTHER_DIGITS.get(measure))
        for key, value in means.items():
            text = "" if value is None else f"{value:.{digits}f}"
            cells[key].append(f"**{text}**" if key in best and text else text)
    if not any(row["method"] == TRUTH_ROW for row in rows):
        del cells[TRUTH_ROW]
    return [["method", *(_heading(column) for column, _ in columns)], *cells.values()]


def _best(column, measure, means):
    """The keys whose mean is the best, equal ones together."""
    truth = means[TRUTH_ROW] if means[TRUTH_ROW] is not None else 0.0
    # Copy-paste is at the limit by definition there.
    reference = "paste" if column.startswith(SOURCE) or measure == COLOR_DISTANCE else None
    candidates = {key: value for key, value in means.items() if value is not None and key not in (TRUTH_ROW, reference)}
    if measure in ("psnr", "ssim"):
        merits = candidates
    elif measure in (SEAM_GRADIENT, SEAM_SATURATION):
        merits = {key: -abs(value - truth) for key, value in candidates.items()}
    else:
        merits = {key: -value for key, value in candidates.items()}
    return [key for key, merit in merits.items() if merit == max(merits.values())]


def _heading(column):
    for reference in sorted(HEADINGS, key=len, reverse=True):
        if column.startswith(f"{reference}_"):
            return f"{column.removeprefix(f'{reference}_').upper()}, {HEADINGS[reference]}"
    return column
