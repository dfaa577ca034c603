import logging

import pytest
import torch

from pictures import smooth_picture

NODE = "DeepBlend_PlaceObject"


def picture(height, width, seed=0):
    return torch.from_numpy(smooth_picture(height, width, seed)).float()[None]


SOURCE, TARGET = picture(40, 50, 1), picture(90, 120, 2)
MASK = torch.zeros(1, 40, 50)
MASK[:, 10:30, 15:45] = 1


def test_centre_of_the_mask_box_lands_on_x_and_y(host):
    object_, mask, composite, boxes = host.run_node(NODE, source=SOURCE, mask=MASK, target=TARGET, x=0.25, y=0.5)
    assert boxes == [[{"x": 15, "y": 35, "width": 30, "height": 20, "label": "object", "score": 1.0}]]
    assert mask.sum() == MASK.sum()
    assert object_.shape == composite.shape == TARGET.shape
    assert torch.equal(composite[:, 35:55, 15:45], SOURCE[:, 10:30, 15:45])
    assert torch.equal(composite[mask == 0], TARGET[mask == 0])


def test_box_replaces_position_and_scale_and_keeps_the_proportions(host):
    box = {"x": 60, "y": 10, "width": 45, "height": 80, "label": "cup", "score": 0.8}
    _, mask, _, boxes = host.run_node(
        NODE, source=SOURCE, mask=MASK, target=TARGET, bboxes=[[box]], x=0.1, y=0.1, scale=9.0
    )
    placed = boxes[0][0]
    assert (placed["label"], placed["score"]) == ("cup", 0.8)
    # 30 × 20 pixels scaled by 1.5, in the middle of the box; the picture moves by whole pixels.
    for side, wanted in {"x": 60, "y": 35, "width": 45, "height": 30}.items():
        assert abs(placed[side] - wanted) <= 1
    assert mask.sum() == pytest.approx(45 * 30, rel=0.02)


def test_core_nodes_take_our_boxes(host):
    from comfy_extras.nodes_rtdetr import DrawBBoxes

    *_, boxes = host.run_node(NODE, source=SOURCE, mask=MASK, target=TARGET)
    assert DrawBBoxes.execute(bboxes=boxes, image=TARGET).args[0].shape == TARGET.shape


def test_alpha_of_the_source_is_the_mask_when_none_is_wired(host):
    rgba = torch.cat([SOURCE, 0.75 * MASK[..., None]], -1)
    object_, mask, *_ = host.run_node(NODE, source=rgba, target=TARGET, x=0.25, y=0.5)
    assert object_.shape == TARGET.shape
    assert mask.max() == 0.75
    assert mask.sum() == 0.75 * MASK.sum()
    _, whole, *_ = host.run_node(NODE, source=SOURCE, target=TARGET)
    assert whole.sum() == 40 * 50


def test_rgba_target_becomes_opaque_under_the_object(host):
    target = torch.cat([TARGET, torch.zeros_like(TARGET[..., :1])], -1)
    _, mask, composite, _ = host.run_node(NODE, source=SOURCE, mask=MASK, target=target)
    assert torch.equal(composite[..., 3], mask)
    assert torch.equal(composite[mask == 0], target[mask == 0])


def test_occluder_stays_in_front(host):
    occluder = torch.zeros(1, 90, 120)
    occluder[:, :, :60] = 1
    _, mask, composite, boxes = host.run_node(NODE, source=SOURCE, mask=MASK, target=TARGET, occluder=occluder)
    assert not mask[:, :, :60].any()
    assert torch.equal(composite[:, :, :60], TARGET[:, :, :60])
    assert boxes[0][0]["x"] == 60


def test_batches_and_boxes_per_frame(host):
    boxes = [[{"x": 10 * i, "y": 5, "width": 30, "height": 20}] for i in range(3)]
    targets = torch.cat([picture(90, 120, seed) for seed in range(3)])
    object_, mask, composite, placed = host.run_node(NODE, source=SOURCE, mask=MASK, target=targets, bboxes=boxes)
    assert [frame[0]["x"] for frame in placed] == [0, 10, 20]
    for index in range(3):
        one = host.run_node(NODE, source=SOURCE, mask=MASK, target=targets[index : index + 1], bboxes=boxes[index])
        for together, alone in zip((object_, mask, composite), one, strict=False):
            assert torch.equal(together[index], alone[0])


def test_frame_without_a_box_uses_the_widgets_and_warns(host, caplog):
    targets = TARGET.expand(2, -1, -1, -1).clone()
    with caplog.at_level(logging.WARNING):
        *_, boxes = host.run_node(
            NODE, source=SOURCE, mask=MASK, target=targets, bboxes=[[], [{"x": 0, "y": 0, "width": 30, "height": 20}]]
        )
    assert [boxes[0][0]["x"], boxes[1][0]["x"]] == [45, 0]
    assert "bboxes is empty in 1 of 2 frames; x, y and scale place the object" in caplog.text


