import numpy as np
import pytest
import torch
import torch.nn.functional as F

from evaluation_methods import METHODS, Networks, load_networks, opencv_seamless_clone, sharpened
from evaluation_sets import samples
from pictures import smooth_picture, to_torch

# Those that are known to differ from their neighbours in the table only by what their names say.
OURS = [key for key, method in METHODS.items() if key not in ("seamless_clone",) and not method.needs_pan]


class Doubled:
    """Stands for PAN: every pixel becomes four."""

    scale = 2

    def __call__(self, image):
        return F.interpolate(image, scale_factor=2, mode="nearest")


@pytest.fixture(scope="module")
def sample():
    return samples(["margin/coffee on grass 0"], 64)[0]


@pytest.mark.parametrize("key", OURS)
def test_the_target_is_left_alone_around_the_object(key, sample):
    image = METHODS[key].make(load_networks(None, [key]))(sample.object_, sample.mask, sample.target)
    outside = (sample.mask == 0).expand_as(sample.target)
    assert torch.equal(image[outside], sample.target[outside])
    assert not torch.allclose(image[~outside], sample.target[~outside], atol=0.05)


def test_saturation_loss_and_pan_are_what_their_rows_add(sample):
    networks = Networks(load_networks(None, []).features, Doubled())
    keys = ("deep", "deep_saturation", "deep_pan", "deep_pan_saturation")
    images = {key: METHODS[key].make(networks)(sample.object_, sample.mask, sample.target) for key in keys}
    assert not torch.allclose(images["deep"], images["deep_saturation"], atol=1e-3)
    # Pixels that are doubled and averaged are what they were, so that PAN in itself changes nothing here.
    assert torch.allclose(images["deep"], images["deep_pan"], atol=0.01)
    assert torch.allclose(images["deep_saturation"], images["deep_pan_saturation"], atol=0.01)


def test_pan_acts_inside_the_mask_only():
    class Dark(Doubled):
        def __call__(self, image):
            return super().__call__(0.5 * image)

    image, target = (to_torch(smooth_picture(90, 120, seed)) for seed in (0, 1))
    mask = torch.zeros(1, 1, 90, 120)
    mask[..., 50:70, 100:120] = 1
    expected = torch.where(mask > 0, 0.5 * image, target)
    assert torch.allclose(sharpened(Dark(), torch.where(mask > 0, image, target), mask, target), expected, atol=1e-6)


def test_seamless_clone_keeps_its_place_at_the_frame():
    """A bump in the object arrives where it was, with a mask that touches the frame."""
    object_, target = (np.full((60, 80, 3), value) for value in (0.4, 0.6))
    object_[28:32, 8:12] += 0.2
    mask = np.zeros((60, 80))
    mask[10:50, :40] = 1
    image = opencv_seamless_clone(*map(to_torch, (object_, mask, target)))
    assert image.shape == (1, 3, 60, 80)
    change = (image - to_torch(target)).mean(1)[0]
    assert change[28:32, 8:12].min() > 0.15
    change[27:33, 7:13] = 0
    assert change.abs().max() < 0.1
