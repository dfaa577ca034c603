"""Runs a workflow of this pack in a real headless ComfyUI: an object of one picture goes into another.

`demo.py` runs object_transfer, the whole job; `demo.py auto_transfer` the quick one, without deep blending. Workflows that
need model files, or show other steps than those of one object in one picture, are not offered. The pictures come from scikit-image's own package: "astronaut" (NASA, public domain),
"coffee" (Rachel Michetti, CC0) and, for paper_recipe and painting_transfer, "immunohistochemistry" (Center for Microscopy
And Molecular Imaging).

Writes a picture of every step into output/ and exits with 0 only if the job was done and left the rest of the target
untouched.
"""

import argparse
import json
import sys
import tempfile
import time
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from comfyui_host import CHECKOUT, find_comfyui
from comfyui_server import Server, make_base, write_photographs
from make_thumbnails import LOADERS, WORKFLOWS

# Steps by their title in the workflow. What the object is set in with, in order; a workflow has some of them.
BLENDS = ("Blended", "Stage 1", "Refined")
STEPS = {"Box", "Placed mask", "Pasted"}  # what it is told by whether the object arrived
OVERVIEW_HEIGHT = 288


def main() -> int:
    parser = argparse.ArgumentParser(prog="demo", description=__doc__.splitlines()[0])
    choices = [name for name in WORKFLOWS if is_offered(read(name))]
    parser.add_argument("workflow", nargs="?", default="object_transfer", choices=choices)
    name = parser.parse_args().workflow

    begin = time.monotonic()
    comfyui = find_comfyui()
    prompt = read(name)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        base = Path(folder)
        make_base(base)
        write_photographs(base / "input")
        print("starting ComfyUI ...", flush=True)
        with Server(comfyui, base) as server:
            started = time.monotonic()
            print(f"{name}:", flush=True)
            run = server.run(prompt, Steps(prompt))
            if run.outcome != "execution_success":
                print(f"error: {run.outcome}: {json.dumps(run.detail, indent=1)[:2000]}\n{server.log_text()[-2000:]}")
                return 1
            pictures, texts = results(server, prompt, run)
        (target,) = (node["inputs"]["image"] for node in prompt.values() if node["_meta"]["title"] == "Target picture")
        with Image.open(base / "input" / target) as picture:
            target = np.asarray(picture.convert("RGB"))

    print(f"\nstart {started - begin:.1f} s, {name} {run.seconds:.1f} s")
    for title, text in texts.items():
        print(f"\n{title}\n  " + text.replace("\n", "\n  "))
    print()
    done = check(pictures, target)
    save(pictures, CHECKOUT / "output" / name)
    print("done" if done else "error: the object did not arrive, or its surroundings were changed")
    return 0 if done else 1


def read(name) -> dict:
    return json.loads(WORKFLOWS[name].read_text(encoding="utf-8"))


def is_offered(prompt) -> bool:
    """Whether a workflow does without model files and shows the steps that are looked at here."""
    titles = {entry["_meta"]["title"] for entry in prompt.values()}
    return titles >= STEPS and not any(entry["class_type"] in LOADERS for entry in prompt.values())


class Steps:
    """Prints each node as it finishes, with its time."""

    def __init__(self, prompt):
        self.titles = {node: entry["_meta"]["title"] for node, entry in prompt.items()}
        self.running, self.since = None, 0.0

    def __call__(self, kind, data, _url):
        if kind not in ("executing", "execution_success"):
            return
        now = time.monotonic()
        if self.running in self.titles:
            print(f"  {self.titles[self.running]:28s} {now - self.since:6.2f} s", flush=True)
        self.running, self.since = data.get("node"), now


def results(server, prompt, run):
    """What the workflow shows: pictures and texts by the title of their step, in the order of the workflow."""
    pictures, texts = {}, {}
    for node, entry in prompt.items():
        shown = run.outputs.get(node, {})
        if "images" in shown:
            picture = Image.open(BytesIO(server.get("/view", **shown["images"][0])))
            pictures[entry["_meta"]["title"]] = picture.convert("RGB")
        elif "text" in shown:
            texts[entry["_meta"]["title"]] = "\n".join(shown["text"])
    return pictures, texts


def check(pictures, target) -> bool:
    """Whether every blend has the object in it, differs from a plain paste and changes no pixel outside the placed mask."""
    inside = np.asarray(pictures["Placed mask"])[..., 0] > 0
    pasted, blends = np.asarray(pictures["Pasted"]), [title for title in BLENDS if title in pictures]
    done = bool(blends)
    print(f"the object has {inside.sum()} pixels, and {(~inside).sum()} lie around it")
    for title in blends:
        blend = np.asarray(pictures[title])
        changed = (blend != target).any(-1)
        arrived, damaged = int((changed & inside).sum()), int((changed & ~inside).sum())
        print(f"  {title:8s} {arrived} of the object's are new to the target, {damaged} around it were changed")
        done &= arrived > 0 and damaged == 0 and bool((blend != pasted).any())
    return done


def save(pictures, folder):
    """Every picture as a numbered file, and the overview."""
    folder.mkdir(parents=True, exist_ok=True)
    print(f"pictures: {folder}")
    for number, (title, picture) in enumerate(pictures.items(), start=1):
        path = folder / f"{number:02}_{title.lower().replace(' ', '_')}.png"
        picture.save(path)
        print(f"  {path.name}")
    overview(pictures).save(folder / "overview.jpg", quality=90)
    print("  overview.jpg")


def overview(pictures) -> Image.Image:
    """Side by side: the box; close-ups of the paste, the first blend and the last; all of the last blend."""
    blends = [title for title in BLENDS if title in pictures]
    close_ups = dict.fromkeys(["Pasted", blends[0], blends[-1]])  # each once
    around = square_around(pictures["Placed mask"])
    tiles = [pictures["Box"], *(pictures[title].crop(around) for title in close_ups), pictures[blends[-1]]]
    tiles = [
        tile.resize((round(tile.width * OVERVIEW_HEIGHT / tile.height), OVERVIEW_HEIGHT), Image.Resampling.LANCZOS)
        for tile in tiles
    ]
    sheet = Image.new("RGB", (sum(tile.width for tile in tiles), OVERVIEW_HEIGHT))
    left = 0
    for tile in tiles:
        sheet.paste(tile, (left, 0))
        left += tile.width
    return sheet


def square_around(mask) -> tuple[int, int, int, int]:
    """A square around the object, with some of its surroundings, inside the picture."""
    left, top, right, bottom = mask.getbbox()
    side = min(round(1.6 * max(right - left, bottom - top)), *mask.size)
    left = min(max((left + right - side) // 2, 0), mask.width - side)
    top = min(max((top + bottom - side) // 2, 0), mask.height - side)
    return left, top, left + side, top + side


if __name__ == "__main__":
    sys.exit(main())
