import csv

import numpy as np
import pytest

import evaluate_masks
import segmenters
from evaluate_masks import Item, box_around, mask_box, measure_mask, section
from segmenters import NotRunError, box_iou, find


def block(top, bottom, left, right, shape=(40, 60)):
    mask = np.zeros(shape, bool)
    mask[top:bottom, left:right] = True
    return mask


def item(box, mask=None, group="photos", name="a"):
    image = np.random.default_rng(0).integers(0, 30, (40, 60, 3), dtype=np.uint8)
    image[10:30, 20:50] += np.uint8(200)
    return Item(group, name, image, box, "a thing", mask)


def test_intersection_over_union_of_boxes():
    assert box_iou((0, 0, 10, 10), (0, 0, 10, 10)) == 1
    assert box_iou((0, 0, 10, 10), (5, 0, 15, 10)) == pytest.approx(50 / 150)
    assert box_iou((0, 0, 10, 10), (2, 3, 4, 8)) == pytest.approx(10 / 100)
    assert box_iou((0, 0, 10, 10), (10, 0, 20, 10)) == 0
    assert box_iou((0, 0, 10, 10), (12, 12, 20, 20)) == 0


def test_box_of_a_mask_and_around_it():
    mask = block(5, 25, 10, 60, (40, 100))
    assert mask_box(mask) == (10, 5, 60, 25)
    assert mask_box(np.zeros((4, 4), bool)) is None
    assert box_around(mask) == (8, 3, 62, 27)  # 3 % of 50, rounded
    assert box_around(np.ones((40, 100), bool)) == (0, 0, 100, 40)


def test_masks_are_compared_with_the_known_mask_or_with_the_box():
    known, found = block(10, 30, 20, 50), block(10, 30, 25, 55)
    values = measure_mask(found, item((20, 10, 50, 30), known))
    assert values == {"iou": pytest.approx(500 / 700), "share_inside": pytest.approx(25 / 30)}
    values = measure_mask(found, item((20, 10, 50, 30)))
    assert values == {"box_iou": pytest.approx(500 / 700), "share_inside": pytest.approx(25 / 30)}
    nothing = np.zeros_like(found)
    assert measure_mask(nothing, item((20, 10, 50, 30))) == {"box_iou": 0, "share_inside": 0}
    assert measure_mask(nothing, item((20, 10, 50, 30), known)) == {"iou": 0, "share_inside": 0}


def test_weights_are_found_below_the_named_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(segmenters, "models_folders", lambda: [tmp_path])
    name = "maskrcnn_resnet50_fpn_coco-bf2d0c1e.pth"
    with pytest.raises(NotRunError, match=f"none of first, {name} is there"):
        find(("first", name))
    (tmp_path / "deep" / "below").mkdir(parents=True)
    (tmp_path / "deep" / "below" / name).touch()
    assert find(("first", name)) == tmp_path / "deep" / "below" / name
    (tmp_path / "sam_vit_b_01ec64.pth").touch()  # not all of it has arrived
    with pytest.raises(NotRunError):
        find(("sam_vit_b_01ec64.pth",))


def test_models_folders_follow_the_environment(monkeypatch):
    monkeypatch.setenv("DEEPBLEND_MODELS", "/some/models")
    monkeypatch.setenv("COMFYUI_PATH", "/some/ComfyUI")
    assert [path.as_posix() for path in segmenters.models_folders()[:2]] == ["/some/models", "/some/ComfyUI/models"]


def test_table_of_masks():
    rows = [
        {"segmenter": "grabcut", "group": "rendered", "object": "a", "iou": 0.5, "share_inside": 1.0, "wall_s": 1.0},
        {"segmenter": "grabcut", "group": "rendered", "object": "b", "iou": 0.75, "share_inside": 0.5, "wall_s": 3.0},
        {"segmenter": "grabcut", "group": "photos", "object": "c", "not_run": "no ground"},
    ]
    text = section(rows, {"grabcut": "GrabCut Mask"}, {"SAM": "no weights"})
    assert "| GrabCut Mask | rendered | 2 | 0.625 |  | 0.750 | 2.00 | 0 |" in text
    assert "| GrabCut Mask | photos | 0 |  |  |  |  | 1 |" in text
    assert "- SAM: no weights." in text
    assert "- grabcut, c: no ground." in text


def test_masks_are_evaluated(tmp_path, monkeypatch):
    """GrabCut finds a light block; the others have no weights."""
    known = block(10, 30, 20, 50)
    objects = [item((18, 8, 52, 32), known, "rendered", "a"), item((0, 0, 60, 40), name="b")]
    monkeypatch.setattr(evaluate_masks, "items", lambda: objects)
    monkeypatch.setattr(segmenters, "models_folders", lambda: [])
    text = evaluate_masks.evaluate(tmp_path)
    assert text.count("they are looked for in") == 3
    with (tmp_path / "masks.csv").open(encoding="utf-8") as file:
        first, second = csv.DictReader(file)
    assert (first["segmenter"], float(first["iou"])) == ("grabcut", 1)
    assert "covers the whole picture" in second["not_run"]
    assert (tmp_path / "masks.png").stat().st_size > 0
