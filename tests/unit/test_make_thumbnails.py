"""Which thumbnails can be made, and their shape."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("aiohttp")  # comes with ComfyUI
import make_thumbnails

PROMPT = {
    "1": {"class_type": "LoadImage", "inputs": {"image": "astronaut.png"}},
    "2": {"class_type": "DeepBlend_LoadSAM", "inputs": {"model": "sam.pth", "download": False}},
    "3": {"class_type": "UpscaleModelLoader", "inputs": {"model_name": "PANx2_DF2K.pth"}},
    "4": {"class_type": "DeepBlend_LoadPerceptualModel", "inputs": {"model": "built-in", "download": False}},
}


def test_only_files_that_are_not_there_are_missing(tmp_path):
    assert make_thumbnails.missing_files(PROMPT, tmp_path) == ["sam.pth", "PANx2_DF2K.pth"]
    (tmp_path / "sams").mkdir()
    (tmp_path / "sams" / "sam.pth").touch()
    (tmp_path / "upscale_models" / "pan").mkdir(parents=True)
    (tmp_path / "upscale_models" / "pan" / "PANx2_DF2K.pth").touch()
    assert make_thumbnails.missing_files(PROMPT, tmp_path) == []
    assert make_thumbnails.missing_files({"1": PROMPT["1"]}, tmp_path) == []


@pytest.mark.parametrize(("width", "height"), [(600, 400), (512, 512), (90, 200)])
def test_thumbnail_is_the_middle_of_the_picture(width, height):
    ramp = np.linspace(0, 255, height).round().astype(np.uint8)[:, None, None]
    made = make_thumbnails.thumbnail(Image.fromarray(np.broadcast_to(ramp, (height, width, 3)).copy()))
    assert made.size == (600, 400)
    shown = min(1.0, width / 1.5 / height)  # share of the height
    column = np.asarray(made)[:, 300, 0].astype(float)
    assert abs(column.mean() - 127.5) < 2
    assert abs((column[-1] - column[0]) / 255 - shown) < 0.03


def test_without_its_file_only_what_leads_to_the_previews_is_run():
    prompt = make_thumbnails.WORKFLOWS["paint_by_example"]
    prompt = json.loads(prompt.read_text(encoding="utf-8"))
    nodes = make_thumbnails.nodes_to_show(prompt, *make_thumbnails.WITHOUT_FILE["paint_by_example"])
    assert [prompt[node]["class_type"] for node in nodes] == ["PreviewImage", "MaskPreview", "PreviewImage"]
    part = make_thumbnails.leading_to(prompt, *nodes)
    assert make_thumbnails.missing_files(prompt, Path("nowhere")) and not make_thumbnails.missing_files(
        part, Path("nowhere")
    )
    assert all(
        value[0] in part for entry in part.values() for value in entry["inputs"].values() if isinstance(value, list)
    )


def test_without_its_file_the_thumbnail_shows_region_and_exemplar():
    target, exemplar = Image.new("RGB", (600, 400), (200, 100, 50)), Image.new("RGB", (64, 64), (0, 0, 255))
    region = Image.new("L", (600, 400))
    region.paste(255, (100, 100, 200, 300))
    made = np.asarray(make_thumbnails.before_painting(target, region, exemplar)).astype(int)
    assert made.shape == (400, 600, 3)
    assert (made[150:250, 120:180] == 128).all() and (made[350, 50:550] == (200, 100, 50)).all()
    assert (made[200, 98:100] == 255).all() and (made[200, 90:96] == (200, 100, 50)).all()
    assert (made[12 + 60, 580] == (0, 0, 255)).all()
