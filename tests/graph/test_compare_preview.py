"""What Compare Images shows in the editor."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pictures import smooth_picture

COMPARE = "DeepBlend_CompareImages"
CAPTION, GAP, WIDTH = 26, 8, 768


def picture(height, width, seed=0):
    return torch.from_numpy(smooth_picture(height, width, seed)).float()[None]


def box(height, width, rows, columns):
    mask = torch.zeros(1, height, width)
    mask[:, slice(*rows), slice(*columns)] = 1
    return mask


@pytest.fixture
def shown(host, monkeypatch):
    """Runs the node as the editor does: its previews as arrays of 0..255, and its plot."""
    import folder_paths

    def run(**inputs):
        monkeypatch.setitem(host.extra_data, "extra_pnginfo", {"workflow": {}})
        plot = host.run_node(COMPARE, **inputs)[-1]
        files = host.executor.history_result["outputs"]["node"]["images"]
        assert {file["type"] for file in files} == {"temp"}
        paths = [Path(folder_paths.get_temp_directory(), file["filename"]) for file in files]
        return [np.asarray(Image.open(path)).astype(int) for path in paths], plot

    return run


def enlarged(image, size):
    pixels = image.mul(255).round().byte().numpy()
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.NEAREST)).astype(int)


def share_equal(pixels, wanted):
    return (np.abs(pixels - wanted).max(-1) <= 2).mean()


def test_both_pictures_around_the_mask_and_the_plot_below(shown):
    image, reference = picture(200, 300, 1), picture(200, 300, 2)
    (seen,), plot = shown(image=image, reference=reference, mask=box(200, 300, (60, 140), (100, 180)))
    # 80 pixels with 20 on each side, which 380 pixels show, beside each other.
    side = (WIDTH - GAP) // 2
    assert seen.shape == (CAPTION + side + 512, WIDTH, 3)
    for start, whole in ((0, image), (side + GAP, reference)):
        wanted = enlarged(whole[0, 40:160, 80:200], (side, side))
        part = seen[CAPTION : CAPTION + side, start : start + side]
        assert share_equal(part, wanted) > 0.9, "all but the line"
        assert share_equal(part, wanted) < 1
    assert np.abs(seen[CAPTION + side :] - 255 * plot[0].numpy()).max() <= 1


def test_the_line_runs_around_the_mask_and_leaves_the_seam_in_view(shown):
    grey = torch.full((1, 200, 300, 3), 0.5)
    mask = box(200, 300, (60, 140), (100, 180))
    (seen,), _ = shown(image=grey, reference=grey, mask=mask)
    side, scale = (WIDTH - GAP) // 2, (WIDTH - GAP) / 2 / 120
    for start in (0, side + GAP):
        row = seen[CAPTION + side // 2, start : start + side, 0]
        line = np.flatnonzero(np.abs(row - 127.5) > 3)
        assert set(row[line]) == {0, 255}
        edges = np.array([20 * scale, 100 * scale])
        left, right = line[line < side / 2], line[line > side / 2]
        assert 7 <= edges[0] - left.max() <= left.size + edges[0] - left.min() <= 13
        assert 7 <= right.min() - edges[1] <= 10


@pytest.mark.parametrize(
    ("rows", "columns", "shape"),
    [
        ((90, 110), (20, 280), (768, 2 * (CAPTION + 230) + 512)),  # wide: above each other
        ((0, 200), (140, 150), (768, 512 + 512)),  # high: beside each other, as high as there is room
        ((100, 101), (150, 151), (768, CAPTION + 380 + 512)),
    ],
)
def test_pictures_lie_where_they_are_largest(shown, rows, columns, shape):
    (seen,), _ = shown(image=picture(200, 300), reference=picture(200, 300), mask=box(200, 300, rows, columns))
    assert seen.shape[1] == shape[0]
    assert abs(seen.shape[0] - shape[1]) <= 3


def test_a_step_between_pixels_stays_sharp(shown):
    image = torch.zeros(1, 60, 60, 3)
    image[:, :, 30:] = 1
    (seen,), _ = shown(image=image, reference=image, mask=box(60, 60, (20, 40), (20, 40)))
    row = seen[CAPTION + 190, 100:280, 0]
    assert set(row) == {0, 255}
    assert (np.diff(row) != 0).sum() == 1


def test_large_pictures_are_reduced_without_aliasing(shown):
    image = torch.zeros(1, 1600, 2400, 3)
    image[:, ::2] = 1  # lines that a choice of pixels would show as black or white
    (seen,), _ = shown(image=image, reference=image)
    assert seen.shape[1] == WIDTH
    assert np.abs(seen[CAPTION + 5 : -5, 5:370] - 127.5).max() < 60


def test_without_a_mask_the_whole_pictures_are_shown(shown):
    image, reference = picture(100, 100, 1), picture(100, 100, 2)
    (seen,), _ = shown(image=image, reference=reference)
    assert seen.shape == (CAPTION + 380, WIDTH, 3)
    assert share_equal(seen[CAPTION:, :380], enlarged(image[0], (380, 380))) == 1
    assert share_equal(seen[CAPTION:, 388:], enlarged(reference[0], (380, 380))) == 1


def test_an_empty_mask_shows_the_whole_pictures_without_a_line(shown):
    image = picture(100, 100, 1)
    (seen,), _ = shown(image=image, reference=image, mask=torch.zeros(1, 100, 100))
    assert seen.shape == (CAPTION + 380 + 512, WIDTH, 3)
    assert share_equal(seen[CAPTION : CAPTION + 380, :380], enlarged(image[0], (380, 380))) == 1


def test_every_frame_of_a_batch_has_its_own(shown):
    images = torch.cat([picture(60, 60, seed) for seed in range(10)])
    seen, _ = shown(image=images, reference=picture(60, 60, 20))
    assert len(seen) == 8
    for frame, pixels in enumerate(seen):
        assert share_equal(pixels[CAPTION:, :380], enlarged(images[frame], (380, 380))) == 1


def test_without_the_editor_nothing_is_written(host):
    import folder_paths

    before = set(Path(folder_paths.get_temp_directory()).glob("*"))
    host.run_node(COMPARE, image=picture(60, 60), reference=picture(60, 60))
    assert host.executor.history_result["outputs"] == {}
    assert set(Path(folder_paths.get_temp_directory()).glob("*")) == before


def test_it_runs_with_nothing_wired_to_its_outputs(host, photographs):
    load = {"class_type": "LoadImage", "inputs": {"image": "coffee.png"}}
    result = host.run({"1": load, "2": {"class_type": COMPARE, "inputs": {"image": ["1", 0], "reference": ["1", 0]}}})
    assert result.success, result.error


def test_names_have_the_colours_of_the_lines(host):
    module = sys.modules[host.nodes.NODE_CLASS_MAPPINGS[COMPARE].__module__.replace(".evaluate", ".compare_preview")]
    seen = module.comparison(torch.ones(1, 3, 100, 100), torch.ones(1, 3, 100, 100), torch.ones(1, 3, 512, 768))
    caption = seen[0, :, :CAPTION].mul(255).round()
    for color, columns in (((213, 94, 0), slice(0, 100)), ((86, 180, 233), slice(388, 488))):
        wanted = torch.tensor(color, dtype=torch.float32).view(3, 1, 1)
        assert ((caption[..., columns] - wanted).abs().amax(0) < 3).sum() > 60
