"""Gaussian-Poisson Blend in a real ComfyUI; what it computes is compared with dense matrices in tests/unit."""

import pytest
import torch
import torch.nn.functional as F

from deepblend.blending_core.gaussian_poisson import gaussian_poisson_blend
from pictures import masks, random_picture, smooth_picture, soft_mask, to_torch

NODE = "DeepBlend_GaussianPoisson"


@pytest.mark.parametrize("size", [(1, 1), (37, 53), (300, 200)])
@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("guided", [False, True])
def test_target_is_untouched_bit_for_bit_where_the_mask_is_0(host, size, channels, guided):
    target, mask = random_picture(*size, 2, channels, 1), soft_mask(*size, 2)
    guide = random_picture(9, 31, 1, 4, 3) if guided else None
    result = host.run_node(NODE, object=random_picture(*size), mask=mask, target=target, guide=guide)
    assert result.shape == target.shape
    assert result.dtype == torch.float32
    assert torch.isfinite(result).all()
    assert torch.equal(result[mask == 0], target[mask == 0])
    inside = mask == 1
    if inside.sum() > 100:
        assert not torch.equal(result[inside], target[inside])


@pytest.mark.parametrize("mask", ["ellipse", "across the lower right corner", "three pieces"])
def test_a_soft_mask_mixes_what_is_found_under_all_of_it(host, mask):
    own, target = (to_torch(0.35 + 0.3 * smooth_picture(37, 53, seed)) for seed in (1, 2))
    inside = to_torch(masks()[mask])
    weight = torch.rand(1, 1, 37, 53, generator=torch.Generator().manual_seed(4)).clamp_min(0.1) * inside
    solution = gaussian_poisson_blend(own, inside, target, color_weight=2.0)
    expected = weight * solution + (1 - weight) * target
    inputs = {"object": own.movedim(1, -1), "mask": weight[:, 0], "target": target.movedim(1, -1)}
    result = host.run_node(NODE, **inputs, color_weight=2.0)
    assert (result.movedim(-1, 1) - expected).abs().max() < 1e-4


def test_a_guide_of_any_size_and_its_frames_decide_the_colours(host):
    """Even pictures: the middle takes the guide's colour, frame by frame; the object's own has no say."""
    mask = torch.zeros(1, 120, 140)
    mask[:, 20:100, 20:120] = 1
    colors = torch.tensor([[0.8, 0.3, 0.2], [0.1, 0.5, 0.9]])
    guide = colors[:, None, None].expand(2, 5, 8, 3)
    inputs = {"object": torch.full((1, 120, 140, 3), 0.5), "mask": mask, "target": torch.full((1, 120, 140, 3), 0.4)}
    result = host.run_node(NODE, **inputs, guide=guide)
    assert result.shape == (2, 120, 140, 3)
    assert (result[:, 55:65, 65:75] - colors[:, None, None]).abs().max() < 0.02
    assert (result[:, 60, 20] - 0.4).abs().max() < 0.1


def test_where_the_guide_is_transparent_the_objects_colours_count(host):
    own, target = random_picture(60, 70), random_picture(60, 70, seed=2)
    mask = torch.zeros(1, 60, 70)
    mask[:, 10:50, 10:60] = 1
    hidden = torch.zeros(1, 60, 70, 4)
    result = host.run_node(NODE, object=own, mask=mask, target=target, guide=hidden)
    expected = host.run_node(NODE, object=own, mask=mask, target=target, guide=own)
    assert torch.equal(result, expected)
    assert not torch.equal(result, host.run_node(NODE, object=own, mask=mask, target=target, guide=hidden[..., :3]))


def test_a_batch_is_blended_sample_by_sample(host):
    objects, targets, mask = random_picture(37, 53, 3, seed=1), random_picture(37, 53, 3, seed=2), soft_mask(37, 53, 3)
    guides = F.interpolate(random_picture(4, 6, 3, seed=5).movedim(-1, 1), scale_factor=3).movedim(1, -1)
    together = host.run_node(NODE, object=objects, mask=mask, target=targets, guide=guides)
    for index in range(3):
        one = slice(index, index + 1)
        alone = host.run_node(NODE, object=objects[one], mask=mask[one], target=targets[one], guide=guides[one])
        assert torch.equal(together[one], alone)


def test_where_the_picture_lies_in_the_target_does_not_matter(host):
    """The grids begin at the object's box, not at the target's corner."""
    own, target = (0.35 + 0.3 * torch.from_numpy(smooth_picture(150, 150, seed)).float()[None] for seed in (1, 2))
    mask = torch.zeros(1, 150, 150)
    mask[:, 50:100, 48:101] = 1
    results = []
    for shift in (0, 1, 5):
        part = slice(shift, shift + 140)
        inputs = {"object": own[:, part, part], "mask": mask[:, part, part], "target": target[:, part, part]}
        results.append(host.run_node(NODE, **inputs)[:, 40 - shift : 110 - shift, 40 - shift : 110 - shift])
    for result in results[1:]:
        assert (result - results[0]).abs().max() < 1e-4


def test_empty_masks_leave_the_target_and_say_so(host, caplog):
    target = random_picture(30, 40, 2)
    result = host.run_node(NODE, object=random_picture(30, 40), mask=torch.zeros(2, 30, 40), target=target)
    assert torch.equal(result, target)
    assert "Gaussian-Poisson Blend: mask is empty in 2 of 2 frames" in caplog.text


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"mask": torch.ones(1, 30, 40)}, "mask is 40×30 pixels but target is 60×50"),
        ({"guide": random_picture(20, 20, channels=2)}, r"guide has the shape \[1, 20, 20, 2\]"),
        ({"guide": random_picture(20, 20) * float("nan")}, "guide holds 1200 values that are NaN"),
        (
            {"guide": random_picture(20, 20, 2), "target": random_picture(50, 60, 3)},
            "guide has 2 frames but target has 3",
        ),
        ({"color_weight": 11.0}, "bigger than max"),
    ],
)
def test_bad_input_gets_a_sentence(host, change, sentence):
    inputs = {"object": random_picture(50, 60), "mask": torch.ones(1, 50, 60), "target": random_picture(50, 60)}
    with pytest.raises(RuntimeError, match=sentence):
        host.run_node(NODE, **inputs | change)


def test_half_precision_intermediates_stay_half_precision(host, monkeypatch):
    """ComfyUI's --fp16-intermediates: pictures come in as float16 and leave as float16."""
    from comfy.cli_args import args

    monkeypatch.setattr(args, "fp16_intermediates", True)
    target, mask = random_picture(40, 50).half(), soft_mask(40, 50).half()
    inputs = {"object": random_picture(40, 50, seed=3).half(), "mask": mask, "target": target}
    result = host.run_node(NODE, **inputs, guide=random_picture(10, 10, seed=4).half())
    assert result.dtype == torch.float16
    assert torch.equal(result[mask == 0], target[mask == 0])
