import itertools
import logging
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy import ndimage

from oracles import exact_poisson
from pictures import masks, random_picture, smooth_picture, soft_mask

NODE = "DeepBlend_PoissonBlend"
MASKS = masks()


@pytest.mark.parametrize("size", [(1, 1), (37, 53), (512, 512), (1023, 517)])
@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("feather", [0, 6])
def test_target_is_untouched_bit_for_bit_where_the_mask_is_0(host, size, channels, batch, feather):
    target = random_picture(*size, batch, channels, 1)
    mask = soft_mask(*size, batch)
    result = host.run_node(NODE, object=random_picture(*size), mask=mask, target=target, feather=feather)
    assert result.shape == target.shape
    assert result.dtype == torch.float32
    assert torch.isfinite(result).all()
    assert torch.equal(result[mask == 0], target[mask == 0])
    inside = mask == 1
    if inside.sum() > 100:
        assert not torch.equal(result[inside], target[inside])


def wanted_step(guidance, surroundings, source, target, inside):
    def step(p, q):
        difference = source[p] - source[q]
        if guidance == "monochrome":
            difference = np.full(3, np.array([0.2126, 0.7152, 0.0722]) @ difference)
        if surroundings == "ignore" and inside[p] != inside[q]:
            difference = np.zeros(3)
        if guidance == "mixed":
            other = target[p] - target[q]
            difference = other if np.linalg.norm(other) > np.linalg.norm(difference) else difference
        return difference

    return step


@pytest.mark.parametrize("mask", ["ring with a hole", "across the lower right corner", "soft"])
@pytest.mark.parametrize("guidance", ["source", "mixed", "monochrome"])
@pytest.mark.parametrize(("surroundings", "feather"), [("use", 0), ("ignore", 0), ("use", 4)])
def test_solves_the_stated_equation_and_mixes_by_the_mask(host, mask, guidance, surroundings, feather):
    """The smooth pictures are far from 0 and 1, so that no value is clipped."""
    source, target = (0.4 + 0.2 * smooth_picture(37, 53, seed) for seed in (1, 2))
    if mask == "soft":
        weight = ndimage.gaussian_filter(MASKS["ellipse"].astype(float), 3)
        weight[weight < 0.1] = 0
    else:
        weight = MASKS[mask].astype(float)
    inside = weight > 0
    solution = exact_poisson(target, inside, wanted_step(guidance, surroundings, source, target, inside))
    t = np.minimum(ndimage.distance_transform_edt(inside) / (feather + 1), 1)
    feathered = (weight * (3 * t**2 - 2 * t**3))[..., None]
    result = host.run_node(
        NODE,
        object=torch.from_numpy(source).float()[None],
        mask=torch.from_numpy(weight).float()[None],
        target=torch.from_numpy(target).float()[None],
        guidance=guidance,
        surroundings=surroundings,
        feather=feather,
    )
    assert np.abs(result[0].numpy() - (feathered * solution + (1 - feathered) * target)).max() < 1e-4


def test_automatic_surroundings_ignore_a_flat_colour_and_use_a_photograph(host):
    inside = torch.from_numpy(MASKS["ellipse"])
    photograph = torch.from_numpy(0.8 * smooth_picture(37, 53, 1)).float()
    cut_out = torch.where(inside[..., None], photograph, torch.ones(3))
    for image, expected in ((photograph, "use"), (cut_out, "ignore")):
        results = {
            choice: host.run_node(
                NODE, object=image[None], mask=inside.float()[None], target=random_picture(37, 53), surroundings=choice
            )
            for choice in ("auto", "use", "ignore")
        }
        assert torch.equal(results["auto"], results[expected])
        assert not torch.equal(results["use"], results["ignore"])


