import numpy as np
import pytest
import torch
from scipy import ndimage

from deepblend.blending_core.blur import gaussian_blur, masked_mean
from pictures import masks, smooth_picture, to_numpy, to_torch


@pytest.mark.parametrize("sigma", [0.7, 1.5, 6.0])
def test_blur_equals_scipy(sigma):
    image = smooth_picture(37, 53, 1)
    expected = ndimage.gaussian_filter(
        image, (sigma, sigma, 0), mode="constant", radius=(*[int(np.ceil(4 * sigma))] * 2, 0)
    )
    assert np.abs(to_numpy(gaussian_blur(to_torch(image, torch.float64), sigma)) - expected).max() < 1e-12


def normalised(image, weight, sigma):
    def blur(values):
        return ndimage.gaussian_filter(values, sigma, mode="constant", truncate=6)

    total = blur(weight)
    return np.stack([blur(image[..., c] * weight) / np.maximum(total, 1e-9) for c in range(3)], -1), total


@pytest.mark.parametrize(("sigma", "tolerance"), [(1.5, 0.002), (6.0, 0.002), (13.0, 0.02), (30.0, 0.02)])
def test_mean_over_a_mask_equals_scipy(sigma, tolerance):
    """From 8 pixels on it is computed on a coarser grid, hence the wider tolerance."""
    image = smooth_picture(120, 150, 2)
    weight = (smooth_picture(120, 150, 3)[..., 0] > 0.4).astype(float)
    expected, total = normalised(image, weight, sigma)
    mean, found_total = masked_mean(to_torch(image, torch.float64), to_torch(weight, torch.float64), sigma)
    rests_on_something = total > 0.05
    assert np.abs(to_numpy(mean) - expected)[rests_on_something].max() < tolerance
    assert np.abs(to_numpy(found_total)[..., 0] - total).max() < 2 * tolerance


@pytest.mark.parametrize("sigma", [1.0, 20.0])
def test_constant_stays_constant_up_to_the_frame(sigma):
    mean, _ = masked_mean(torch.full((1, 3, 41, 60), 0.3), torch.ones(1, 1, 41, 60), sigma)
    assert torch.allclose(mean, torch.tensor(0.3), atol=1e-6)


def test_without_weight_the_mean_is_0_and_pixels_without_weight_have_no_part():
    inside = to_torch(masks()["ellipse"]).float()
    image = torch.where(inside > 0, 0.25, 1e4).expand(1, 3, -1, -1)
    mean, weight = masked_mean(image, inside, 1.0)
    assert torch.allclose(mean[:, :, inside[0, 0] > 0], torch.tensor(0.25), atol=1e-5)
    assert not mean.isnan().any()
    assert not mean[(weight == 0).expand_as(mean)].any()
    nothing, _ = masked_mean(image, torch.zeros_like(inside), 20.0)
    assert not nothing.any()
