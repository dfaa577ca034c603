import math

import pytest
import torch
import torchvision

from deepblend.segmentation.phrases import Phrase
from deepblend.segmentation.text_boxes import (
    SELECTIONS,
    boxes_above_thresholds,
    detector_pixels,
    input_size,
    phrase_scores,
    select_boxes,
)


@pytest.mark.parametrize("size", [(480, 640), (640, 480), (800, 800), (1333, 800), (333, 1000), (2160, 3840), (97, 31)])
def test_input_has_the_size_that_groundingdino_was_trained_with(size):
    transforms = pytest.importorskip("groundingdino.datasets.transforms", reason="groundingdino-py is not installed")
    from PIL import Image

    height, width = size
    expected, _ = transforms.RandomResize([800], max_size=1333)(Image.new("RGB", (width, height)), None)
    assert input_size(height, width) == (expected.height, expected.width)


def test_very_long_pictures_keep_a_shorter_side():
    sizes = [input_size(*size) for size in ((10, 4000), (1, 4000), (100, 3000))]
    assert sizes == [(40, 1333), (40, 1333), (44, 1320)]
    assert input_size(4000, 10) == (1333, 40)
    for size in sizes:  # GroundingDINO has maps of 1/8 to 1/64 of its input, and chooses 900 of their places
        assert sum(math.prod(-(-length // stride) for length in size) for stride in (8, 16, 32, 64)) >= 900


@pytest.mark.parametrize("size", [(60, 90), (1100, 2100)])
def test_pixels_are_those_of_torchvision(size):
    picture = torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(0))
    functional = torchvision.transforms.functional
    resized = functional.resize(picture.double(), list(input_size(*size)), antialias=True)
    expected = functional.normalize(resized, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    torch.testing.assert_close(detector_pixels(picture).double(), expected, atol=1e-3, rtol=0)


def test_a_phrase_scores_as_its_best_token():
    logits = torch.tensor([[9.0, 0.0, 2.0, -1.0, 9.0], [9.0, 1.0, -3.0, -2.0, 9.0]])
    scores = phrase_scores(logits, [[1, 2], [3]])
    torch.testing.assert_close(scores, torch.tensor([[0.880797, 0.268941], [0.731059, 0.119203]]))


PHRASES = [Phrase("cat", 0.3), Phrase("dog", 0.5)]


def found(scores, boxes, phrases=PHRASES, width=200, height=100):
    return boxes_above_thresholds(torch.tensor(scores), torch.tensor(boxes), phrases, width, height)


LEFT, RIGHT, TOP = [0.2, 0.5, 0.2, 0.4], [0.8, 0.5, 0.2, 0.4], [0.5, 0.1, 0.4, 0.1]


def test_boxes_in_pixels_with_label_and_score_best_first():
    boxes = found([[0.4, 0.1], [0.2, 0.75], [0.2, 0.2]], [LEFT, RIGHT, TOP])
    assert boxes == [
        {"x": 140, "y": 30, "width": 40, "height": 40, "label": "dog", "score": 0.75},
        {"x": 20, "y": 30, "width": 40, "height": 40, "label": "cat", "score": pytest.approx(0.4)},
    ]


def test_a_box_has_the_best_phrase_of_those_whose_threshold_it_reaches():
    assert [box["label"] for box in found([[0.6, 0.7]], [LEFT])] == ["dog"]
    assert [box["label"] for box in found([[0.35, 0.45]], [LEFT])] == ["cat"]
    assert found([[0.29, 0.49]], [LEFT]) == []


def test_the_threshold_itself_is_reached():
    assert len(found([[0.5, 0.5]], [LEFT], [Phrase("cat", 0.75), Phrase("dog", 0.5)])) == 1


def test_the_same_object_seen_twice_is_one_box_per_phrase():
    near = [0.205, 0.5, 0.2, 0.4]
    assert [box["score"] for box in found([[0.4, 0.0], [0.6, 0.0]], [LEFT, near])] == [pytest.approx(0.6)]
    assert [box["label"] for box in found([[0.4, 0.0], [0.0, 0.6]], [LEFT, near])] == ["dog", "cat"]
    assert len(found([[0.4, 0.0], [0.6, 0.0]], [LEFT, [0.22, 0.5, 0.2, 0.4]])) == 1  # intersection over union 0.82
    beside = [0.225, 0.5, 0.2, 0.4]  # 0.78
    assert len(found([[0.4, 0.0], [0.6, 0.0]], [LEFT, beside])) == 2


def test_boxes_stay_inside_the_picture_and_empty_ones_are_dropped():
    boxes = found(
        [[0.9, 0.0]] * 4,
        [[0.0, 0.5, 0.2, 2.0], [0.5, 0.5, 0.0, 0.1], [1.5, 0.5, 0.2, 0.2], [0.5, 0.5, float("nan"), 1.0]],
    )
    assert [(box["x"], box["y"], box["width"], box["height"]) for box in boxes] == [(0, 0, 20, 100)]


def test_order_does_not_depend_on_the_order_of_queries():
    boxes = [LEFT, RIGHT, TOP]
    scores = [[0.5, 0.0]] * 3
    assert found(scores, boxes) == found(scores, boxes[::-1])


BOXES = [
    {"x": 50, "y": 0, "width": 10, "height": 10, "score": 0.9},
    {"x": 0, "y": 0, "width": 20, "height": 20, "score": 0.8},
    {"x": 40, "y": 0, "width": 60, "height": 5, "score": 0.7},
    {"x": 30, "y": 0, "width": 20, "height": 20, "score": 0.6},
]


@pytest.mark.parametrize(
    ("selection", "index", "expected"),
    [
        ("all", 0, [0, 1, 2, 3]),
        ("best", 3, [0]),
        ("largest", 0, [1]),  # the better one of two equals
        ("left", 0, [1]),
        ("right", 0, [2]),
        ("index", 0, [0]),
        ("index", 3, [3]),
        ("index", 4, []),
    ],
)
def test_selection(selection, index, expected):
    assert select_boxes(BOXES, selection, index) == [BOXES[place] for place in expected]


@pytest.mark.parametrize("selection", SELECTIONS)
def test_selection_from_nothing(selection):
    assert select_boxes([], selection, 0) == []
