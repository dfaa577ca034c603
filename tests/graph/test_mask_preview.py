"""What the mask nodes show in the editor."""

import logging
import sys
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage

from pictures import smooth_picture

GRABCUT, MORPHOLOGY = "DeepBlend_GrabCutMask", "DeepBlend_MaskMorphology"


@pytest.fixture
def module(host):
    return sys.modules[host.nodes.NODE_CLASS_MAPPINGS[MORPHOLOGY].__module__.replace(".mask", ".mask_preview")]


@pytest.fixture
def overlay(module):
    """The node's overlay of a mask `[H, W]` and a picture `[H, W, 3]`, in the same layout."""

    def draw(mask, picture=None):
        picture = None if picture is None else picture.movedim(-1, 0)[None]
        return module.overlay(mask[None, None], picture)[0].movedim(0, -1).numpy()

    return draw


@pytest.fixture
def shown(host, monkeypatch):
    """Runs a node as the editor does: its outputs, and the previews that it shows."""
    import folder_paths

    def run(node, **inputs):
        monkeypatch.setitem(host.extra_data, "extra_pnginfo", {"workflow": {}})
        mask = host.run_node(node, **inputs)
        output = host.executor.history_result["outputs"].get("node")
        files = [Path(folder_paths.get_temp_directory(), file["filename"]) for file in output["images"]]
        assert {file["type"] for file in output["images"]} == {"temp"}
        return mask, [np.asarray(Image.open(file)) for file in files]

    return run


def picture(height, width, seed=0):
    return torch.from_numpy(smooth_picture(height, width, seed)).float()


