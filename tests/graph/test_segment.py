import logging

import pytest
import skimage.data
import torch

NODE = "DeepBlend_GrabCutMask"
ASTRONAUT = torch.from_numpy(skimage.data.astronaut()).float()[None] / 255
PATCH = {"x": 125, "y": 335, "width": 95, "height": 100}
HELMET = {"x": 270, "y": 340, "width": 235, "height": 170}


def test_mask_covers_the_object_and_nothing_outside_the_box(host):
    mask = host.run_node(NODE, image=ASTRONAUT, bboxes=PATCH)
    assert mask.shape == (1, 512, 512)
    assert set(mask.unique().tolist()) == {0, 1}
    inside = mask[:, 335:435, 125:220]
    assert mask.sum() == inside.sum()
    assert 0.3 < inside.mean() < 0.7


def test_several_boxes_give_one_mask_of_all_objects(host):
    one, other = (host.run_node(NODE, image=ASTRONAUT, bboxes=box, iterations=2) for box in (PATCH, HELMET))
    both = host.run_node(NODE, image=ASTRONAUT, bboxes=[PATCH, HELMET], iterations=2)
    assert torch.equal(both, torch.maximum(one, other))


def test_a_frame_without_a_box_has_an_empty_mask(host):
    frames = ASTRONAUT.repeat(2, 1, 1, 1)
    mask = host.run_node(NODE, image=frames, bboxes=[[], [PATCH]], iterations=1)
    assert not mask[0].any()
    assert mask[1].any()


def test_no_box_at_all_warns(host, caplog):
    with caplog.at_level(logging.WARNING):
        mask = host.run_node(NODE, image=ASTRONAUT, bboxes=[[]])
    assert not mask.any()
    assert "no object was found" in caplog.text


def test_rgba_picture(host):
    rgba = torch.cat([ASTRONAUT, torch.ones_like(ASTRONAUT[..., :1])], -1)
    assert torch.equal(
        host.run_node(NODE, image=rgba, bboxes=PATCH, iterations=1),
        host.run_node(NODE, image=ASTRONAUT, bboxes=PATCH, iterations=1),
    )


@pytest.mark.parametrize(
    ("box", "sentence"),
    [
        (
            {"x": 0, "y": 0, "width": 512, "height": 512},
            "width=512 height=512 covers the whole picture of 512×512 pixels",
        ),
        ({"x": 600, "y": 0, "width": 5, "height": 5}, "x=600 y=0 width=5 height=5 lies outside the picture of 512×512"),
        ({"x": 10, "y": 10, "width": -5, "height": 5}, "width=-5 height=5 is empty or reversed"),
        ({"x": 10, "y": 10, "width": 0, "height": 0}, "width=0 height=0 is empty or reversed"),
    ],
)
def test_bad_boxes_get_a_sentence(host, box, sentence):
    with pytest.raises(RuntimeError, match=sentence):
        host.run_node(NODE, image=ASTRONAUT, bboxes=box)


def test_nan_and_frames_that_do_not_match_get_a_sentence(host):
    with pytest.raises(RuntimeError, match="image holds 786432 values that are NaN"):
        host.run_node(NODE, image=ASTRONAUT * float("nan"), bboxes=PATCH)
    with pytest.raises(
        RuntimeError, match="boxes for 2 frames but the batch has 1; boxes for every frame or one list for all"
    ):
        host.run_node(NODE, image=ASTRONAUT, bboxes=[[PATCH], [PATCH]])


def test_missing_opencv_is_named(host, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "cv2", None)
    with pytest.raises(RuntimeError, match=r"GrabCut needs OpenCV, which cannot be imported .*; install opencv-python"):
        host.run_node(NODE, image=ASTRONAUT, bboxes=PATCH)
