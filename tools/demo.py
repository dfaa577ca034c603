"""Runs the main job in a real headless ComfyUI: an object of one photograph goes into another.

The pictures come from scikit-image's own package: "astronaut" (NASA, public domain) and "coffee" (Rachel Michetti, CC0).
Writes a picture of every step into output/ and exits with 0 only if the job was done and left the rest of the target
untouched.
"""

import json
import sys
import tempfile
import time
from io import BytesIO
from pathlib import Path

import numpy as np
import skimage.data
from PIL import Image

from comfyui_host import CHECKOUT, find_comfyui
from comfyui_server import Server, make_base

WORKFLOW = CHECKOUT / "workflows" / "api" / "auto_transfer.json"
OUTPUT = CHECKOUT / "output"
# The steps that show a picture, by their title in the workflow, in order.
PICTURES = {
    "Box": "1_box",
    "Mask": "2_mask",
    "Placed mask": "3_placed_mask",
    "Pasted": "4_pasted",
    "Blended": "5_blended",
}


def main() -> int:
    begin = time.monotonic()
    comfyui = find_comfyui()
    prompt = json.loads(WORKFLOW.read_text(encoding="utf-8"))
    OUTPUT.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        base = Path(folder)
        make_base(base)
        for name in ("astronaut", "coffee"):
            Image.fromarray(getattr(skimage.data, name)()).save(base / "input" / f"{name}.png")
        print("starting ComfyUI ...", flush=True)
        with Server(comfyui, base) as server:
            started = time.monotonic()
            run = server.run(prompt, Steps(prompt))
            if run.outcome != "execution_success":
                print(f"error: {run.outcome}: {json.dumps(run.detail, indent=1)[:2000]}\n{server.log_text()[-2000:]}")
                return 1
            pictures = fetch_pictures(server, prompt, run)
    object_pixels = np.asarray(pictures["Placed mask"])[..., 0] > 0
    target, pasted, blended = (
        np.asarray(picture) for picture in (skimage.data.coffee(), pictures["Pasted"], pictures["Blended"])
    )
    changed, seated = (blended != target).any(-1), (blended != pasted).any(-1)
    damaged = int((changed & ~object_pixels).sum())
    done = (changed & object_pixels).any() and seated.any() and not damaged
    for title, name in PICTURES.items():
        pictures[title].save(OUTPUT / f"{name}.png")
    around = square_around(pictures["Placed mask"])
    close_ups = [pictures[title].crop(around) for title in ("Pasted", "Blended")]
    overview([pictures["Box"], *close_ups, pictures["Blended"]]).save(OUTPUT / "overview.jpg", quality=90)
    print(f"\nstart {started - begin:.1f} s, transfer {run.seconds:.1f} s")
    print(f"of the object's {object_pixels.sum()} pixels {(changed & object_pixels).sum()} are new to the target")
    print(f"of the {(~object_pixels).sum()} pixels around it {damaged} were changed")
    print(f"pictures: {OUTPUT}")
    for name in (*PICTURES.values(), "overview"):
        print(f"  {next(OUTPUT.glob(name + '.*')).name}")
    print("done" if done else "error: the object did not arrive, or its surroundings were changed")
    return 0 if done else 1


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
            print(f"  {self.titles[self.running]:24s} {now - self.since:6.2f} s", flush=True)
        self.running, self.since = data.get("node"), now


def fetch_pictures(server, prompt, run):
    pictures = {}
    for node, entry in prompt.items():
        title = entry["_meta"]["title"]
        if title in PICTURES:
            file = run.outputs[node]["images"][0]
            pictures[title] = Image.open(BytesIO(server.get("/view", **file))).convert("RGB")
    return pictures


def square_around(mask) -> tuple[int, int, int, int]:
    """A square around the object, with some of its surroundings, inside the picture."""
    left, top, right, bottom = mask.getbbox()
    side = min(round(1.6 * max(right - left, bottom - top)), *mask.size)
    left = min(max((left + right - side) // 2, 0), mask.width - side)
    top = min(max((top + bottom - side) // 2, 0), mask.height - side)
    return left, top, left + side, top + side


def overview(images, height=360):
    """The pictures side by side at one height."""
    images = [
        image.resize((round(image.width * height / image.height), height), Image.Resampling.LANCZOS) for image in images
    ]
    sheet = Image.new("RGB", (sum(image.width for image in images), height))
    left = 0
    for image in images:
        sheet.paste(image, (left, 0))
        left += image.width
    return sheet


if __name__ == "__main__":
    sys.exit(main())