def test_color_fidelity_holds_the_middle_and_frees_the_edge(host):
    target, object_, mask = torch.zeros(1, 65, 65, 3), torch.full((1, 65, 65, 3), 0.5), torch.zeros(1, 65, 65)
    object_[:, ::2] += 0.01  # not a flat cut-out
    mask[:, 8:57, 8:57] = 1
    free, held = (
        host.run_node(NODE, object=object_, mask=mask, target=target, color_fidelity=k)[0, ..., 0] for k in (0.0, 400.0)
    )
    assert free[31:34, 31:34].mean() < 0.02
    assert held[31:34, 31:34].mean() > 0.4
    assert held[32, 8] < 0.1


@pytest.mark.parametrize("guidance", ["source", "mixed", "monochrome"])
@pytest.mark.parametrize(
    "side", [np.s_[:, :12], np.s_[:, 25:], np.s_[:, :, :15], np.s_[:, :, 40:], np.s_[:, 20:, 30:], np.s_[:, :, :]]
)
def test_object_at_the_frame_keeps_its_detail_up_to_the_border(host, guidance, side):
    """Object and target differ by a constant, so the seamless answer is known: the target goes on to the border."""
    target = torch.from_numpy(0.3 + 0.3 * smooth_picture(37, 53, 5)).float()[None]
    gray = target.mean(-1, keepdim=True).expand_as(target).contiguous()
    mask = torch.zeros(1, 37, 53)
    mask[side] = 1
    whole = bool(mask.all())
    result = host.run_node(NODE, object=gray + 0.2, mask=mask, target=gray, guidance=guidance)
    assert (result - (gray + 0.2 if whole else gray)).abs().max() < 1e-4


def test_full_mask_returns_the_object(host):
    object_ = random_picture(20, 30)
    result = host.run_node(NODE, object=object_, mask=torch.ones(1, 20, 30), target=random_picture(20, 30, seed=4))
    assert torch.equal(result, object_)


def test_empty_mask_returns_the_target_and_warns_once(host, caplog):
    target = random_picture(40, 50, batch=3)
    with caplog.at_level(logging.WARNING):
        result = host.run_node(NODE, object=random_picture(40, 50), mask=torch.zeros(3, 40, 50), target=target)
    assert torch.equal(result, target)
    assert [record.getMessage() for record in caplog.records] == [
        "Poisson Blend: mask is empty in 3 of 3 frames; the target is returned unchanged there"
    ]


@pytest.mark.parametrize("guidance", ["source", "mixed"])
def test_hidden_colours_of_a_transparent_target_do_not_reach_the_object(host, guidance):
    """Left half opaque, right half transparent: only the left half's colours may show."""
    target = torch.from_numpy(smooth_picture(40, 60, 2)).float()[None]
    alpha = torch.ones(1, 40, 60, 1)
    alpha[:, :, 30:] = 0
    mask = torch.zeros(1, 40, 60)
    mask[:, 10:30, 20:50] = 1
    results = []
    for hidden in (0.0, 1.0):
        rgba = torch.cat([torch.where(alpha > 0, target, hidden), alpha], -1)
        results.append(host.run_node(NODE, object=random_picture(40, 60), mask=mask, target=rgba, guidance=guidance))
    assert (results[0] - results[1])[mask > 0].abs().max() < 1e-4
    assert torch.equal(results[0][..., 3], torch.maximum(alpha[..., 0], mask))


def test_object_on_a_fully_transparent_target_stays_as_it_is(host):
    object_, mask = random_picture(40, 60), torch.zeros(1, 40, 60)
    mask[:, 10:30, 20:50] = 1
    result = host.run_node(NODE, object=object_, mask=mask, target=torch.zeros(1, 40, 60, 4))
    assert (result[..., :3] - object_)[mask > 0].abs().max() < 1e-6


def test_trace_of_a_mask_over_the_whole_picture_is_no_object(host):
    """A sigmoid or a blur leaves values such as 1e-5 everywhere."""
    inputs = {"object": random_picture(40, 50), "target": random_picture(40, 50, seed=4)}
    mask = torch.zeros(1, 40, 50)
    mask[:, 10:30, 15:40] = 1
    clean = host.run_node(NODE, **inputs, mask=mask)
    assert torch.equal(host.run_node(NODE, **inputs, mask=mask.clamp_min(1e-5)), clean)


