"""Which thumbnails can be made, and their shape."""

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


def test_what_comes_after_a_checkpoint_is_left_out():
    prompt = {
        "1": {"class_type": "LoadImage", "inputs": {"image": "astronaut.png"}},
        "2": {"class_type": "PreviewImage", "inputs": {"images": ["1", 0]}},
        "5": {"class_type": "SaveImage", "inputs": {"images": ["4", 0]}},
        "4": {"class_type": "VAEDecode", "inputs": {"samples": ["9", 0], "vae": ["3", 2]}},
        "3": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "sd.safetensors"}},
    }
    assert list(make_thumbnails.before_diffusion(prompt)) == ["1", "2"]
    assert make_thumbnails.before_diffusion(PROMPT) == PROMPT


@pytest.mark.parametrize(("width", "height"), [(600, 400), (512, 512), (90, 200)])
def test_thumbnail_is_the_middle_of_the_picture(width, height):
    ramp = np.linspace(0, 255, height).round().astype(np.uint8)[:, None, None]
    made = make_thumbnails.thumbnail(Image.fromarray(np.broadcast_to(ramp, (height, width, 3)).copy()))
    assert made.size == (600, 400)
    shown = min(1.0, width / 1.5 / height)  # share of the height
    column = np.asarray(made)[:, 300, 0].astype(float)
    assert abs(column.mean() - 127.5) < 2
    assert abs((column[-1] - column[0]) / 255 - shown) < 0.03
