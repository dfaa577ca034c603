import math

import numpy as np
import pytest
import torch
from scipy import ndimage
from skimage.metrics import mean_squared_error, peak_signal_noise_ratio, structural_similarity

from deepblend.blending_core import measures
from pictures import masks, smooth_picture, to_torch

MASKS = masks()
HEIGHT, WIDTH = 37, 53


def noisy(picture, seed=9):
    return np.clip(picture + np.random.default_rng(seed).normal(0, 0.08, picture.shape), 0, 1)


def skimage_ssim(a, b, full=False):
    settings = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 1}
    return structural_similarity(a, b, channel_axis=2, full=full, **settings)


@pytest.mark.parametrize("size", [(37, 53), (11, 11), (11, 40), (100, 12)])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
def test_errors_equal_scikit_image(size, dtype, tolerance):
    truth = smooth_picture(*size, 1)
    image = noisy(truth)
    pair = to_torch(image, dtype), to_torch(truth, dtype)
    assert measures.ssim(*pair).item() == pytest.approx(skimage_ssim(image, truth), abs=tolerance)
    assert measures.psnr(*pair).item() == pytest.approx(peak_signal_noise_ratio(truth, image, data_range=1), abs=1e-4)
    error = mean_squared_error(image * 255, truth * 255)
    assert measures.mse(*pair).item() == pytest.approx(error, rel=1e-5)
    assert all(measure(*pair).dtype == dtype for measure in (measures.ssim, measures.psnr, measures.mse))


def test_ssim_of_flat_pictures_keeps_its_digits_in_float32():
    """Where nothing varies the variances are differences of nearly equal numbers; at 0.97 unshifted ones would be off by 0.0001."""
    truth = np.full((40, 40, 3), 0.97)
    image = truth + np.random.default_rng(0).uniform(-0.004, 0.004, truth.shape)
    found = measures.ssim(to_torch(image), to_torch(truth)).item()
    assert found == pytest.approx(skimage_ssim(image, truth), abs=4e-5)


@pytest.mark.parametrize("mask", MASKS)
def test_errors_within_a_mask(mask):
    truth = smooth_picture(HEIGHT, WIDTH, 2)
    image = noisy(truth)
    weight = MASKS[mask] * np.random.default_rng(1).uniform(0.2, 1, (HEIGHT, WIDTH))
    arguments = [to_torch(values, torch.float64) for values in (image, truth, weight)]
    error = np.average(((image - truth) ** 2 * 255**2).mean(2), weights=weight)
    assert measures.mse(*arguments).item() == pytest.approx(error, rel=1e-12)
    assert measures.psnr(*arguments).item() == pytest.approx(10 * math.log10(255**2 / error), abs=1e-9)
    _, values = skimage_ssim(image, truth, full=True)
    within = slice(5, -5)
    wanted = np.average(values.mean(2)[within, within], weights=weight[within, within])
    assert measures.ssim(*arguments).item() == pytest.approx(wanted, abs=1e-12)


def test_ssim_of_a_mask_at_the_border_uses_the_mirrored_picture():
    truth = smooth_picture(HEIGHT, WIDTH, 3)
    image = noisy(truth)
    weight = np.zeros((HEIGHT, WIDTH))
    weight[:3, 10:20] = 1
    _, values = skimage_ssim(image, truth, full=True)
    found = measures.ssim(*(to_torch(array, torch.float64) for array in (image, truth, weight)))
    assert found.item() == pytest.approx(values[:3, 10:20].mean(), abs=1e-12)


