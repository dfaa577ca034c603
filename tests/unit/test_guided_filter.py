import numpy as np
import pytest
import torch

from deepblend.blending_core.guided_filter import box_mean, guided_filter
from pictures import smooth_picture, to_numpy, to_torch


def window(y, x, radius, shape):
    return slice(max(0, y - radius), min(shape[0], y + radius + 1)), slice(
        max(0, x - radius), min(shape[1], x + radius + 1)
    )


def written_out(guide, signal, radius, epsilon):
    """Window by window: ridge regression of the signal on the guide, then the mean of the coefficients."""
    shape = signal.shape
    coefficients = np.zeros((*shape, 4))
    for y, x in np.ndindex(shape):
        part = window(y, x, radius, shape)
        colors, values = guide[part].reshape(-1, 3), signal[part].ravel()
        covariance = np.cov(colors.T, bias=True) + epsilon * np.eye(3)
        a = np.linalg.solve(covariance, (colors * values[:, None]).mean(0) - colors.mean(0) * values.mean())
        coefficients[y, x] = *a, values.mean() - a @ colors.mean(0)
    return np.stack(
        [[coefficients[window(y, x, radius, shape)].mean((0, 1)) for x in range(shape[1])] for y in range(shape[0])]
    )


def test_equals_the_definition_written_out():
    guide, signal = smooth_picture(17, 23, 1), (smooth_picture(17, 23, 2)[..., 0] > 0.5).astype(float)
    a, b = guided_filter(to_torch(guide, torch.float64), to_torch(signal, torch.float64), 3, 1e-3)
    expected = written_out(guide, signal, 3, 1e-3)
    assert np.abs(to_numpy(torch.cat([a, b], 1)) - expected).max() < 1e-9


@pytest.mark.parametrize(("dark", "light"), [(0.4, 0.7), (0.1, 0.9), (0.0, 1.0)])
def test_single_precision_suffices_for_black_and_white(dark, light):
    """The colours of a window then lie on one line, and the covariance matrix is all but singular."""
    inside = np.hypot(*(np.mgrid[:60, :70] - 30)) < 20
    guide, signal = np.repeat(np.where(inside, light, dark)[..., None], 3, 2), inside.astype(float)
    single, double = (
        guided_filter(to_torch(guide, t), to_torch(signal, t), 6, 1e-5) for t in (torch.float32, torch.float64)
    )
    a, b = ((a * to_torch(guide)).sum(1, keepdim=True) + b for a, b in (single, double))
    assert (a - b).abs().max() < 0.01


def test_a_signal_that_is_linear_in_the_guide_is_reproduced():
    guide = to_torch(np.random.default_rng(0).random((30, 40, 3)), torch.float64)
    signal = 0.2 * guide[:, :1] - 0.5 * guide[:, 1:2] + 0.3
    a, b = guided_filter(guide, signal, 4, 1e-12)
    assert ((a * guide).sum(1, keepdim=True) + b - signal).abs().max() < 1e-6


def test_box_mean_counts_only_pixels_of_the_frame():
    image = smooth_picture(9, 12, 3)
    found = to_numpy(box_mean(to_torch(image, torch.float64), 2))
    for y, x in ((0, 0), (4, 5), (8, 11), (0, 6)):
        assert np.abs(found[y, x] - image[window(y, x, 2, (9, 12))].mean((0, 1))).max() < 1e-12
    assert torch.allclose(box_mean(torch.full((1, 1, 3, 4), 0.7), 8), torch.tensor(0.7))
