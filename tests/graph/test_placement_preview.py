"""What Place Object puts out for its widget when the editor runs it."""

import json
import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pictures import smooth_picture

NODE = "DeepBlend_PlaceObject"


def picture(height, width, seed=0):
    return torch.from_numpy(smooth_picture(height, width, seed)).float()[None]


SOURCE, TARGET = picture(40, 50, 1), picture(90, 120, 2)
MASK = torch.zeros(1, 40, 50)
MASK[:, 10:30, 15:45] = 1
MASK[:, 10:30, 13:15] = 0.25
OPAQUE_BOX, SIZES = {"x": 15, "y": 10, "width": 30, "height": 20}, {"width": 50, "height": 40}


@pytest.fixture
def editor_run_of_batch(host, monkeypatch):
    """Runs the node as the editor does: its outputs, and what the widget gets, frame by frame."""

    def run(**inputs):
        monkeypatch.setitem(host.extra_data, "extra_pnginfo", {"workflow": {}})
        outputs = host.run_node(NODE, **{"source": SOURCE, "mask": MASK, "target": TARGET, **inputs})
        shown = host.executor.history_result["outputs"].get("node")
        return outputs, shown and shown["placement"]

    return run


@pytest.fixture
def editor_run(editor_run_of_batch):
    """The same for inputs with one sample."""

    def run(**inputs):
        outputs, frames = editor_run_of_batch(**inputs)
        assert frames is None or len(frames) == 1
        return outputs, frames and frames[0]

    return run


def pixels(file):
    import folder_paths

    assert (file["type"], file["subfolder"]) == ("temp", "")
    return np.asarray(Image.open(Path(folder_paths.get_temp_directory(), file["filename"]))).astype(float)


def test_pictures_and_their_places(editor_run):
    _, shown = editor_run(x=0.25, scale=1.5, rotation=20.0, flip=True)
    assert shown["values"] == {"x": 0.25, "y": 0.5, "scale": 1.5, "rotation": 20.0, "flip": True}
    assert (shown["source"], shown["mask_box"]) == (SIZES, OPAQUE_BOX)
    assert shown["target"]["size"] == {"width": 120, "height": 90}
    assert (shown["box"], shown["occluder"]) == (None, None)
    assert np.abs(pixels(shown["target"]["file"]) - 255 * TARGET[0].numpy()).max() <= 1
    assert shown["object"]["crop"] == {"x": 13, "y": 10, "width": 32, "height": 20}
    cut_out = pixels(shown["object"]["file"])
    assert np.abs(cut_out[..., 3] - 255 * MASK[0, 10:30, 13:45].numpy()).max() <= 1
    assert np.abs(cut_out[..., :3] - 255 * SOURCE[0, 10:30, 13:45].numpy()).max() <= 1


def test_numbers_of_numpy_are_sent_as_plain_ones(editor_run, linked):
    _, shown = editor_run(x=linked(np.float32(0.25)), flip=linked(np.bool_(True)))
    assert json.loads(json.dumps(shown))["values"] == {"x": 0.25, "y": 0.5, "scale": 1, "rotation": 0, "flip": True}


def test_large_pictures_are_shown_small_with_their_true_sizes(editor_run):
    target, source = picture(1500, 2100, 3), picture(1200, 1300, 4)
    mask = torch.zeros(1, 1200, 1300)
    mask[:, 20:1180, 100:1260] = 1
    _, shown = editor_run(source=source, mask=mask, target=target)
    assert shown["target"]["size"] == {"width": 2100, "height": 1500}
    seen = pixels(shown["target"]["file"])
    assert seen.shape == (731, 1024, 3)
    whole = Image.fromarray((255 * target[0].numpy()).astype(np.uint8))
    assert np.abs(seen - np.asarray(whole.resize((1024, 731), Image.Resampling.BILINEAR)).astype(float)).mean() < 1
    assert shown["object"]["crop"] == {"x": 100, "y": 20, "width": 1160, "height": 1160}
    assert pixels(shown["object"]["file"]).shape == (1024, 1024, 4)


def test_occluder_is_shown_by_its_opacity(editor_run):
    occluder = torch.zeros(1, 90, 120)
    occluder[:, 20:50] = 0.6
    _, shown = editor_run(occluder=occluder)
    assert np.abs(pixels(shown["occluder"])[..., 3] - 255 * occluder[0].numpy()).max() <= 1


