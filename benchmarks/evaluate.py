"""Methods, sets of pictures and measures: everything that is compared, in one run with one report.

    python benchmarks/evaluate.py [--methods KEY ...] [--sets SET ...] [--long-side 320] [--model FILE] [--output FOLDER]

Writes into the folder: results.csv, a row for each method and sample; masks.csv, a row for each segmenter and object;
report.md; a contact sheet or more for each set; plots. Methods and sets are chosen by name or with wildcards:

    python benchmarks/evaluate.py --methods paste "deep*" --sets outline "paintings/dib_*"

--model: VGG weights for the deep stages in place of the built-in features. All but the times is the same in every run.
"""

import argparse
import csv
import os
import platform
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
import cv2
import torch

import deepblend_package  # noqa: F401
import evaluate_masks
from evaluation_methods import METHODS, chosen_methods, load_networks
from evaluation_metrics import COLUMNS
from evaluation_pictures import write_plots, write_sheets
from evaluation_report import report
from evaluation_run import run_all
from evaluation_sets import DESCRIPTIONS, REAL, samples
from lpips_squeeze import BACKBONE, HEADS, find_lpips
from transfer_sets import SHARED, TRANSFER

LEAST_LONG_SIDE = 64  # pixels; in smaller pictures objects of the sets are lost


def main(arguments: list[str] | None = None) -> int:
    """Exit code: 0; 2 if the command cannot be understood."""
    options = _parser().parse_args(arguments)
    if options.long_side < LEAST_LONG_SIDE or options.workers < 1:
        print(f"--long-side is at least {LEAST_LONG_SIDE} and --workers at least 1", file=sys.stderr)
        return 2
    try:
        keys = chosen_methods(options.methods)
        networks = load_networks(options.model, keys)
        chosen = samples(options.sets, options.long_side)
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    if not chosen:
        print(f"--sets: there are no pictures of {', '.join(options.sets)} on this machine", file=sys.stderr)
        return 2
    absent = {key for key in keys if METHODS[key].needs_pan and networks.pan is None}
    not_run = {
        f"`{key}`": "the weights PANx2_DF2K.pth are not in models/pan of the shared folder"
        for key in keys
        if key in absent
    }
    if not REAL:
        not_run["the sets paintings and photographs"] = f"there are no pictures in {TRANSFER.name} of the shared folder"
    if find_lpips(SHARED / "models") is None:
        not_run["`lpips`"] = f"{BACKBONE} and {HEADS} are not in models of the shared folder"
    options.output.mkdir(parents=True, exist_ok=True)

    results = []
    run = run_all(chosen, [key for key in keys if key not in absent], options.model, options.workers)
    for result in progress(run, len(chosen)):
        results.append(result)
    rows = [row for result in results for row in result.rows]
    write_csv(options.output / "results.csv", rows, ("set", "sample", "method", *COLUMNS))
    pictures = write_sheets(results, options.output) + write_plots(rows, options.output)

    masks, mask_pictures = ("", []) if options.no_masks else evaluate_masks.evaluate(options.output)
    facts = [
        f"{len(results)} samples of the sets {', '.join(dict.fromkeys(row['set'] for row in rows))}, long side at most "
        f"{options.long_side} pixels",
        f"features of the deep stages: {options.model.name if options.model else 'built-in'}",
        f"torch {torch.__version__}, OpenCV {cv2.__version__}, Python {platform.python_version()}, {platform.machine()}; "
        f"pictures at once: {options.workers}, one thread each",
    ]
    text = report(rows, facts, not_run, masks, [*pictures, *mask_pictures])
    (options.output / "report.md").write_text(text, encoding="utf-8")
    print(f"{options.output / 'report.md'} has the figures")
    return 0


def _parser():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", nargs="+", default=["*"], metavar="KEY", help=", ".join(METHODS))
    parser.add_argument("--sets", nargs="+", default=list(DESCRIPTIONS), metavar="SET", help=", ".join(DESCRIPTIONS))
    parser.add_argument("--long-side", type=int, default=320, help="pixels; larger pictures are reduced to it")
    parser.add_argument("--model", type=Path, metavar="FILE", help="weights of VGG-19 or VGG-16")
    parser.add_argument("--output", type=Path, default=Path("output", "evaluation"), metavar="FOLDER")
    parser.add_argument("--workers", type=int, default=_processors(), help="pictures at once, one thread each")
    parser.add_argument("--no-masks", action="store_true", help="leave out the evaluation of masks")
    return parser


def _processors() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def progress(steps, total):
    """The steps, and on the terminal how many of them are done."""
    try:
        from tqdm import tqdm
    except ImportError:
        for number, step in enumerate(steps, 1):
            print(f"{number} of {total}", flush=True)
            yield step
    else:
        yield from tqdm(steps, total=total, unit="sample")


def write_csv(path, rows, columns):
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        for row in rows:
            writer.writerow(
                {name: f"{value:.6g}" if isinstance(value, float) else value for name, value in row.items()}
            )


if __name__ == "__main__":
    sys.exit(main())