def test_a_batch_is_blended_sample_by_sample(host):
    objects, targets, mask = random_picture(37, 53, 3, seed=1), random_picture(37, 53, 3, seed=2), soft_mask(37, 53, 3)
    together = host.run_node(NODE, object=objects, mask=mask, target=targets)
    for index in range(3):
        one = slice(index, index + 1)
        alone = host.run_node(NODE, object=objects[one], mask=mask[one], target=targets[one])
        assert torch.equal(together[one], alone)


@pytest.mark.parametrize("largest", ["object", "mask", "target"])
def test_a_batch_of_one_goes_with_every_sample(host, largest):
    inputs = {
        "object": random_picture(30, 30, 1, seed=1),
        "mask": soft_mask(30, 30),
        "target": random_picture(30, 30, 1, seed=2),
    }
    alone = host.run_node(NODE, **inputs)
    inputs[largest] = torch.cat([inputs[largest]] * 3)
    assert torch.equal(host.run_node(NODE, **inputs), alone.expand(3, -1, -1, -1))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            {"mask": torch.ones(1, 30, 40)},
            "mask is 40×30 pixels but target is 60×50; mask must have the size of target",
        ),
        ({"mask": torch.zeros(1, 64, 64)}, "empty 64×64 mask that Load Image gives"),
        ({"object": random_picture(51, 60)}, "object is 60×51 pixels but target is 60×50"),
        (
            {"mask": torch.ones(2, 50, 60), "target": random_picture(50, 60, 3)},
            "mask has 2 frames but target has 3; 1 or 3",
        ),
        (
            {"object": random_picture(50, 60) * float("nan")},
            "object holds 9000 values that are NaN, infinite or beyond",
        ),
        ({"mask": torch.full((1, 50, 60), float("inf"))}, "mask holds 3000 values that are NaN, infinite or beyond"),
        ({"object": random_picture(50, 60) * 1e20}, "object holds 9000 values that are NaN, infinite or beyond ±1000"),
        ({"target": random_picture(50, 60, channels=2)}, r"target has the shape \[1, 50, 60, 2\]"),
        ({"target": torch.zeros(0, 50, 60, 3)}, "target has the shape .* holds no pixel"),
        ({"color_fidelity": 401.0}, "bigger than max"),
        ({"guidance": "strong"}, "guidance"),
    ],
)
def test_bad_input_gets_a_sentence(host, change, sentence):
    inputs = {
        "object": random_picture(50, 60),
        "mask": torch.ones(1, 50, 60),
        "target": random_picture(50, 60),
        **change,
    }
    with pytest.raises(RuntimeError, match=sentence):
        host.run_node(NODE, **inputs)


def test_half_precision_intermediates_stay_half_precision(host, monkeypatch):
    """ComfyUI's --fp16-intermediates: pictures come in as float16 and leave as float16."""
    from comfy.cli_args import args

    monkeypatch.setattr(args, "fp16_intermediates", True)
    target, mask = random_picture(40, 50).half(), soft_mask(40, 50).half()
    result = host.run_node(NODE, object=random_picture(40, 50, seed=3).half(), mask=mask, target=target)
    assert result.dtype == torch.float16
    assert torch.equal(result[mask == 0], target[mask == 0])
    assert torch.isfinite(result).all()


