import logging

import numpy as np
import pytest
import torch
from scipy import ndimage

from deepblend.blending_core.composite import composite
from deepblend.blending_core.multiband import multiband_blend
from pictures import masks, random_picture, smooth_picture, soft_mask
from transfer_sets import SETS, judge, place_inputs

NODE = "DeepBlend_Multiband"
LOOSE_SETS = {"dib_1", "gray_bear_pool", "gray_jet", "gray_rainbow", "pypoi_eye_on_hand", "pypoi_text_on_hand"}


@pytest.mark.parametrize("size", [(1, 1), (37, 53), (512, 512), (1023, 517)])
@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("levels", [0, 1, 4, 12])
def test_target_is_untouched_bit_for_bit_where_the_mask_is_0(host, size, channels, levels):
    target, mask = random_picture(*size, 2, channels, 1), soft_mask(*size, 2)
    result = host.run_node(NODE, object=random_picture(*size), mask=mask, target=target, levels=levels)
    assert result.shape == target.shape
    assert result.dtype == torch.float32
    assert torch.isfinite(result).all()
    assert 0 <= result.min() <= result.max() <= 1
    assert torch.equal(result[mask == 0], target[mask == 0])
    inside = mask == 1
    if inside.sum() > 100:
        assert not torch.equal(result[inside], target[inside])


@pytest.mark.parametrize("name", masks())
@pytest.mark.parametrize("levels", [2, 5])
def test_masks_of_every_kind_leave_the_rest_alone(host, name, levels):
    mask, target = torch.from_numpy(masks()[name]).float()[None], random_picture(37, 53, seed=3)
    result = host.run_node(NODE, object=random_picture(37, 53), mask=mask, target=target, levels=levels)
    assert torch.equal(result[mask == 0], target[mask == 0])
    assert not torch.equal(result[mask == 1], target[mask == 1])


@pytest.mark.parametrize("channels", [3, 4])
def test_a_soft_mask_mixes_what_was_blended_on_all_of_it(host, channels):
    object_, target = random_picture(60, 70), random_picture(60, 70, channels=channels, seed=2)
    weight = ndimage.gaussian_filter(np.pad(np.ones((30, 40)), 15), 4)
    mask = torch.from_numpy(np.where(weight < 0.1, 0, weight)).float()[None]
    result = host.run_node(NODE, object=object_, mask=mask, target=target, levels=3)
    object_, target = object_.movedim(-1, 1), target.movedim(-1, 1)
    blended = multiband_blend(object_, mask[None] > 0, target, 3)
    assert (result.movedim(-1, 1) - composite(blended, mask[None], target)).abs().max() < 1e-6


def test_a_batch_is_blended_sample_by_sample(host):
    objects, targets, mask = random_picture(37, 53, 3, seed=1), random_picture(37, 53, 3, seed=2), soft_mask(37, 53, 3)
    mask[1, :20] = 0
    for levels in (0, 3):
        together = host.run_node(NODE, object=objects, mask=mask, target=targets, levels=levels)
        for index in range(3):
            one = slice(index, index + 1)
            alone = host.run_node(NODE, object=objects[one], mask=mask[one], target=targets[one], levels=levels)
            assert torch.equal(together[one], alone)


@pytest.mark.parametrize("largest", ["object", "mask", "target"])
def test_a_batch_of_one_goes_with_every_sample(host, largest):
    inputs = {"object": random_picture(30, 30), "mask": soft_mask(30, 30), "target": random_picture(30, 30, seed=2)}
    alone = host.run_node(NODE, **inputs)
    inputs[largest] = torch.cat([inputs[largest]] * 3)
    assert torch.equal(host.run_node(NODE, **inputs), alone.expand(3, -1, -1, -1))


def test_empty_masks_return_the_target_and_warn_once(host, caplog):
    target, mask = random_picture(40, 50, batch=3), soft_mask(40, 50, 3)
    mask[:2] = 0
    with caplog.at_level(logging.WARNING):
        result = host.run_node(NODE, object=random_picture(40, 50), mask=mask, target=target)
    assert torch.equal(result[:2], target[:2])
    assert [record.getMessage() for record in caplog.records] == [
        "Multiband Blend: mask is empty in 2 of 3 frames; the target is returned unchanged there"
    ]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"mask": torch.ones(1, 30, 40)}, "mask is 40×30 pixels but target is 60×50; mask must have the size of"),
        ({"mask": torch.zeros(1, 64, 64)}, "empty 64×64 mask that Load Image gives"),
        ({"object": random_picture(51, 60)}, "object is 60×51 pixels but target is 60×50"),
        ({"levels": 13}, "bigger than max"),
        ({"levels": -1}, "smaller than min"),
    ],
)
def test_bad_input_gets_a_sentence(host, change, sentence):
    inputs = {"object": random_picture(50, 60), "mask": torch.ones(1, 50, 60), "target": random_picture(50, 60)}
    with pytest.raises(RuntimeError, match=sentence):
        host.run_node(NODE, **{**inputs, **change})


