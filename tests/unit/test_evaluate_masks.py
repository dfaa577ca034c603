import csv

import numpy as np
import pytest
import torch
from PIL import Image
from segment_anything import SamPredictor

import evaluate_masks
import segmenters
from evaluate_masks import Item, box_around, mask_box, measure_mask, section
from grounding_dino_networks import tiny_vocabulary, tiny_weights
from sam_networks import tiny_sam
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


@pytest.fixture
def tiny_files(tmp_path, monkeypatch):
    """Published names with small random networks in them, which have other sizes."""
    torch.save(tiny_sam().state_dict(), tmp_path / "sam_vit_b_01ec64.pth")
    torch.save({"model": tiny_weights()}, tmp_path / "groundingdino_swint_ogc.pth")
    tiny_vocabulary(tmp_path)
    monkeypatch.setattr(segmenters, "models_folders", lambda: [tmp_path])
    monkeypatch.setattr(segmenters, "_is_whole", lambda path: True)


def test_text_goes_through_the_detectors_best_box_to_sam(tiny_files, monkeypatch):
    monkeypatch.setattr(segmenters, "BOX_THRESHOLD", 0.0)
    monkeypatch.setattr(segmenters.text_boxes, "SHORTER_SIDE", 64)  # quicker
    seen = []

    def sam_mask(network, image, box):
        seen.append(box)
        return block(5, 25, 10, 60)

    monkeypatch.setattr(segmenters, "sam_mask", sam_mask)
    label, segment = segmenters.text_and_sam()
    image = item((0, 0, 1, 1)).image
    assert label == "GroundingDINO and SAM (groundingdino_swint_ogc, sam_vit_b_01ec64)"
    assert np.array_equal(segment(image, (1, 2, 3, 4), "cat"), block(5, 25, 10, 60))
    ((left, top, right, bottom),) = seen
    assert 0 <= left < right <= 60
    assert 0 <= top < bottom <= 40
    monkeypatch.setattr(segmenters, "BOX_THRESHOLD", 1.1)  # more than any score
    assert not segment(image, (1, 2, 3, 4), "cat").any()
    with pytest.raises(NotRunError, match="no name"):
        segment(image, (1, 2, 3, 4), "")


def test_sam_gets_the_box(tiny_files):
    """As its authors' predictor does."""
    image, box = item((0, 0, 1, 1)).image, (15, 8, 52, 33)
    found = segmenters.sam()[1](image, box, "")
    predictor = SamPredictor(tiny_sam().eval())
    predictor.set_image(image)
    expected = predictor.predict(box=np.array(box), multimask_output=False)[0][0]
    assert found.any()
    assert (found & expected).sum() / (found | expected).sum() > 0.98


def test_of_what_mask_r_cnn_finds_the_fitting_object_is_taken(tmp_path, monkeypatch):
    boxes = torch.tensor([[0.0, 0, 10, 10], [20, 10, 48, 30], [20, 10, 50, 30]])
    masks = torch.stack([torch.from_numpy(block(0, 10, 0, 10 + 5 * index)) for index in range(3)])[:, None].float()

    class Network(torch.nn.Module):
        def forward(self, pictures):
            assert pictures[0].max() <= 1
            return [{"boxes": boxes, "scores": scores, "masks": 0.9 * masks}]

    name = "maskrcnn_resnet50_fpn_coco-bf2d0c1e.pth"
    torch.save({}, tmp_path / name)
    monkeypatch.setattr(segmenters, "models_folders", lambda: [tmp_path])
    monkeypatch.setitem(segmenters.MASK_R_CNN, name, lambda **_: Network())
    _, segment = segmenters.mask_r_cnn()
    image = item((0, 0, 1, 1)).image
    scores = torch.tensor([0.9, 0.9, 0.3])  # the one that fits best is not trusted
    assert np.array_equal(segment(image, (20, 10, 50, 30), ""), block(0, 10, 0, 15))
    scores = torch.zeros(3)
    assert not segment(image, (20, 10, 50, 30), "").any()


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
    text, sheets = evaluate_masks.evaluate(tmp_path)
    assert text.count("they are looked for in") == 3
    with (tmp_path / "masks.csv").open(encoding="utf-8") as file:
        first, second = csv.DictReader(file)
    assert (first["segmenter"], float(first["iou"])) == ("grabcut", 1)
    assert "covers the whole picture" in second["not_run"]
    assert sheets == ["masks_rendered.png", "masks_photos.png"]
    with Image.open(tmp_path / "masks_rendered.png") as sheet:
        # The mask that was found is drawn into the second picture.
        found = np.asarray(sheet)[:, sheet.width // 2 :]
    red, green, blue = found.transpose(2, 0, 1)
    assert ((red > 200) & (green < 80) & (blue > 200)).sum() > 100
