"""The banner: what it is made of lies where it should."""

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("aiohttp")  # comes with ComfyUI
import make_banner

GREEN, RED = (0, 200, 0), (200, 0, 0)


def test_banner_passes_from_its_ground_into_the_result_and_shows_the_source():
    source, result = Image.new("RGB", (512, 512), GREEN), Image.new("RGB", (600, 400), RED)
    banner = make_banner.banner(source, {"x": 125, "y": 335, "width": 95, "height": 100}, result)
    assert banner.width * 9 == banner.height * 21
    pixels = np.asarray(banner, int)
    begin, end = make_banner.FADE
    assert (pixels[:, end:] == RED).all()
    row = pixels[20]  # above name and source
    assert (abs(row[0] - RED) > 50).any()
    assert abs(np.diff(row, axis=0)).max() <= 4, "no seam where the result begins"
    left, top = make_banner.PIECE_CORNER
    middle = left + make_banner.PIECE_SIDE // 2, top + make_banner.PIECE_SIDE // 2
    assert tuple(pixels[middle[1], middle[0]]) == GREEN
    assert begin < left + make_banner.PIECE_SIDE < end