@pytest.mark.parametrize("mask", [torch.zeros(1, 40, 50), MASK])
def test_nothing_to_see_gives_the_target_and_a_warning(host, caplog, mask):
    with caplog.at_level(logging.WARNING):
        _, placed, composite, boxes = host.run_node(NODE, source=SOURCE, mask=mask, target=TARGET, x=2.0, y=2.0)
    assert not placed.any()
    assert torch.equal(composite, TARGET)
    assert boxes == [[]]
    assert len(caplog.records) == 1


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            {"mask": torch.zeros(1, 30, 40)},
            "mask is 40×30 pixels but source is 50×40; mask must have the size of source",
        ),
        ({"mask": torch.zeros(1, 64, 64)}, "the picture has no alpha channel; wire a mask"),
        ({"occluder": torch.zeros(1, 40, 50)}, "occluder is 50×40 pixels but target is 120×90"),
        ({"occluder": torch.zeros(1, 64, 64)}, "occluder is the empty 64×64 mask that Load Image gives"),
        ({"mask": torch.zeros(1, 1, 40, 50)}, "mask has the shape .* a mask .batch, height, width. or"),
        (
            {"source": SOURCE.repeat(2, 1, 1, 1), "target": TARGET.repeat(3, 1, 1, 1)},
            "source has 2 frames but target has 3",
        ),
        ({"bboxes": {"x": 0, "y": 0, "width": 0, "height": 5}}, "width=0 height=5 is empty or reversed"),
        ({"bboxes": {"x": 500, "y": 0, "width": 9, "height": 5}}, "lies outside the picture of 120×90 pixels"),
        ({"bboxes": [[], []]}, "boxes for 2 frames but the batch has 1"),
        ({"source": SOURCE * float("nan")}, "source holds 6000 values that are NaN"),
        ({"scale": 0.0}, "smaller than min"),
    ],
)
def test_bad_input_gets_a_sentence(host, change, sentence):
    with pytest.raises(RuntimeError, match=sentence):
        host.run_node(NODE, **{"source": SOURCE, "mask": MASK, "target": TARGET, **change})


def test_scale_rotation_and_flip_reach_the_picture(host):
    """Halving whole pairs of equal pixels gives them back, so the expected pixels are known."""
    small = torch.rand(1, 20, 26, 3, generator=torch.Generator().manual_seed(4))
    large = small.repeat_interleave(4, 1).repeat_interleave(4, 2)
    mask = torch.ones(1, 80, 104)
    *_, composite, boxes = host.run_node(
        NODE, source=large, mask=mask, target=TARGET, scale=0.5, rotation=90.0, flip=True, x=0.5, y=0.5
    )
    box = boxes[0][0]
    assert (box["width"], box["height"]) == (40, 52)
    seen = composite[:, box["y"] : box["y"] + 52, box["x"] : box["x"] + 40]
    wanted = torch.rot90(small.flip(2), -1, (1, 2)).repeat_interleave(2, 1).repeat_interleave(2, 2)
    assert (seen - wanted).abs().mean() < 0.08  # the cubic kernel sharpens the steps a little
    assert (seen - wanted.flip(2)).abs().mean() > 0.2
    assert (seen - wanted.flip(1)).abs().mean() > 0.2


def test_turned_object_still_fits_its_box(host):
    box = {"x": 20, "y": 10, "width": 60, "height": 60}
    _, mask, *_ = host.run_node(NODE, source=SOURCE, mask=MASK, target=TARGET, bboxes=box, rotation=40.0)
    rows, columns = (mask[0] >= 0.5).any(1).nonzero()[:, 0], (mask[0] >= 0.5).any(0).nonzero()[:, 0]
    assert 20 <= columns[0] <= 22
    assert 77 <= columns[-1] <= 79
    assert 10 <= rows[0]
    assert rows[-1] <= 69


def test_half_transparent_occluder_covers_half(host):
    occluder = torch.full((1, 90, 120), 0.4)
    _, mask, composite, _ = host.run_node(NODE, source=SOURCE, mask=MASK, target=TARGET, occluder=occluder, x=0.25)
    assert mask.max() == pytest.approx(0.6)
    wanted = 0.6 * SOURCE[:, 10:30, 15:45] + 0.4 * TARGET[:, 35:55, 15:45]
    assert (composite[:, 35:55, 15:45] - wanted).abs().max() < 1e-6


def test_mask_without_a_batch_dimension(host):
    together = host.run_node(NODE, source=SOURCE, mask=MASK[0], target=TARGET)
    assert torch.equal(together[1], host.run_node(NODE, source=SOURCE, mask=MASK, target=TARGET)[1])