def test_half_precision_intermediates_stay_half_precision(host, monkeypatch):
    from comfy.cli_args import args

    monkeypatch.setattr(args, "fp16_intermediates", True)
    target, mask = random_picture(40, 50).half(), soft_mask(40, 50).half()
    result = host.run_node(NODE, object=random_picture(40, 50, seed=3).half(), mask=mask, target=target)
    assert result.dtype == torch.float16
    assert torch.equal(result[mask == 0], target[mask == 0])
    assert torch.isfinite(result).all()


def test_progress_goes_from_sample_to_sample(host, monkeypatch):
    import comfy.utils

    seen = []
    monkeypatch.setattr(comfy.utils, "PROGRESS_BAR_HOOK", lambda value, *_, **__: seen.append(value))
    monkeypatch.setattr(comfy.utils, "PROGRESS_THROTTLE_MIN_INTERVAL", 0)
    monkeypatch.setattr(comfy.utils, "PROGRESS_THROTTLE_MIN_PERCENT", 0)
    host.run_node(NODE, object=random_picture(40, 50), mask=soft_mask(40, 50), target=random_picture(40, 50, 3))
    assert list(dict.fromkeys(seen)) == [0, 100, 200, 300]


def test_cancel_stops_before_the_next_sample(host, monkeypatch):
    import comfy.model_management
    import comfy.utils

    seen = []

    def hook(value, total, preview, node_id=None):
        seen.append((value, total))
        comfy.model_management.interrupt_current_processing()

    monkeypatch.setattr(comfy.utils, "PROGRESS_BAR_HOOK", hook)
    monkeypatch.setattr(comfy.utils, "PROGRESS_THROTTLE_MIN_INTERVAL", 0)
    monkeypatch.setattr(comfy.utils, "PROGRESS_THROTTLE_MIN_PERCENT", 0)
    with pytest.raises(RuntimeError, match="interrupted"):
        host.run_node(NODE, object=random_picture(40, 50), mask=soft_mask(40, 50, 3), target=random_picture(40, 50, 3))
    assert seen == [(0, 300)]
    assert not comfy.model_management.processing_interrupted()


def test_the_automatic_choice_is_logged_and_is_that_of_the_number(host, caplog):
    inputs = placed(host, "libcom_teddy")
    with caplog.at_level(logging.INFO):
        automatic = host.run_node(NODE, **inputs)
    assert "Multiband Blend: levels 2" in [record.getMessage() for record in caplog.records]
    assert torch.equal(automatic, host.run_node(NODE, **inputs, levels=2))


def placed(host, name):
    if SETS == ["absent"]:
        pytest.skip("the developers' pictures are not there")
    inputs = place_inputs(name)
    object_, mask, *_ = host.run_node("DeepBlend_PlaceObject", **inputs)
    return {"object": object_, "mask": mask, "target": inputs["target"]}


@pytest.mark.parametrize("name", SETS)
def test_real_pictures_have_less_of_a_seam_than_pasted(host, name):
    inputs = placed(host, name)
    object_, mask, target = inputs.values()
    result = host.run_node(NODE, **inputs)
    assert torch.equal(result[mask == 0], target[mask == 0])
    inside = mask[0].numpy() > 0
    pasted = composite(object_.movedim(-1, 1), mask[None], target.movedim(-1, 1))
    seam, seam_of_paste = (
        judge(image.numpy(), object_[0].numpy(), inside).seam for image in (result[0], pasted[0].movedim(0, -1))
    )
    assert seam < (0.5 if name in LOOSE_SETS else 0.8) * seam_of_paste


@pytest.mark.parametrize("corner", [(-60, 30), (30, -60), (70, 30), (30, 60), (-60, -60), (70, 60)])
def test_placed_across_a_side_leaves_no_stripe(host, corner):
    """The source is the target plus a constant, which must pass to 0 along the mask alone, gently at the frame too."""
    world = torch.from_numpy(0.3 + 0.3 * smooth_picture(400, 400, 5)).float()[None]
    top, left = corner
    target = world[:, 130:250, 130:260].clone()
    source = world[:, 130 + top : 130 + top + 100, 130 + left : 130 + left + 110] + 0.2
    mask = torch.zeros(1, 100, 110)
    mask[:, 10:90, 10:100] = 1
    object_, mask, *_ = host.run_node(
        "DeepBlend_PlaceObject", source=source, mask=mask, target=target, x=(left + 55) / 130, y=(top + 50) / 120
    )
    levels = 2
    change = host.run_node(NODE, object=object_, mask=mask, target=target, levels=levels) - target
    assert change.max() == pytest.approx(0.2, abs=1e-5)
    assert change.min() > -1e-5
    steepest = max(change.diff(dim=axis).abs().max() for axis in (1, 2))
    assert steepest <= 0.2 * 0.75 / 2 ** (levels - 1) + 1e-5
