import numpy as np
import pytest
import torch
from skimage.color import rgb2lab

from deepblend.blending_core.color import oklab_to_srgb, srgb_to_lab, srgb_to_oklab
from pictures import to_numpy, to_torch

COLORS = np.random.default_rng(0).random((40, 50, 3))
COLORS[0, :8] = np.array([[r, g, b] for r in (0, 1) for g in (0, 1) for b in (0, 1)])
COLORS[1, :3] = ((0.04, 0.041, 0.0404), (0.001, 0.002, 0), (0.5, 0.5, 0.5))


def test_lab_equals_scikit_image():
    # The two round the sRGB matrix to different digits.
    assert np.abs(to_numpy(srgb_to_lab(to_torch(COLORS))) - rgb2lab(COLORS)).max() < 0.01


@pytest.mark.parametrize(
    ("rgb", "oklab"),
    [  # Ottosson's own values
        ((1, 1, 1), (1.0, 0.0, 0.0)),
        ((0, 0, 0), (0.0, 0.0, 0.0)),
        ((1, 0, 0), (0.6279554, 0.2248631, 0.1258463)),
        ((0, 1, 0), (0.8664396, -0.2338874, 0.1794985)),
        ((0, 0, 1), (0.4520137, -0.0324570, -0.3115281)),
    ],
)
def test_oklab_of_the_corners(rgb, oklab):
    color = torch.tensor(rgb, dtype=torch.float64).view(1, 3, 1, 1)
    assert torch.allclose(srgb_to_oklab(color).flatten(), torch.tensor(oklab, dtype=torch.float64), atol=2e-6)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 3e-5)])
def test_oklab_and_back(dtype, tolerance):
    image = to_torch(COLORS, dtype)
    assert (oklab_to_srgb(srgb_to_oklab(image)) - image).abs().max() < tolerance


def test_colours_that_no_screen_shows_are_cut_off_and_finite():
    oklab = torch.tensor([0.9, 0.4, -0.4, -0.5, 2.0, 0.0, 0.0, 0.0, 0.0]).view(1, 3, 1, 3)
    shown = oklab_to_srgb(oklab)
    assert torch.isfinite(shown).all()
    assert shown.min() >= 0
    assert shown.max() <= 1
    beyond = torch.tensor([-0.5, 1.5, 3.0]).view(1, 3, 1, 1)
    assert torch.equal(srgb_to_oklab(beyond), srgb_to_oklab(beyond.clamp(0, 1)))
    assert torch.equal(srgb_to_lab(beyond), srgb_to_lab(beyond.clamp(0, 1)))