def box(height, width):
    mask = torch.zeros(height, width)
    mask[height // 4 : height // 2, width // 4 : 3 * width // 4] = 1
    return mask


def distances(inside):
    """How far each pixel is inside the mask, and how far outside of it; the frame is no edge."""
    inner = np.where(inside.all(), np.inf, ndimage.distance_transform_edt(inside))
    outer = np.where(inside.any(), ndimage.distance_transform_edt(~inside), np.inf)
    return inner, outer


@pytest.mark.parametrize("size", [(120, 200), (600, 450)])
def test_object_is_untouched_and_what_lies_outside_is_dark_and_grey(overlay, size):
    image, mask = picture(*size), box(*size)
    seen = overlay(mask, image)
    inner, outer = distances(mask.numpy() > 0)
    deep, far = inner > 5, outer > 5
    assert np.abs(seen[deep] - image.numpy()[deep]).max() < 1e-6
    assert np.abs(seen[far].mean(-1) - 0.4 * image.numpy()[far].mean(-1)).max() < 0.1
    spread = np.ptp(seen[far] - seen[far].mean(0), axis=-1)
    assert spread.max() < 0.02, "grey but for the tint"


@pytest.mark.parametrize("level", [0.0, 0.5, 1.0])
def test_edge_is_black_inside_and_white_outside(overlay, level):
    mask, image = box(300, 400), torch.full((300, 400, 3), level)
    for seen in (overlay(mask, image), overlay(mask)):
        inner, outer = distances(mask.numpy() > 0)
        assert (seen[(inner > 0) & (inner <= 1)] == 0).all()
        assert (seen[(outer > 0) & (outer <= 1)] == 1).all()
        assert (seen[outer > 3] < 0.99).all(), "elsewhere there is no line"


def test_an_object_cut_by_the_frame_has_no_line_along_it(overlay):
    mask = torch.zeros(200, 300)
    mask[:, :150] = 1
    seen = overlay(mask, torch.full((200, 300, 3), 0.5))
    assert np.abs(seen[0, :140] - 0.5).max() < 1e-6
    assert (seen[:, 149] == 0).all() and (seen[:, 150] == 1).all()


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_empty_and_full_masks_have_no_line(overlay, value):
    image = torch.full((50, 60, 3), 0.5)
    seen = overlay(torch.full((50, 60), value), image)
    assert np.ptp(seen.reshape(-1, 3), axis=0).max() < 1e-6
    assert (seen[0, 0, 0] == 0.5) == (value == 1)


def test_soft_masks_fade_and_their_edge_is_at_half_of_their_strength(overlay):
    ramp = torch.linspace(0, 1, 201).expand(100, 201)
    image = torch.full((100, 201, 3), 0.8)
    for strength in (1.0, 0.2):
        row = overlay(strength * ramp, image)[50, :, 0]
        edge = np.flatnonzero(row == 0)
        assert 99 <= edge.min() <= edge.max() <= 103
        fading = np.delete(row, np.arange(95, 106))
        assert (np.diff(fading) > 0).all()
        assert fading[-1] == pytest.approx(strength * 0.8 + (1 - strength) * 0.32, abs=1e-3)


def test_the_mask_alone_is_shown_as_it_is(overlay):
    mask = torch.linspace(0, 1, 90).expand(60, 90)
    seen = overlay(mask)
    away = np.abs(np.arange(90) - 44.5) > 4
    assert np.abs(seen[:, away] - mask.numpy()[:, away, None]).max() < 1e-6


def test_large_masks_are_shown_small_and_pictures_of_another_size_stretched(overlay):
    mask, image = box(1000, 2000), torch.zeros(300, 100, 3)
    image[:150] = torch.tensor([0.9, 0.2, 0.2])
    image[150:] = torch.tensor([0.2, 0.2, 0.9])
    seen = overlay(mask, image)
    assert seen.shape == (384, 768, 3)
    assert np.abs(seen[140, 384] - [0.9, 0.2, 0.2]).max() < 1e-5
    whole = overlay(torch.ones(1000, 2000), image)
    assert np.abs(whole[[185, 198], 0] - [[0.9, 0.2, 0.2], [0.2, 0.2, 0.9]]).max() < 0.02, (
        "the halves meet in the middle"
    )
    inner, outer = distances(np.asarray(Image.fromarray(mask.numpy()).resize((768, 384))) > 0.5)
    assert (seen[(inner > 0) & (inner <= 2)] == 0).all()
    assert (seen[(outer > 0) & (outer <= 2)] == 1).all()


def test_a_small_object_in_a_large_picture_is_still_marked(overlay):
    mask = torch.zeros(3000, 4000)
    mask[1000:1003, 2000:2003] = 1
    assert (overlay(mask, torch.full((3000, 4000, 3), 0.5)) == 1).any()


def test_mask_morphology_shows_every_frame_over_its_picture(shown):
    masks = torch.stack([box(90, 120), box(90, 120).flip(1)])
    images = torch.stack([picture(90, 120), picture(90, 120, 1)])
    mask, previews = shown(MORPHOLOGY, mask=masks, erode=0, dilate=0, image=images)
    assert torch.equal(mask, masks)
    assert len(previews) == 2
    for index, seen in enumerate(previews):
        deep = distances(masks[index].numpy() > 0)[0] > 3
        assert np.abs(seen[deep] - 255 * images[index].numpy()[deep]).max() <= 1


def test_the_picture_of_mask_morphology_has_no_effect_on_the_mask(host, shown):
    plain = host.run_node(MORPHOLOGY, mask=box(90, 120)[None], feather=5)
    for image in (picture(20, 30)[None], picture(90, 120)[None].repeat(3, 1, 1, 1), torch.rand(1, 90, 120, 4).half()):
        mask, previews = shown(MORPHOLOGY, mask=box(90, 120)[None], feather=5, image=image)
        assert torch.equal(mask, plain)
        assert [seen.shape for seen in previews] == [(90, 120, 3)]
    with pytest.raises(RuntimeError, match="image has the shape"):
        host.run_node(MORPHOLOGY, mask=box(90, 120)[None], image=torch.rand(1, 90, 120, 1))


def test_mask_morphology_without_a_picture_shows_the_mask(shown):
    _, (seen,) = shown(MORPHOLOGY, mask=box(90, 120)[None], erode=0, dilate=0)
    inner, outer = distances(box(90, 120).numpy() > 0)
    assert (seen[inner > 3] == 255).all() and (seen[outer > 3] == 0).all()


def test_grabcut_shows_its_picture(shown):
    image = torch.full((1, 80, 100, 3), 0.2)
    image[:, 30:50, 40:70] = torch.tensor([0.9, 0.5, 0.3])
    mask, (seen,) = shown(GRABCUT, image=image, bboxes={"x": 30, "y": 20, "width": 50, "height": 40})
    deep = distances(mask[0].numpy() > 0)[0] > 3
    assert deep.any()
    assert np.abs(seen[deep] - 255 * image[0].numpy()[deep]).max() <= 1


def test_sam_mask_shows_each_object_over_its_frame(shown, linked):
    from stand_ins import ContrastSegmenter, managed

    model = linked({"patcher": managed(ContrastSegmenter()), "config": {"name": ""}, "embeddings": OrderedDict()})
    frames = torch.full((2, 64, 96, 3), 0.5)
    frames[0, 12:32, 8:40] = torch.tensor([0.8, 0.3, 0.2])
    frames[1, 20:50, 56:84] = torch.tensor([0.2, 0.3, 0.8])
    boxes = [{"x": 4, "y": 8, "width": 40, "height": 28}], [{"x": 52, "y": 16, "width": 36, "height": 38}]
    masks, previews = shown(
        "DeepBlend_SAMMask",
        model=model,
        image=frames,
        bboxes=[[*boxes[0], *boxes[0]], boxes[1]],
        combine="separate",
    )
    assert len(masks) == len(previews) == 3
    for seen, frame, center in zip(previews, (0, 0, 1), ((22, 24), (22, 24), (35, 70)), strict=True):
        assert np.abs(seen[center] - 255 * frames[frame][center].numpy()).max() <= 5
        assert seen[2, 2].max() < 100


def test_of_a_long_batch_the_first_frames_are_shown(shown):
    _, previews = shown(MORPHOLOGY, mask=box(20, 30).repeat(20, 1, 1))
    assert len(previews) == 8


def test_without_the_editor_nothing_is_written(host):
    import folder_paths

    before = set(Path(folder_paths.get_temp_directory()).glob("*"))
    host.run_node(MORPHOLOGY, mask=box(20, 30)[None], image=picture(20, 30)[None])
    assert host.executor.history_result["outputs"] == {}
    assert set(Path(folder_paths.get_temp_directory()).glob("*")) == before


def test_run_goes_on_when_the_previews_cannot_be_written(host, monkeypatch, caplog):
    from comfy_api.latest import ui

    def full(*_, **__):
        raise OSError("No space left on device")

    monkeypatch.setattr(ui.ImageSaveHelper, "save_images", full)
    monkeypatch.setitem(host.extra_data, "extra_pnginfo", {"workflow": {}})
    with caplog.at_level(logging.WARNING):
        mask = host.run_node(MORPHOLOGY, mask=box(20, 30)[None])
    assert mask.shape == (1, 20, 30)
    assert host.executor.history_result["outputs"] == {}
    assert "Mask Morphology: the previews cannot be written (No space left on device)" in caplog.text
