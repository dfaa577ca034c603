import logging

import cv2
import numpy as np
import pytest
import skimage.data
import torch

from ground_truth import FAMILIES, paste, psnr, regions, seamless_clone
from pictures import random_picture, smooth_picture, soft_mask

NODE = "DeepBlend_AutoBlend"
MODES = ("auto", "auto, first frame decides", "loose", "tight", "mixed", "same scene")


def disk(height, width, radius, y=None, x=None):
    rows, columns = torch.arange(height)[:, None], torch.arange(width)
    y, x = height / 2 if y is None else y, width / 2 if x is None else x
    return (((rows - y) ** 2 + (columns - x) ** 2) < radius**2).float()[None]


def to_input(image):
    return torch.from_numpy(image).float()[None]


@pytest.mark.parametrize("size", [(1, 1), (37, 53), (150, 210)])
@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("mode", MODES)
def test_target_is_untouched_bit_for_bit_where_the_mask_is_0(host, size, channels, mode):
    target, mask = random_picture(*size, 2, channels, 1), soft_mask(*size, 2)
    result, seated, _ = host.run_node(NODE, object=random_picture(*size), mask=mask, target=target, mode=mode)
    assert result.shape == target.shape
    assert seated.shape == mask.shape
    assert result.dtype == seated.dtype == torch.float32
    assert torch.isfinite(result).all()
    assert (seated <= mask).all()
    assert not ((seated > 0) & (seated < 1 / 255)).any()
    assert torch.equal(result[seated == 0], target[seated == 0])


@pytest.mark.parametrize("channels", [3, 4])
def test_a_batch_is_blended_frame_by_frame(host, channels):
    objects, masks = random_picture(60, 70, 3), torch.cat([disk(60, 70, r) for r in (10, 15, 20)])
    target = random_picture(60, 70, 1, channels, 2)
    images, seated, report = host.run_node(NODE, object=objects, mask=masks, target=target)
    lines = report.split("\n")
    assert len(images) == len(seated) == len(lines) == 3
    for i in range(3):
        alone = host.run_node(NODE, object=objects[i : i + 1], mask=masks[i : i + 1], target=target)
        assert torch.equal(images[i], alone[0][0])
        assert torch.equal(seated[i], alone[1][0])
        assert lines[i] == alone[2]


def outline_and_margin():
    """Two frames, one cut along the outline, one with a wide margin: of themselves tight and loose."""
    ground, target = skimage.data.grass()[:300, :300] / 255, skimage.data.gravel()[:300, :300] / 255
    tight = disk(300, 300, 60)
    object_ = np.where(tight[0].numpy()[..., None] > 0, (0.8, 0.2, 0.1), np.repeat(ground[..., None], 3, 2))
    target = np.repeat(target[..., None], 3, 2)
    return to_input(object_), torch.cat([tight, disk(300, 300, 100)]), to_input(target)


def test_a_video_can_take_the_first_frames_decision(host):
    object_, masks, target = outline_and_margin()
    _, _, report = host.run_node(NODE, object=object_, mask=masks, target=target, mode="auto")
    assert [line.split(":")[0] for line in report.split("\n")] == ["tight", "loose"]
    for order, mode in (((0, 1), "tight"), ((1, 0), "loose")):
        inputs = {"object": object_, "target": target, "color_containment": 0.0}
        images, _, report = host.run_node(NODE, **inputs, mask=masks[list(order)], mode="auto, first frame decides")
        assert [line.split(":")[0] for line in report.split("\n")] == [mode, mode]
        expected, *_ = host.run_node(NODE, **inputs, mask=masks[order[1]][None], mode=mode)
        assert torch.equal(images[1:], expected)


def test_an_empty_first_frame_decides_nothing(host, caplog):
    object_, masks, target = outline_and_margin()
    masks[0] = 0
    images, seated, report = host.run_node(
        NODE, object=object_, mask=masks, target=target, mode="auto, first frame decides"
    )
    assert torch.equal(images[0], target[0])
    assert not seated[0].any()
    assert [line.split(":")[0] for line in report.split("\n")] == ["nothing", "loose"]
    assert "mask is empty in 1 of 2 frames" in caplog.text


@pytest.mark.parametrize("node", ["DeepBlend_AutoBlend", "DeepBlend_PoissonBlend"])
def test_a_mask_without_a_batch_is_one_frame(host, caplog, node):
    object_, masks, target = outline_and_margin()
    inputs = {"object": object_, "target": target}
    plain, batched = (host.run_node(node, **inputs, mask=mask) for mask in (masks[0], masks[:1]))
    assert torch.equal(plain[0], batched[0])
    assert "mask is empty" not in caplog.text


@pytest.mark.parametrize("mode", MODES[2:])
def test_the_mode_can_be_chosen(host, mode):
    object_, masks, target = outline_and_margin()
    _, _, report = host.run_node(NODE, object=object_, mask=masks[:1], target=target, mode=mode)
    assert report.startswith(f"{mode}: chosen by hand (edge step 1.00")


def test_the_decision_is_logged_in_one_line(host, caplog):
    object_, masks, target = outline_and_margin()
    with caplog.at_level(logging.INFO):
        _, _, report = host.run_node(NODE, object=object_, mask=masks[:1], target=target)
        host.run_node(NODE, object=object_, mask=masks, target=target)
    lines = [record.message for record in caplog.records if record.message.startswith("Auto Blend")]
    assert lines == [f"Auto Blend: {report}", "Auto Blend: tight in 1 of 2 frames, loose in 1 of 2 frames"]


