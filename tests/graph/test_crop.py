"""Crop Object and Stitch Object; tests/graph/test_seam_inpainting.py has a diffusion model between them."""

import json
import logging

import numpy as np
import pytest
import torch

from oracles import resized
from pictures import random_picture

CROP, STITCH = "DeepBlend_CropObject", "DeepBlend_StitchObject"
HEIGHT, WIDTH = 300, 400
PICTURE = random_picture(HEIGHT, WIDTH)


def rectangle(left, top, width, height):
    mask = torch.zeros(1, HEIGHT, WIDTH)
    mask[:, top : top + height, left : left + width] = 1
    return mask


OBJECT = rectangle(250, 180, 60, 40)
# A part of 96 x 64 pixels around it, which becomes twice as large.
ENLARGED = {"width": 192, "height": 128, "context": 1.6}
OWN_SIZE = {"width": 128, "height": 64, "resize": "reduce only"}


def test_crop_is_the_part_around_the_object_in_the_wanted_size(host):
    image, mask, boxes = host.run_node(CROP, image=PICTURE, mask=OBJECT, **ENLARGED)
    assert boxes == [[{"x": 232, "y": 168, "width": 96, "height": 64, "label": "crop", "score": 1.0}]]
    part, part_of_mask = PICTURE[0, 168:232, 232:328], OBJECT[0, 168:232, 232:328]
    assert np.abs(image[0].numpy() - resized(part.numpy(), (128, 192))).max() < 1e-5
    wanted = resized(part_of_mask.numpy(), (128, 192))
    assert np.abs(mask[0].numpy() - np.where(wanted < 1 / 255, 0, wanted)).max() < 1e-5


def test_crop_in_its_own_size_is_what_comfyui_crops(host):
    image, mask, boxes = host.run_node(CROP, image=PICTURE, mask=OBJECT, **OWN_SIZE)
    ((box,),) = boxes
    assert torch.equal(image, host.run_node("ImageCropV2", image=PICTURE, crop_region=box))
    assert torch.equal(mask[0], OBJECT[0, box["y"] : box["y"] + 64, box["x"] : box["x"] + 128])
    drawn = host.run_node("DrawBBoxes", image=PICTURE, bboxes=boxes)
    changed = ((drawn - PICTURE).abs() > 0.05).any(-1)[0].nonzero()
    assert (changed.amin(0) - torch.tensor([box["y"], box["x"]])).abs().max() < 24  # with a line and a label


def test_frames_have_one_size_and_a_box_of_their_own(host):
    places = [(0, 0, 30, 20), (250, 180, 60, 40), (380, 290, 20, 10)]
    masks = torch.cat([rectangle(*place) for place in places])
    frames = random_picture(HEIGHT, WIDTH, batch=3)
    image, mask, boxes = host.run_node(CROP, image=frames, mask=masks, **ENLARGED)
    assert image.shape == (3, 128, 192, 3) and mask.shape == (3, 128, 192)
    assert [(box["x"], box["y"], box["width"], box["height"]) for (box,) in boxes] == [
        (0, 0, 96, 64),
        (232, 168, 96, 64),
        (304, 236, 96, 64),
    ]
    for index, (box,) in enumerate(boxes):
        part = frames[index, box["y"] : box["y"] + 64, box["x"] : box["x"] + 96]
        assert np.abs(image[index].numpy() - resized(part.numpy(), (128, 192))).max() < 1e-5
    # One picture with several masks, and several pictures with one mask.
    shared, _, same_boxes = host.run_node(CROP, image=frames[:1], mask=masks, **ENLARGED)
    assert same_boxes == boxes and torch.equal(shared[0], image[0])
    shared, _, one_box = host.run_node(CROP, image=frames, mask=masks[1:2], **ENLARGED)
    assert one_box == [boxes[1]] * 3 and torch.equal(shared[1], image[1])


@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("resize", ["reduce only", "never"])
def test_untouched_crop_in_its_own_size_comes_back_bit_for_bit(host, channels, resize):
    target = random_picture(HEIGHT, WIDTH, batch=2, channels=channels)
    soft = OBJECT * torch.rand(2, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(1))
    image, _, boxes = host.run_node(CROP, image=target, mask=soft, **{**OWN_SIZE, "resize": resize})
    assert image.shape == (2, 64, 128, 3)
    assert torch.equal(host.run_node(STITCH, image=image, bboxes=boxes, target=target, mask=soft), target)