def test_cancel_stops_the_solver_at_its_next_step(host, monkeypatch):
    """Without the server there is no hook in the progress bar, so only the node's own check can stop it."""
    import comfy.model_management
    import comfy.utils

    seen = []

    def hook(value, total, preview, node_id=None):
        seen.append(value)
        if value > 0:
            comfy.model_management.interrupt_current_processing()

    monkeypatch.setattr(comfy.utils, "PROGRESS_BAR_HOOK", hook)
    monkeypatch.setattr(comfy.utils, "PROGRESS_THROTTLE_MIN_INTERVAL", 0)
    monkeypatch.setattr(comfy.utils, "PROGRESS_THROTTLE_MIN_PERCENT", 0)
    with pytest.raises(RuntimeError, match="interrupted"):
        host.run_node(
            NODE, object=random_picture(64, 64), mask=soft_mask(64, 64), target=random_picture(64, 64, seed=3)
        )
    assert sum(value > 0 for value in seen) == 1
    assert not comfy.model_management.processing_interrupted()


@pytest.mark.parametrize(("seconds_per_look", "expected"), [(0.0, "none"), (1.0, "every step")])
def test_previews_come_by_the_clock(host, monkeypatch, seconds_per_look, expected):
    import comfy.utils

    look = itertools.count()
    own_host = sys.modules[host.nodes.NODE_CLASS_MAPPINGS[NODE].__module__.replace(".blend", ".host")]
    monkeypatch.setattr(own_host, "time", SimpleNamespace(monotonic=lambda: seconds_per_look * next(look)))
    seen = []
    monkeypatch.setattr(comfy.utils, "PROGRESS_BAR_HOOK", lambda *call, **_: seen.append(call))
    monkeypatch.setattr(comfy.utils, "PROGRESS_THROTTLE_MIN_INTERVAL", 0)
    monkeypatch.setattr(comfy.utils, "PROGRESS_THROTTLE_MIN_PERCENT", 0)
    target, mask = random_picture(64, 96, seed=3), soft_mask(64, 96)
    host.run_node(NODE, object=random_picture(64, 96), mask=mask, target=target)
    previews = [preview for _, _, preview in seen if preview]
    if expected == "none":
        assert len(seen) > 3
        assert not previews
        return
    assert len(previews) > 3
    kind, image, size = previews[-1]
    assert (kind, image.size, size) == ("JPEG", (96, 64), 512)
    shown, outside = torch.from_numpy(np.array(image)), mask[0] == 0
    assert torch.equal(shown[outside], target[0].mul(255).round().byte()[outside])


def test_room_is_asked_for_the_object_and_not_for_the_picture(host, monkeypatch):
    import comfy.model_management

    asked = []
    monkeypatch.setattr(comfy.model_management, "free_memory", lambda size, device: asked.append(size))
    mask = torch.zeros(1, 400, 500)
    mask[:, 50:90, 60:110] = 1
    host.run_node(NODE, object=random_picture(400, 500), mask=mask, target=random_picture(400, 500))
    (size,) = asked
    region = 40 * 50 * 3 * 4
    assert 10 * region < size < 0.5 * 400 * 500 * 3 * 4


@pytest.mark.parametrize("corner", [(-60, 30), (30, -60), (70, 30), (30, 60), (-60, -60), (70, 60)])
@pytest.mark.parametrize("soft", [False, True])
def test_placed_across_a_side_and_blended_leaves_no_stripe(host, corner, soft):
    """The source is the target and some of its surroundings plus a constant, so the seamless answer is the target."""
    world = torch.from_numpy(0.3 + 0.3 * smooth_picture(400, 400, 5)).float()[None]
    top, left = corner
    target = world[:, 130:250, 130:260].clone()
    source = world[:, 130 + top : 130 + top + 100, 130 + left : 130 + left + 110] + 0.2
    mask = torch.zeros(1, 100, 110)
    mask[:, 10:90, 10:100] = 1
    if soft:
        mask[:, 10:90, 10:15] = mask[:, 10:90, 95:100] = 0.5
    object_, placed, *_ = host.run_node(
        "DeepBlend_PlaceObject", source=source, mask=mask, target=target, x=(left + 55) / 130, y=(top + 50) / 120
    )
    assert 0 < placed.sum() < mask.sum()
    result = host.run_node(NODE, object=object_, mask=placed, target=target)
    assert (result - target).abs().max() < 1e-4