def test_an_object_that_fills_its_source_is_tight(host):
    """Its border pixels are repeated around it: without a step there, but there is nothing to see."""
    photo = to_input(skimage.data.chelsea()[100:200, 100:220] / 255)
    target = to_input(skimage.data.coffee()[:300, :400] / 255)
    object_, mask, _, _ = host.run_node("DeepBlend_PlaceObject", source=photo, target=target)
    image, _, report = host.run_node(NODE, object=object_, mask=mask, target=target)
    assert report.startswith("tight: the object has no surroundings of its own")
    core = disk(300, 400, 40)[0] > 0
    assert (image - object_)[0][core].abs().max() < 0.01


@pytest.mark.parametrize("ground", [(1.0, 1.0, 1.0), (0.0, 0.0, 0.0), (0.1, 0.8, 0.2)])
def test_a_cut_out_on_a_flat_colour_is_tight_and_loses_its_rim(host, ground):
    inside = disk(300, 300, 60)[0].numpy() > 0
    texture = cv2.resize(skimage.data.chelsea() / 255, (300, 300))
    object_ = np.where(inside[..., None], texture, ground)
    target = skimage.data.coffee()[50:350, 100:400] / 255
    image, seated, report = host.run_node(
        NODE, object=to_input(object_), mask=disk(300, 300, 63), target=to_input(target)
    )
    assert report.startswith("tight")
    assert seated[0].numpy()[~inside].mean() < 0.01
    truth = np.where(inside[..., None], texture, target)
    assert np.abs(image[0].numpy() - truth).mean() < 0.005


def test_an_rgba_source_gives_its_alpha_and_nothing_of_its_hidden_colours(host):
    inside = disk(200, 200, 50)[0].numpy() > 0
    rgba = np.concatenate([np.where(inside[..., None], smooth_picture(200, 200, 1), 0), inside[..., None]], 2)
    target = to_input(0.5 + 0.2 * smooth_picture(200, 200, 2))
    object_, mask, _, _ = host.run_node("DeepBlend_PlaceObject", source=to_input(rgba), target=target)
    image, _, report = host.run_node(NODE, object=object_, mask=mask, target=target, color_containment=0.0)
    assert report.startswith("tight")
    core = disk(200, 200, 44)[0] > 0
    assert (image - object_)[0][core].abs().max() < 0.01


def test_a_full_mask_gives_the_object(host):
    object_, target = random_picture(40, 50), random_picture(40, 50, seed=1)
    image, seated, _ = host.run_node(NODE, object=object_, mask=torch.ones(1, 40, 50), target=target, mode="tight")
    assert (image - object_).abs().max() < 1e-4
    assert (seated == 1).all()


@pytest.mark.parametrize("mode", MODES)
def test_same_inputs_give_the_same_pixels(host, mode):
    object_, masks, target = outline_and_margin()
    first, second = (host.run_node(NODE, object=object_, mask=masks, target=target, mode=mode) for _ in range(2))
    assert torch.equal(first[0], second[0])
    assert torch.equal(first[1], second[1])
    assert first[2] == second[2]


def test_inputs_that_do_not_fit_are_named(host, linked):
    object_, mask, target = random_picture(40, 50), disk(40, 50, 10), random_picture(40, 50, seed=1)
    with pytest.raises(RuntimeError, match="mask is 30×20 pixels but target is 50×40"):
        host.run_node(NODE, object=object_, mask=disk(20, 30, 5), target=target)
    with pytest.raises(RuntimeError, match="object is 30×20 pixels but target is 50×40"):
        host.run_node(NODE, object=random_picture(20, 30), mask=mask, target=target)
    with pytest.raises(RuntimeError, match="object has 2 frames but target has 3"):
        host.run_node(NODE, object=random_picture(40, 50, 2), mask=mask, target=random_picture(40, 50, 3))
    with pytest.raises(RuntimeError, match=r"color_match is 1.5; numbers from 0.0 to 1.0 are accepted"):
        host.run_node(NODE, object=object_, mask=mask, target=target, color_match=linked(1.5))


def measured(host, family):
    """Mean PSNR of each method in each region, and the modes that were chosen."""
    scores, modes = {}, []
    for sample in FAMILIES[family]():
        inputs = {"object": to_input(sample.source), "target": to_input(sample.target), "mask": to_input(sample.mask)}
        auto, _, report = host.run_node(NODE, **inputs)
        exact = host.run_node("DeepBlend_PoissonBlend", **inputs, surroundings="use")
        modes.append(report.split(":")[0])
        results = {
            "auto": auto[0].numpy(),
            "exact Poisson": exact[0].numpy(),
            "paste": paste(sample),
            "seamlessClone": seamless_clone(sample),
        }
        for method, image in results.items():
            for region, where in regions(sample).items():
                scores.setdefault((method, region), []).append(psnr(image, sample.truth, where))
    assert len(modes) >= 12
    return {key: np.mean(values) for key, values in scores.items()}, modes


def test_ground_truth_of_objects_cut_along_their_outline(host):
    score, modes = measured(host, "outline")
    assert modes.count("tight") == len(modes)
    for other in ("paste", "seamlessClone", "exact Poisson"):
        assert score["auto", "edge"] >= score[other, "edge"] + 2
    assert score["auto", "object"] >= score["paste", "object"] - 1
    # Deep inside, paste is the truth itself (60 dB); what is left of the edge's work there cannot be seen.
    assert score["auto", "core"] >= 50


def test_ground_truth_of_loose_masks_on_shared_ground(host):
    score, modes = measured(host, "margin")
    assert modes.count("loose") == len(modes)
    assert score["auto", "mask"] > score["paste", "mask"]
    assert score["auto", "mask"] >= score["exact Poisson", "mask"] - 1


def test_ground_truth_of_a_recoloured_scene(host):
    score, modes = measured(host, "recoloured")
    assert modes.count("same scene") == len(modes)
    assert score["auto", "mask"] >= score["exact Poisson", "mask"] - 0.5