@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("factor", [1, 2])
def test_edited_crop_changes_the_pixels_under_the_mask_and_no_other(host, channels, factor):
    """Also when an upscaler enlarged the crop further."""
    target = random_picture(HEIGHT, WIDTH, batch=2, channels=channels)
    masks = torch.cat([OBJECT, rectangle(370, 0, 30, 70) * 0.4])
    _, _, boxes = host.run_node(CROP, image=target, mask=masks, **ENLARGED)
    edited = random_picture(128 * factor, 192 * factor, batch=2, channels=channels, seed=5)
    result = host.run_node(STITCH, image=edited, bboxes=boxes, target=target, mask=masks)
    assert result.shape == target.shape
    outside = masks == 0
    assert torch.equal(result[outside], target[outside])
    assert torch.equal(result[..., 3:], target[..., 3:])
    for index, (box,) in enumerate(boxes):
        rows, columns = (
            slice(box[start], box[start] + box[length]) for start, length in (("y", "height"), ("x", "width"))
        )
        back = resized(edited[index, ..., :3].numpy(), (box["height"], box["width"]))
        assert masks[index, rows, columns].sum() == masks[index].sum(), "all of the object is in the crop"
        m = masks[index, rows, columns, None].numpy()
        wanted = m * back + (1 - m) * target[index, rows, columns, :3].numpy()
        assert np.abs(result[index, rows, columns, :3].numpy() - wanted).max() < 1e-5


@pytest.mark.parametrize(("width", "height"), [(1024, 64), (64, 1024), (832, 1216)])
def test_crop_of_any_shape_is_taken_back(host, width, height):
    """A box in whole pixels has the shape of such a crop only roughly."""
    image, _, boxes = host.run_node(CROP, image=PICTURE, mask=OBJECT, width=width, height=height, context=1.3)
    assert image.shape == (1, height, width, 3)
    result = host.run_node(STITCH, image=1 - image, bboxes=boxes, target=PICTURE, mask=OBJECT)
    assert torch.equal(result[OBJECT == 0], PICTURE[OBJECT == 0])
    assert (result[OBJECT == 1] - 1 + PICTURE[OBJECT == 1]).abs().mean() < 0.2, "noise is blurred but in its place"


def test_several_edits_of_one_crop_give_several_pictures(host):
    _, _, boxes = host.run_node(CROP, image=PICTURE, mask=OBJECT, **ENLARGED)
    edited = random_picture(128, 192, batch=3, seed=5)
    together = host.run_node(STITCH, image=edited, bboxes=boxes, target=PICTURE, mask=OBJECT)
    assert together.shape == (3, HEIGHT, WIDTH, 3)
    for index in range(3):
        one = host.run_node(STITCH, image=edited[index : index + 1], bboxes=boxes, target=PICTURE, mask=OBJECT)
        assert torch.equal(together[index], one[0])


def test_part_that_is_larger_than_the_frame_repeats_its_border(host):
    image, _, boxes = host.run_node(CROP, image=PICTURE, mask=torch.ones(1, HEIGHT, WIDTH), width=512, height=512)
    ((box,),) = boxes
    assert (box["x"], box["y"], box["width"], box["height"]) == (0, -50, 400, 400)
    assert (image[0, 2:50] - image[0, 2:3]).abs().max() < 1e-5  # the first rows feel where the picture ends
    changed = host.run_node(STITCH, image=1 - image, bboxes=boxes, target=PICTURE, mask=OBJECT)
    assert torch.equal(changed[OBJECT == 0], PICTURE[OBJECT == 0])
    assert not torch.equal(changed, PICTURE)


def test_empty_mask_leaves_the_target_as_it_is(host, caplog):
    masks = torch.cat([OBJECT, torch.zeros_like(OBJECT)])
    with caplog.at_level(logging.WARNING):
        image, mask, boxes = host.run_node(CROP, image=PICTURE, mask=masks, **ENLARGED)
        result = host.run_node(STITCH, image=1 - image, bboxes=boxes, target=PICTURE, mask=masks)
    assert "Crop Object: mask is empty in 1 of 2 frames; the middle is cropped there" in caplog.text
    assert "Stitch Object: mask is empty in 1 of 2 frames; the target is returned unchanged there" in caplog.text
    assert [boxes[1][0][side] for side in ("x", "y", "width", "height")] == [152, 118, 96, 64]
    assert torch.equal(result[1], PICTURE[0]) and not torch.equal(result[0], PICTURE[0])
    image, mask, boxes = host.run_node(CROP, image=PICTURE, mask=torch.zeros_like(OBJECT), width=512, height=384)
    assert not mask.any() and boxes[0][0]["width"] == WIDTH