def test_box_that_placed_the_object(editor_run):
    box = {"x": 10, "y": 20, "width": 45, "height": 30, "label": "cup", "score": 0.8}
    _, shown = editor_run(bboxes=[[box]])
    assert shown["box"] == {"x": 10, "y": 20, "width": 45, "height": 30}
    _, shown = editor_run(bboxes=[[]])
    assert shown["box"] is None


def test_empty_mask_has_no_object(editor_run):
    _, shown = editor_run(mask=torch.zeros(1, 40, 50))
    assert (shown["object"], shown["mask_box"]) == (None, None)


def test_every_frame_of_a_batch_is_shown_and_what_they_share_is_written_once(editor_run_of_batch):
    targets = torch.cat([picture(90, 120, 5), TARGET, TARGET])
    masks = torch.cat([MASK, MASK, MASK.roll(4, 2)])
    _, frames = editor_run_of_batch(source=SOURCE.expand(3, -1, -1, -1), mask=masks, target=targets)
    assert [(each["frame"], each["frames"]) for each in frames] == [(0, 3), (1, 3), (2, 3)]
    for frame, target in zip(frames, targets, strict=True):
        assert np.abs(pixels(frame["target"]["file"]) - 255 * target.numpy()).max() <= 1
    assert [each["mask_box"]["x"] for each in frames] == [15, 15, 19]
    assert [each["object"]["crop"]["x"] for each in frames] == [13, 13, 17]
    files = {role: [each[role]["file"]["filename"] for each in frames] for role in ("target", "object")}
    assert files["target"][0] != files["target"][1] == files["target"][2]
    assert files["object"][0] == files["object"][1] != files["object"][2]


def test_large_batch_is_shown_by_frames_from_the_first_to_the_last_that_are_smaller(editor_run_of_batch):
    light = torch.linspace(0, 1, 40)[:, None, None, None]
    targets = (light * torch.ones(40, 30, 900, 3)).contiguous()
    _, frames = editor_run_of_batch(target=targets)
    places = [each["frame"] for each in frames]
    assert (len(places), places[0], places[-1], {each["frames"] for each in frames}) == (16, 0, 39, {40})
    assert set(np.diff(places)) == {2, 3}
    for frame in frames:
        seen = pixels(frame["target"]["file"])
        assert seen.shape == (17, 512, 3)
        assert np.abs(seen - 255 * light[frame["frame"]].item()).max() <= 1.5
        assert frame["target"]["size"] == {"width": 900, "height": 30}


def test_each_frame_has_the_box_that_placed_its_object(editor_run_of_batch):
    box = {"x": 10, "y": 20, "width": 45, "height": 30}
    _, frames = editor_run_of_batch(target=torch.cat([TARGET] * 3), bboxes=[[box], [], [box | {"x": 50}]])
    assert [each["box"] for each in frames] == [box, None, box | {"x": 50}]


def test_transparent_target_stays_transparent(editor_run):
    _, shown = editor_run(target=torch.cat([TARGET, torch.full_like(TARGET[..., :1], 0.5)], -1))
    assert np.abs(pixels(shown["target"]["file"])[..., 3] - 127).max() <= 1


def test_without_the_editor_nothing_is_written_and_the_results_are_the_same(host, editor_run):
    import folder_paths

    def written():
        return set(Path(folder_paths.get_temp_directory()).glob("*placement*"))

    before = written()
    alone = host.run_node(NODE, source=SOURCE, mask=MASK, target=TARGET)
    assert host.executor.history_result["outputs"] == {}
    assert written() == before
    outputs, _ = editor_run()
    assert written() != before
    for one, other in zip(alone[:3], outputs[:3], strict=True):
        assert torch.equal(one, other)
    assert alone[3] == outputs[3]


def test_run_goes_on_when_the_pictures_cannot_be_written(editor_run, monkeypatch, caplog):
    from comfy_api.latest import ui

    def full(*_, **__):
        raise OSError("No space left on device")

    monkeypatch.setattr(ui.ImageSaveHelper, "save_images", full)
    with caplog.at_level(logging.WARNING):
        outputs, shown = editor_run()
    assert len(outputs) == 4
    assert shown is None
    assert "cannot be written (No space left on device)" in caplog.text
