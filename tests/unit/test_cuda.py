"""On a graphics card all comes out as on the processor."""

import numpy as np
import pytest
import torch
from blending_scenes import HEIGHT, WIDTH, disk, scene

from deepblend.blending_core import auto_blend, measures, pan
from deepblend.blending_core.crop import box_around, crop, crop_mask, stitch
from deepblend.blending_core.deep_blend import Settings, deep_blend, deep_blend_frame
from deepblend.blending_core.differences import forward_differences
from deepblend.blending_core.gaussian_poisson import gaussian_poisson_blend
from deepblend.blending_core.morphology import dilate
from deepblend.blending_core.multiband import multiband_blend
from deepblend.blending_core.opponent_edge_bank import OpponentEdgeBank
from deepblend.blending_core.placement import place
from deepblend.blending_core.poisson_blend import poisson_blend
from deepblend.blending_core.recipes import PAINTING, RECIPES
from deepblend.blending_core.region import spanned_region
from deepblend.blending_core.vgg import VGG
from networks import small_vgg_weights
from pan_networks import random_weights

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a graphics card")
LEVEL = 1 / 255
MASKS = ["disk", "soft disk", "ring", "whole frame", "at the border"]


def poisson(object_, mask, target, mixed=False):
    return poisson_blend(object_, mask > 0, target, forward_differences(object_), mixed=mixed)


def seated(object_, mask, target, mode=None):
    plan = auto_blend.plan_seating(object_, mask, target, mode)
    return torch.cat(auto_blend.seat(object_, mask, target, plan, auto_blend.Settings())[:2], 1)


def placed(object_, mask, target):
    return torch.cat(place(object_, mask, (70, 50), (31.3, 22.8), 1.37, 24.0, True), 1)


def compared(object_, mask, target):
    paste = torch.where(mask > 0, object_, target[:, :3])
    distance = measures.edge_distance(mask)
    values = [measures.psnr(paste, target[:, :3]), measures.ssim(paste, target[:, :3])]
    return torch.stack([value.float().cpu() for value in [*values, measures.seam_gradient(paste, distance)]])


def cropped_and_back(object_, mask, target):
    box = box_around(spanned_region(mask[0, 0] > 0), (50, 70), target.shape[2:])
    small = crop_mask(mask, box, (60, 84))
    return torch.cat(
        [stitch(crop(object_, box, (60, 84)) * small, box, mask, target), small.mean((2, 3), True) + 0 * mask], 1
    )


FUNCTIONS = {
    "Poisson": poisson,
    "mixed gradients": lambda *inputs: poisson(*inputs, mixed=True),
    "Auto Blend": seated,
    "Auto Blend, loose": lambda *inputs: seated(*inputs, auto_blend.LOOSE),
    "Auto Blend, tight": lambda *inputs: seated(*inputs, auto_blend.TIGHT),
    "multiband": lambda object_, mask, target: multiband_blend(object_, mask > 0, target, 4),
    "Gaussian-Poisson": lambda object_, mask, target: gaussian_poisson_blend(object_, mask > 0, target),
    "placement": placed,
    "crop and back": cropped_and_back,
    "dilation": lambda object_, mask, target: dilate(mask, 5),
    "measures": compared,
}


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("function", FUNCTIONS)
def test_every_method_agrees_to_half_a_level(function, mask):
    inputs = scene(mask)[:3]
    expected = FUNCTIONS[function](*inputs)
    got = FUNCTIONS[function](*(image.cuda() for image in inputs)).cpu()
    torch.testing.assert_close(got, expected, atol=LEVEL / 2, rtol=1e-3, equal_nan=True)


@pytest.mark.parametrize("mask", ["disk", "at the border"])
@pytest.mark.parametrize("make", [OpponentEdgeBank, lambda: VGG(small_vgg_weights())], ids=["built-in", "VGG-19"])
@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_the_stages_reach_the_same_loss_and_leave_the_background(make, precision, mask):
    own, mask, target, paste = scene(mask)
    settings = Settings(RECIPES[PAINTING].stage_1, 30, precision=precision)
    losses = []
    for device in ("cpu", "cuda"):
        images = [image.to(device) for image in (own, mask, target, paste)]
        model = make().to(device).requires_grad_(False)
        # As the nodes do, for cuDNN is free to choose its algorithms otherwise.
        with torch.backends.cudnn.flags(deterministic=True, allow_tf32=True):
            result, history = deep_blend(*images, model, settings)
            again, _ = deep_blend(*images, model, settings)
        losses.append(history["total"][-1] if precision == torch.bfloat16 else min(history["total"]))
        outside = (mask == 0).expand_as(result)
        assert torch.equal(result.cpu()[outside], target[outside])
        assert torch.equal(again, result)
    # The narrow network of this test is rounded more coarsely than a real one.
    assert losses[1] == pytest.approx(losses[0], rel=0.05 if precision == torch.bfloat16 else 0.01)


def test_in_a_video_an_object_on_a_still_target_stands_still():
    images = [image.cuda() for image in scene("soft disk")]
    model = OpponentEdgeBank().cuda().requires_grad_(False)
    settings = Settings(RECIPES[PAINTING].stage_1, 12)
    first, history, left = deep_blend_frame(*images, model, settings)
    second, of_second, _ = deep_blend_frame(*images, model, settings, before=left)
    assert len(history["total"]) > 6 and len(of_second["total"]) == 2
    assert (second - first).abs().max() < 0.01 * LEVEL


def test_pan_agrees_to_half_a_level():
    picture = torch.from_numpy(np.random.default_rng(0).random((1, 3, HEIGHT, WIDTH), np.float32))
    network = pan.PAN(random_weights(1)).eval()
    with torch.no_grad():
        expected = network(picture)
        got = network.cuda()(picture.cuda()).cpu()
    torch.testing.assert_close(got, expected, atol=LEVEL / 2, rtol=1e-3)


def test_a_large_poisson_equation_is_solved_as_exactly():
    size = 1024
    y, x = (np.mgrid[:size, :size] + 0.5) / size
    own = torch.from_numpy(np.stack([np.sin(9 * x + k * y) / 2 + 0.5 for k in (1, 2, 3)])[None].astype(np.float32))
    target = own.flip(2, 3).contiguous()
    mask = torch.from_numpy(disk(size, size, 500, 490, 420)[None, None].astype(np.float32))
    expected, got = poisson(own, mask, target), poisson(own.cuda(), mask.cuda(), target.cuda()).cpu()
    torch.testing.assert_close(got, expected, atol=LEVEL / 50, rtol=0)