def test_small_object_in_a_4k_picture_keeps_the_rest_of_it(host):
    coarse = random_picture(54, 96).movedim(-1, 1)
    target = torch.nn.functional.interpolate(coarse, (2160, 3840), mode="bilinear").movedim(1, -1)
    mask = torch.zeros(1, 2160, 3840)
    mask[0, 2100:2160, 3790:3840] = 1  # in the corner
    image, _, boxes = host.run_node(CROP, image=target, mask=mask)
    assert image.shape == (1, 512, 512, 3)
    assert [boxes[0][0][side] for side in ("x", "y", "width", "height")] == [3750, 2070, 90, 90]
    result = host.run_node(STITCH, image=1 - image, bboxes=boxes, target=target, mask=mask)
    assert torch.equal(result[mask == 0], target[mask == 0])
    assert (result[mask == 1] - (1 - target[mask == 1])).abs().mean() < 0.001, "nothing is shifted on the way"


@pytest.mark.parametrize("kind", [np.int64, np.float32, float])
@pytest.mark.parametrize("resize", ["enlarge and reduce", "never"])
def test_numbers_of_numpy_give_the_same_crop_with_plain_boxes(host, linked, kind, resize):
    numbers = {"width": 192, "height": 128, "context": 2}
    plain = host.run_node(CROP, image=PICTURE, mask=OBJECT, resize=resize, **numbers)
    numbers = {name: linked(kind(number)) for name, number in numbers.items()}
    image, mask, boxes = host.run_node(CROP, image=PICTURE, mask=OBJECT, resize=resize, **numbers)
    assert torch.equal(image, plain[0]) and torch.equal(mask, plain[1])
    assert json.loads(json.dumps(boxes)) == plain[2]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"width": 500}, "width is 500; multiples of 64 are accepted"),
        ({"height": 72}, "height is 72; multiples of 64 are accepted"),
        (
            {"image": torch.zeros(1, 4, 3000, 3), "mask": torch.ones(1, 4, 3000), "width": 64, "height": 4096},
            "mask spans 3000×4 pixels, which in the shape of 64×4096 takes 3000×192000 of the picture",
        ),
        ({"mask": torch.ones(1, 8, 9)}, "mask is 9×8 pixels but image is 400×300"),
        ({"mask": torch.zeros(1, 64, 64)}, "mask is the empty 64×64 mask that Load Image gives"),
        ({"mask": OBJECT.repeat(2, 1, 1), "image": PICTURE.repeat(3, 1, 1, 1)}, "mask has 2 frames but image has 3"),
    ],
)
def test_crop_says_what_is_wrong(host, linked, change, sentence):
    change = {name: linked(value) if isinstance(value, int) else value for name, value in change.items()}
    with pytest.raises(RuntimeError, match=sentence):
        host.run_node(CROP, **{"image": PICTURE, "mask": OBJECT, **change})


BOX = {"x": 232, "y": 168, "width": 96, "height": 64}


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"bboxes": [BOX, BOX]}, "bboxes holds 2 boxes for frame 1; one for each frame is accepted"),
        ({"bboxes": [[BOX], []]}, "bboxes holds boxes for 2 frames but the batch has 1"),
        ({"bboxes": {**BOX, "x": 400}}, "lies outside the picture of 400×300 pixels"),
        (
            {"image": random_picture(120, 192)},
            "image is 192×120 pixels but the crop in bboxes was taken from 96×64; a picture of that shape is accepted",
        ),
        ({"image": random_picture(128, 128)}, "image is 128×128 pixels but the crop"),
        ({"mask": torch.ones(1, 128, 192)}, "mask is 192×128 pixels but target is 400×300"),
        ({"image": random_picture(128, 192, batch=2), "target": PICTURE.repeat(3, 1, 1, 1)}, "image has 2 frames but"),
    ],
)
def test_stitch_says_what_is_wrong(host, change, sentence):
    inputs = {"image": random_picture(128, 192), "bboxes": BOX, "target": PICTURE, "mask": OBJECT}
    with pytest.raises(RuntimeError, match=sentence):
        host.run_node(STITCH, **{**inputs, **change})