@pytest.mark.parametrize("size", [(1, 1), (3, 3), (10, 40), (2, 1)])
def test_pictures_smaller_than_the_window_are_mirrored(size):
    truth = smooth_picture(40, 40, 4)[: size[0], : size[1]]
    image = noisy(truth)

    def mean(picture):
        return ndimage.gaussian_filter(picture, (1.5, 1.5, 0), truncate=3.5, mode="reflect")

    def covariance(a, b):
        return mean(a * b) - mean(a) * mean(b)

    values = (2 * mean(image) * mean(truth) + 1e-4) * (2 * covariance(image, truth) + 9e-4)
    values /= (mean(image) ** 2 + mean(truth) ** 2 + 1e-4) * (
        covariance(image, image) + covariance(truth, truth) + 9e-4
    )
    found = measures.ssim(to_torch(image, torch.float64), to_torch(truth, torch.float64))
    assert found.item() == pytest.approx(values.mean(), abs=1e-12)


def test_equal_pictures():
    image = torch.rand(2, 3, 30, 20, generator=torch.Generator().manual_seed(0))
    assert measures.mse(image, image).tolist() == [0, 0]
    assert measures.psnr(image, image).tolist() == [math.inf, math.inf]
    assert measures.ssim(image, image).tolist() == pytest.approx([1, 1], abs=1e-6)


def test_closed_forms():
    ones = torch.ones(1, 3, 20, 20)
    assert measures.mse(ones * 0.5, ones * 0.75).item() == pytest.approx((255 / 4) ** 2)
    assert measures.psnr(ones * 0.5, ones * 0.75).item() == pytest.approx(20 * math.log10(4))
    # Of flat pictures only the means count.
    wanted = (2 * 0.5 * 0.75 + 1e-4) / (0.5**2 + 0.75**2 + 1e-4)
    assert measures.ssim(ones * 0.5, ones * 0.75).item() == pytest.approx(wanted, abs=1e-5)


def test_a_mask_without_weight_has_no_error():
    image = torch.rand(1, 3, 20, 20)
    for measure in (measures.mse, measures.psnr, measures.ssim):
        assert measure(image, image / 2, torch.zeros(1, 1, 20, 20)).isnan().all()


def distances(inside):
    """Signed distance by SciPy, a half at the pixels along the edge."""
    return np.where(inside, ndimage.distance_transform_edt(inside) - 0.5, 0.5 - ndimage.distance_transform_edt(~inside))


def steps_by_distance(values, distance):
    """Mean absolute difference of the pairs that a line parts, every pair looked at: line -> mean."""
    found = {line: [] for line in range(-16, 17)}
    for y, x in np.ndindex(distance.shape):
        for v, u in ((y, x + 1), (y + 1, x)):
            if v < distance.shape[0] and u < distance.shape[1]:
                low, high = sorted((distance[y, x], distance[v, u]))
                for line in range(math.ceil(low), math.floor(high) + 1):
                    if abs(line) <= 16:
                        found[line].append(np.abs(values[v, u] - values[y, x]).mean())
    return {line: np.mean(steps) if steps else math.nan for line, steps in found.items()}


def saturation_of(image):
    return ((image.max(2) - image.min(2)) / (image.max(2) + 0.02))[..., None]


@pytest.mark.parametrize("mask", MASKS)
def test_seam_and_profile_equal_a_loop_over_all_pairs(mask):
    image = noisy(smooth_picture(HEIGHT, WIDTH, 5))
    distance = distances(MASKS[mask])
    found_distance = measures.edge_distance(to_torch(MASKS[mask]).double())
    near = np.abs(distance) < 16
    assert np.allclose(found_distance[0, 0].numpy()[near], distance[near], atol=1e-5)

    picture = to_torch(image, torch.float64)
    gradient, colorful = steps_by_distance(image, distance), steps_by_distance(saturation_of(image), distance)
    expected = [gradient[0] - gradient[-2], colorful[0] - colorful[-2]]
    found = [measure(picture, found_distance).item() for measure in (measures.seam_gradient, measures.seam_saturation)]
    assert found == pytest.approx(expected, abs=1e-6, nan_ok=True)

    mean, step = measures.saturation_profile(picture, found_distance)
    assert step[0].tolist() == pytest.approx(list(colorful.values()), abs=1e-6, nan_ok=True)
    for index, low in enumerate(range(-16, 16)):
        values = saturation_of(image)[(distance > low) & (distance < low + 1)]
        wanted = values.mean() if values.size else math.nan
        assert mean[0, index].item() == pytest.approx(wanted, abs=1e-6, nan_ok=True)


