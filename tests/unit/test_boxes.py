import math

import numpy as np
import pytest

from deepblend.segmentation.boxes import boxes_per_frame, clip_box

BOX = {"x": 3, "y": 4, "width": 10, "height": 20}


def test_all_forms_become_boxes_per_frame():
    other = {**BOX, "label": "cat", "score": 0.5}
    assert boxes_per_frame(BOX, 2) == [[BOX], [BOX]]
    assert boxes_per_frame([BOX, other], 2) == [[BOX, other], [BOX, other]]
    assert boxes_per_frame([[BOX], [other]], 2) == [[BOX], [other]]
    assert boxes_per_frame([[other]], 3) == [[other]] * 3
    assert boxes_per_frame([[], [BOX]], 2) == [[], [BOX]]
    assert boxes_per_frame([], 1) == [[]]
    assert boxes_per_frame(((BOX, other),), 1) == [[BOX, other]]


def test_numbers_of_numpy_are_numbers():
    box = {"x": np.int64(3), "y": np.float32(4.2), "width": np.float64(10), "height": np.uint8(20)}
    assert boxes_per_frame(box, 1) == [[BOX]]
    assert all(type(value) is int for value in boxes_per_frame(box, 1)[0][0].values())


def test_fractions_are_rounded_at_the_sides():
    box = boxes_per_frame({"x": 1.4, "y": 1.6, "width": 2.2, "height": 2.2}, 1)[0][0]
    assert box == {"x": 1, "y": 2, "width": 3, "height": 2}


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ({**BOX, "width": 0}, "width=0"),
        ({**BOX, "width": -5}, "width=-5"),
        ({**BOX, "height": 0.2}, "at least 1 pixel"),
        ({**BOX, "x": math.nan}, "not finite"),
        ({"x": 1, "y": 2}, "needs the numbers x, y, width and height"),
        ({**BOX, "x": "1"}, "needs the numbers"),
        ("box", "bboxes is a str"),
        ([BOX, [BOX]], "bboxes is a list of another form"),
        ([[BOX], [BOX]], "boxes for 2 frames but the batch has 3"),
    ],
)
def test_bad_boxes_get_a_sentence(value, sentence):
    with pytest.raises(ValueError, match=sentence):
        boxes_per_frame(value, 3)


def test_boxes_are_clipped_to_the_picture():
    assert clip_box({**BOX, "x": -4, "label": "cat"}, 100, 15) == {
        "x": 0,
        "y": 4,
        "width": 6,
        "height": 11,
        "label": "cat",
    }
    with pytest.raises(ValueError, match="x=3 y=4 width=10 height=20 lies outside the picture of 3×50 pixels"):
        clip_box(BOX, 3, 50)
