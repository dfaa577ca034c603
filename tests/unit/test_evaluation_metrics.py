import math

import numpy as np
import pytest
import torch
from skimage.color import rgb2lab
from skimage.metrics import mean_squared_error, peak_signal_noise_ratio, structural_similarity

from evaluation_metrics import measure, measure_truth
from evaluation_sets import Sample
from pictures import smooth_picture, to_torch

HEIGHT, WIDTH = 60, 80


def in_bytes(picture):
    return np.round(picture * 255) / 255


@pytest.fixture
def scene():
    """A made-up sample as arrays, its mask in the middle, and a blend that is neither of the references."""
    source, target, truth, blend = (in_bytes(smooth_picture(HEIGHT, WIDTH, seed)) for seed in range(4))
    mask = np.zeros((HEIGHT, WIDTH))
    mask[20:45, 25:60] = 1
    inside = mask[..., None] > 0
    return source, mask, target, np.where(inside, truth, target), np.where(inside, blend, target)


def sample_of(source, mask, target, truth):
    return Sample(
        "set", "name", to_torch(source), to_torch(mask), to_torch(target), None if truth is None else to_torch(truth)
    )


def errors(image, reference):
    ssim = structural_similarity(
        image, reference, channel_axis=2, data_range=1, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
    )
    return (
        peak_signal_noise_ratio(reference, image, data_range=1),
        ssim,
        mean_squared_error(255 * image, 255 * reference),
    )


def test_each_reference_is_the_one_that_its_name_says(scene):
    source, mask, target, truth, blend = scene
    found = measure(to_torch(blend), sample_of(source, mask, target, truth), None)
    inside = mask > 0
    for reference, picture in (("truth", truth), ("target", target)):
        values = [found[f"{reference}_{error}"] for error in ("psnr", "ssim", "mse")]
        assert values == pytest.approx(errors(blend, picture), rel=1e-4)
    for reference, picture in (("truth_mask", truth), ("source", source)):
        wanted = np.mean((255 * (blend - picture)[inside]) ** 2)
        assert found[f"{reference}_mse"] == pytest.approx(wanted, rel=1e-4)
        assert found[f"{reference}_psnr"] == pytest.approx(10 * math.log10(255**2 / wanted), abs=1e-3)


def test_core_color_is_compared_with_the_source(scene):
    source, mask, target, truth, _ = scene
    flat, changed = np.full_like(source, 0.4), np.full_like(source, [0.6, 0.4, 0.2])
    found = measure(to_torch(changed), sample_of(flat, mask, target, truth), None)
    wanted = np.linalg.norm(rgb2lab(changed[0, 0]) - rgb2lab(flat[0, 0]))
    assert found["color_distance"] == pytest.approx(wanted, abs=0.01)


def test_equal_pictures_count_as_100_db(scene):
    source, mask, target, truth, _ = scene
    assert measure(to_torch(target), sample_of(source, mask, target, truth), None)["target_psnr"] == 100
    found = measure(
        to_torch(np.where(mask[..., None] > 0, source, target)), sample_of(source, mask, target, None), None
    )
    assert (found["source_psnr"], found["source_mse"], found["color_distance"]) == (100, 0, 0)


@pytest.mark.filterwarnings("ignore:Mean of empty slice", "ignore:invalid value")
def test_what_cannot_be_measured_is_left_out(scene):
    source, mask, target, truth, blend = scene
    found = measure(to_torch(blend), sample_of(source, mask, target, None), None)
    assert not [name for name in found if name.startswith("truth") or name.endswith("lpips")]
    full = measure(to_torch(blend), sample_of(source, np.ones_like(mask), target, None), None)
    assert "seam_gradient" not in full
    assert not [
        name for name in measure_truth(sample_of(source, mask, target, truth), None) if name.startswith("truth")
    ]


def test_lpips_sees_whole_pictures(scene):
    source, mask, target, truth, blend = scene
    seen = []

    def lpips(image, reference):
        seen.append(reference)
        return torch.zeros(1)

    found = measure(to_torch(blend), sample_of(source, mask, target, truth), lpips)
    assert {name for name in found if name.endswith("lpips")} == {"truth_lpips", "target_lpips", "source_lpips"}
    pasted = np.where(mask[..., None] > 0, source, target)
    for picture in (truth, target, pasted):
        assert any(torch.allclose(reference, to_torch(picture)) for reference in seen)