def test_a_known_step_at_the_edge_gives_that_number():
    inside = torch.zeros(1, 1, 40, 60, dtype=torch.float64)
    inside[..., 10:25, 20:45] = 1
    distance = measures.edge_distance(inside)
    image = torch.full((1, 3, 40, 60), 0.4, dtype=torch.float64) + 0.3 * inside
    assert measures.seam_gradient(image, distance).item() == pytest.approx(0.3)
    assert measures.seam_saturation(image, distance).item() == pytest.approx(0)
    # A step that lies 2 pixels further out is no seam: it makes the measure negative.
    moved = torch.full((1, 3, 40, 60), 0.4, dtype=torch.float64) + 0.3 * (distance > -2)
    assert measures.seam_gradient(moved, distance).item() == pytest.approx(-0.3)


def test_a_known_step_of_the_saturation_gives_that_number():
    inside = torch.zeros(1, 1, 40, 60, dtype=torch.float64)
    inside[..., 10:25, 20:45] = 1
    distance = measures.edge_distance(inside)
    # With max = 0.98 the saturation is max - min: 0.2 outside, 0.5 inside; only two of three channels jump.
    image = torch.cat([torch.full_like(inside, 0.98), 0.78 - 0.3 * inside, 0.78 - 0.3 * inside], 1)
    assert measures.seam_saturation(image, distance).item() == pytest.approx(0.3)
    assert measures.seam_gradient(image, distance).item() == pytest.approx(0.2)
    mean, step = measures.saturation_profile(image, distance)
    assert mean[0, :16].tolist() == pytest.approx([0.2] * 16)
    assert mean[0, 16:23].tolist() == pytest.approx([0.5] * 7)
    assert mean[0, 24:].isnan().all()  # the object is 15 pixels high
    assert step[0, 16].item() == pytest.approx(0.3)
    assert step[0, [*range(16), *range(17, 24)]].tolist() == pytest.approx([0] * 23)


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_without_an_edge_there_is_no_seam(value):
    distance = measures.edge_distance(torch.full((1, 1, 30, 30), value))
    image = torch.rand(1, 3, 30, 30)
    assert measures.seam_gradient(image, distance).isnan().all()
    assert measures.seam_saturation(image, distance).isnan().all()
    mean, step = measures.saturation_profile(image, distance)
    assert mean.isnan().all()
    assert step.isnan().all()


@pytest.mark.parametrize("strength", [1.0, 0.3])
def test_edge_of_a_soft_mask(strength):
    """At one half of a mask that gets there, else where it ends."""
    columns = torch.arange(40.0)
    mask = (strength * ((30 - columns) / 10).clamp(0, 1)).expand(1, 1, 20, 40)
    edge = 25.5 if strength == 1 else 29.5
    expected = (edge - columns).clamp(-23.5, 23.5)
    assert torch.equal(measures.edge_distance(mask)[0, 0], expected.expand(20, 40))


def test_samples_are_independent():
    inside = torch.cat([to_torch(MASKS[name]) for name in ("ellipse", "random", "at the left edge")]).float()
    inside[2] *= 0.4
    image = torch.rand(3, 3, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(1))
    reference = torch.rand(3, 3, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(2))
    distance = measures.edge_distance(inside)

    def all_of(part):
        return [
            *(f(image[part], reference[part], inside[part]) for f in (measures.mse, measures.psnr, measures.ssim)),
            measures.edge_distance(inside[part]),
            measures.seam_gradient(image[part], distance[part]),
            measures.seam_saturation(image[part], distance[part]),
            *measures.saturation_profile(image[part], distance[part]),
        ]

    for index in range(3):
        alone = all_of(slice(index, index + 1))
        for together, single in zip(all_of(slice(None)), alone, strict=True):
            assert torch.allclose(together[index], single[0], rtol=1e-6, atol=0, equal_nan=True)
