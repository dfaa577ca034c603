"""Makes docs/banner.jpg, 21:9, for the Comfy registry: runs the workflow auto_transfer in a real headless ComfyUI and sets
its source and its result beside the pack's name. The pictures come from scikit-image's package: "astronaut" (NASA, public
domain) and "coffee" (Rachel Michetti, CC0).
"""

import json
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

import make_icon
from comfyui_host import CHECKOUT, find_comfyui
from comfyui_server import Server, make_base, write_photographs
from make_thumbnails import WORKFLOWS, last_saved, shown

SIZE = (1260, 540)  # pixels
MARGIN = 56
ICON_SIDE = 112
TAGLINE = "Take an object out of one picture\nand set it into another.\nNobody sees that it was moved."
FADE = (430, 760)  # the columns between which the result fades in
PIECE_SIDE, PIECE_CORNER = 210, (462, 290)
PIECE_SHARE = 1.7  # the piece of the source is so many times as wide as the object's box


def main() -> int:
    comfyui = find_comfyui()
    prompt = json.loads(WORKFLOWS["auto_transfer"].read_text(encoding="utf-8"))
    (box,) = (node["inputs"] for node in prompt.values() if node["class_type"] == "PrimitiveBoundingBox")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        base = Path(folder)
        make_base(base)
        write_photographs(base / "input")
        print("starting ComfyUI ...", flush=True)
        with Server(comfyui, base) as server:
            run = server.run(prompt)
            if run.outcome != "execution_success":
                print(f"error: {run.outcome}: {json.dumps(run.detail)[:1000]}")
                return 1
            result = shown(server, run, last_saved(prompt))
        with Image.open(base / "input" / prompt["1"]["inputs"]["image"]) as picture:
            source = picture.convert("RGB")
    path = CHECKOUT / "docs" / "banner.jpg"
    banner(source, box, result).save(path, quality=92, optimize=True)
    print(path)
    return 0


def banner(source: Image.Image, box: dict, result: Image.Image) -> Image.Image:
    """The pack's name at the left, the result at the right, and the object in its source between them."""
    sheet = _ground()
    shown = result.resize((round(SIZE[1] * result.width / result.height), SIZE[1]), Image.Resampling.LANCZOS)
    left = SIZE[0] - shown.width
    sheet.paste(shown, (left, 0), _fading_in(left, shown.size))

    icon = make_icon.picture(ICON_SIDE)
    sheet.paste(icon, (MARGIN, 88), icon)
    draw = ImageDraw.Draw(sheet)
    draw.text((MARGIN, 290), "DeepBlend", "white", ImageFont.load_default(76), anchor="ls")
    draw.multiline_text((MARGIN, 328), TAGLINE, (235, 222, 240), ImageFont.load_default(25), spacing=11)

    piece = _around(source, box)
    sheet.paste(piece, PIECE_CORNER, piece)
    return sheet


def _ground() -> Image.Image:
    """The icon's ground, stretched."""
    width, height = SIZE
    along = (np.arange(width) / width + np.arange(height)[:, None] / height) / 2
    offsets, colors = zip(*make_icon.GROUND, strict=True)
    channels = [np.interp(along, offsets, channel) for channel in list(zip(*colors, strict=True))[:3]]
    return Image.fromarray(np.stack(channels, axis=-1).round().astype(np.uint8))


def _fading_in(left: int, size: tuple[int, int]) -> Image.Image:
    begin, end = FADE
    share = np.clip((left + np.arange(size[0]) - begin) / (end - begin), 0, 1)
    opacity = 255 * share * share * (3 - 2 * share)
    return Image.fromarray(np.broadcast_to(opacity.round().astype(np.uint8), size[::-1]).copy())


def _around(source: Image.Image, box: dict) -> Image.Image:
    """The object in its source, with some of its surroundings, a selection around it and a white frame; a round piece."""
    middle = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    half = 0.5 * PIECE_SHARE * max(box["width"], box["height"])
    corners = [middle[0] - half, middle[1] - half, middle[0] + half, middle[1] + half]
    fine = 4 * PIECE_SIDE  # drawn large and reduced, for smooth edges
    piece = source.resize((fine, fine), Image.Resampling.BICUBIC, box=corners).convert("RGBA")
    draw = ImageDraw.Draw(piece)
    radius = fine / PIECE_SHARE / 2 * 0.98
    ring = [fine / 2 - radius, fine / 2 - radius, fine / 2 + radius, fine / 2 + radius]
    for start in range(0, 360, 30):
        draw.arc(ring, start, start + 17, "white", fine // 45)
    shape = Image.new("L", piece.size)
    ImageDraw.Draw(shape).rounded_rectangle([0, 0, fine - 1, fine - 1], fine // 8, 255)
    draw.rounded_rectangle([0, 0, fine - 1, fine - 1], fine // 8, None, "white", fine // 50)
    piece.putalpha(shape)
    return piece.resize((PIECE_SIDE, PIECE_SIDE), Image.Resampling.LANCZOS)


if __name__ == "__main__":
    sys.exit(main())
