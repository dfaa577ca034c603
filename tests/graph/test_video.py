"""Batches in whole chains: one object over many frames, many objects in one frame, boxes per frame, frames without the object."""

import numpy as np
import pytest
import torch

from pictures import smooth_picture

HEIGHT, WIDTH, FRAMES = 90, 120, 3
TARGETS = torch.from_numpy(np.stack([smooth_picture(HEIGHT, WIDTH, 5 + index) for index in range(FRAMES)])).float()
SOURCE = torch.from_numpy(smooth_picture(40, 50, 1)).float()[None] * 0.5
MASK = torch.zeros(1, 40, 50)
MASK[:, 10:30, 15:45] = 1
BOXES = [[{"x": 10 + 20 * index, "y": 5 + 15 * index, "width": 30, "height": 20}] for index in range(FRAMES)]
STAGE = {"recipe": "painting", "iterations": 5, "content": 1.0, "style": 1.0, "histogram": 0.0, "tv": 0.0}
STAGE |= {"keep_color": 1.0, "statistics": "object"}
AUTO_BLEND = {"edge_softness": 1.0, "color_fidelity": 1.0, "color_containment": 1.0, "color_match": 0.0}


def place(**inputs):
    inputs = {
        "source": SOURCE,
        "mask": MASK,
        "x": 0.5,
        "y": 0.5,
        "scale": 1.0,
        "rotation": 0.0,
        "flip": False,
        **inputs,
    }
    return {"class_type": "DeepBlend_PlaceObject", "inputs": inputs}


def blend(placed, target, mode="auto, first frame decides"):
    inputs = {"object": [placed, 0], "mask": [placed, 1], "target": target, "mode": mode, **AUTO_BLEND}
    return {"class_type": "DeepBlend_AutoBlend", "inputs": inputs}


def refine(blended, target, video=True):
    inputs = {"object": [blended, 0], "start": [blended, 0], "mask": [blended, 1], "target": target, "gradient": 1.0}
    return {"class_type": "DeepBlend_Stage1", "inputs": {**inputs, **STAGE, "video": video}}


def chain(target, **place_inputs):
    return {
        "place": place(target=target, **place_inputs),
        "blend": blend("place", target),
        "refine": refine("blend", target),
    }


WANTED = (["place", 1], ["place", 3], ["blend", 0], ["blend", 1], ["refine", 0])


def assert_only_the_object_changed(image, mask, target):
    assert image.shape == target.shape
    for frame, inside, before in zip(image, mask, target, strict=True):
        assert torch.equal(frame[inside == 0], before[inside == 0])
        assert not inside.any() or (frame[inside == 1] - before[inside == 1]).abs().mean() > 0.02


def test_an_object_follows_the_boxes_of_the_frames(host):
    mask, boxes, blended, seated, refined = host.run_graph(chain(TARGETS, bboxes=BOXES), *WANTED)
    for index, ((box,), (wanted,)) in enumerate(zip(boxes, BOXES, strict=True)):
        assert {side: box[side] for side in wanted} == wanted
        assert mask[index].sum() == MASK.sum()
        part = slice(box["y"], box["y"] + 20), slice(box["x"], box["x"] + 30)
        assert (mask[index][part] == 1).all()
    for image in (blended, refined):
        assert_only_the_object_changed(image, seated, TARGETS)


def test_one_object_over_many_frames(host):
    mask, boxes, blended, seated, refined = host.run_graph(chain(TARGETS), *WANTED)
    assert all(frame == boxes[0] for frame in boxes) and len(boxes) == FRAMES
    assert torch.equal(mask, mask[:1].expand_as(mask))
    for image in (blended, refined):
        assert_only_the_object_changed(image, seated, TARGETS)


def test_many_objects_over_one_picture_are_many_pictures(host):
    sources = torch.cat([SOURCE, SOURCE.flip(2), 1 - SOURCE])
    target = TARGETS[:1]
    mask, boxes, blended, seated, _ = host.run_graph(chain(target, source=sources), *WANTED)
    assert len(boxes) == len(mask) == len(blended) == FRAMES
    assert_only_the_object_changed(blended, seated, target.expand(FRAMES, -1, -1, -1))
    unrelated = {"blend": blend("place", target, "auto"), "refine": refine("blend", target, video=False)}
    together = host.run_graph({**chain(target, source=sources), **unrelated}, ["blend", 0], ["refine", 0])
    for index in range(FRAMES):
        alone = host.run_graph(chain(target, source=sources[index][None]), ["blend", 0], ["refine", 0])
        for one, all_of_them in zip(alone, together, strict=True):
            assert torch.equal(one[0], all_of_them[index])


@pytest.mark.parametrize("shift", [0.3, 0.12])
def test_a_second_object_is_set_into_the_first_ones_picture(host, shift):
    """Beside each other, and the second over a part of the first."""
    target = TARGETS[:1]
    graph = {
        "place": place(target=target, x=0.3),
        "blend": blend("place", target),
        "second": place(source=1 - SOURCE, target=["blend", 0], x=0.3 + shift),
        "over": blend("second", ["blend", 0]),
    }
    wanted = ["place", 1], ["blend", 0], ["second", 1], ["over", 0], ["over", 1]
    first_mask, first, second_mask, both, seated = host.run_graph(graph, *wanted)
    overlap = ((first_mask > 0) & (second_mask > 0)).any()
    assert bool(overlap) == (shift < 0.2)
    assert_only_the_object_changed(both, seated, first)
    untouched = (first_mask == 0) & (second_mask == 0)
    assert torch.equal(both[untouched], target[untouched])
    only_first = (first_mask > 0) & (second_mask == 0)
    assert torch.equal(both[only_first], first[only_first])


def test_a_frame_without_the_object_is_the_target(host):
    """The object is in the source's first and last frame only, as a segmenter gives it for a video."""
    masks = MASK.expand(FRAMES, -1, -1).clone()
    masks[1] = 0
    graph = chain(TARGETS, source=SOURCE.expand(FRAMES, -1, -1, -1).clone(), mask=masks, bboxes=BOXES)
    placed, boxes, blended, seated, refined = host.run_graph(graph, *WANTED)
    assert [len(frame) for frame in boxes] == [1, 0, 1]
    assert not placed[1].any() and not seated[1].any()
    for image in (blended, refined):
        assert torch.equal(image[1], TARGETS[1])
        assert_only_the_object_changed(image, seated, TARGETS)


def test_an_object_that_leaves_the_frame(host):
    """Half of it is to be seen in the first frame, a quarter in the second, one column in the third."""
    boxes = [[{"x": x, "y": 40, "width": 30, "height": 20}] for x in (105, 112, 119)]
    mask, placed, blended, _, refined = host.run_graph(chain(TARGETS, bboxes=boxes), *WANTED)
    assert [frame[0]["width"] for frame in placed] == [15, 8, 1]
    assert [int(frame.any(0).sum()) for frame in mask] == [15, 8, 1]
    for image in (blended, refined):
        assert torch.equal(image[mask == 0], TARGETS[mask == 0])
        assert torch.isfinite(image).all()
