import numpy as np
import pytest
import torch
from skimage.exposure import match_histograms

from deepblend.blending_core.histogram import match_histogram, measure_distribution


def matched(values, weights, target):
    """`[channels, n]` values with `[n]` weights, matched to `[channels, k]` values."""
    features = torch.from_numpy(values)[None, :, None].double()
    found = match_histogram(features, torch.from_numpy(weights)[None, None, None], measure_distribution(target))
    return found[0, :, 0].numpy()


def match(values, target, weights=None):
    weights = np.ones(values.shape[1]) if weights is None else weights
    return matched(values, weights, torch.from_numpy(target))


def continuous(size, seed):
    """Values of three channels, each of its own distribution."""
    generator = np.random.default_rng(seed)
    return np.stack(
        [generator.random(size), generator.beta(2, 5, size), 0.5 + 0.4 * np.sin(generator.uniform(-1.5, 1.5, size))]
    )


def rectified(size, seed, share=0.6):
    """Values of which that share is exactly 0, as behind a ReLU."""
    generator = np.random.default_rng(seed)
    return np.maximum(generator.normal(size=(2, size)) - np.quantile(generator.normal(size=100000), share), 0)


def mean_over_ranks(target, first, last):
    """Mean of the target's quantile function (a staircase) between two shares of all values, stair by stair."""
    stairs, count = np.sort(target), len(target)
    overlaps = [max(0, min(last, (k + 1) / count) - max(first, k / count)) for k in range(count)]
    return np.dot(stairs, overlaps) / (last - first)


@pytest.mark.parametrize(("size", "other"), [(160 * 160, 160 * 160), (170 * 150, 190 * 160)])
def test_continuous_values_equal_scikit_image(size, other):
    values, target = continuous(size, 1), continuous(other, 2)[[2, 0, 1]]
    expected = match_histograms(values.T[None], target.T[None], channel_axis=-1)[0].T
    # At the thin ends of a distribution values of the target are further apart than this.
    common = (values > np.quantile(values, 0.005, 1, keepdims=True)) & (
        values < np.quantile(values, 0.995, 1, keepdims=True)
    )
    assert np.abs(match(values, target) - expected)[common].max() < 1e-3


@pytest.mark.parametrize(("size", "other"), [(200, 200), (150, 210), (211, 97)])
def test_equal_values_get_the_mean_of_the_targets_values_of_their_ranks(size, other):
    values, target = rectified(size, 1), rectified(other, 2, share=0.45)
    found = match(values, target)
    for channel in range(2):
        zeros = values[channel] == 0
        assert 0.5 < zeros.mean() < 0.7 and len(set(found[channel][zeros])) == 1
        for value in np.unique(values[channel]):
            first, last = (values[channel] < value).mean(), (values[channel] <= value).mean()
            here = found[channel][values[channel] == value]
            assert np.abs(here - mean_over_ranks(target[channel], first, last)).max() < 1e-12


def test_weighted_values_equal_the_definition():
    generator = np.random.default_rng(4)
    values, target = rectified(120, 3), rectified(75, 4)
    weights = generator.random(120)
    weights[5:15] = 1e-4
    found = match(values, target, weights)
    for channel in range(2):
        for value, result in zip(values[channel], found[channel], strict=True):
            first, last = (weights[values[channel] < value].sum(), weights[values[channel] <= value].sum())
            expected = mean_over_ranks(target[channel], first / weights.sum(), last / weights.sum())
            assert result == pytest.approx(expected, abs=1e-9)


def test_a_weight_of_n_counts_as_n_equal_values():
    weights = np.random.default_rng(0).integers(1, 5, 90)
    values, target = rectified(90, 5), continuous(333, 6)[:2]
    repeated = match(np.repeat(values, weights, axis=1), target)
    assert np.abs(np.repeat(match(values, target, weights.astype(float)), weights, axis=1) - repeated).max() < 1e-12


def test_values_without_weight_neither_count_nor_change():
    values, target = continuous(100, 7), continuous(80, 8)
    weights = np.ones(100)
    weights[::3] = 0
    found = match(values, target, weights)
    assert np.array_equal(found[:, ::3], values[:, ::3])
    counted = weights > 0
    assert np.abs(found[:, counted] - match(values[:, counted], target)).max() < 1e-12


@pytest.mark.parametrize("trace", [1e-7, 1e-12, 1e-20, 1e-38])
def test_traces_of_a_weight_do_no_harm(trace):
    """Soft masks fade out; shares too small to be told apart have no values of their own in the target."""
    values, target = rectified(100, 9), rectified(80, 10)
    weights = np.ones(100)
    weights[::4] = trace
    for dtype in (np.float32, np.float64):
        found = match(values, target, weights.astype(dtype))
        assert np.isfinite(found).all() and found.max() < 2 * target.max()
        counted = weights == 1
        assert np.abs(found[:, counted] - match(values[:, counted], target)).max() < 1e-4


def test_only_the_scale_of_the_weights_does_not_matter():
    values, target = rectified(100, 9), rectified(80, 10)
    weights = np.random.default_rng(1).random(100)
    assert np.abs(match(values, target, weights) - match(values, target, 1e-4 * weights)).max() < 1e-12


@pytest.mark.parametrize("values", [continuous(500, 11), rectified(500, 12), np.full((2, 40), 0.3)])
def test_the_own_distribution_changes_nothing(values):
    shuffled = np.random.default_rng(2).permuted(values, axis=1)
    assert np.abs(match(values, shuffled) - values).max() < 1e-10


def test_order_is_kept_and_the_mean_becomes_the_targets():
    values, target = rectified(400, 13), continuous(300, 14)[:2]
    found = match(values, target)
    for channel in range(2):
        order = np.argsort(values[channel])
        assert (np.diff(found[channel][order]) >= -1e-15).all()
        assert found[channel].mean() == pytest.approx(target[channel].mean(), abs=1e-12)
        assert target[channel].min() - 1e-9 < found[channel].min()
        assert found[channel].max() < target[channel].max() + 1e-9


def test_one_value_on_either_side():
    values = rectified(50, 15)
    assert np.allclose(match(values, np.array([[0.7], [0.2]])), [[0.7], [0.2]], atol=1e-12)
    target = continuous(64, 16)[:2]
    assert np.allclose(match(values[:, :1], target)[:, 0], target.mean(1), atol=1e-12)


def test_single_precision_keeps_its_type_and_inputs_are_not_written_to():
    features, weights = torch.rand(1, 3, 20, 20), torch.rand(1, 1, 20, 20)
    before = features.clone(), weights.clone()
    target = torch.rand(3, 250)
    found = match_histogram(features, weights, measure_distribution(target))
    assert found.dtype == torch.float32
    assert torch.equal(features, before[0]) and torch.equal(weights, before[1])
    expected = match_histogram(features.double(), weights.double(), measure_distribution(target.double()))
    assert (found - expected).abs().max() < 1e-5


def test_nothing_has_a_weight():
    features = torch.rand(1, 2, 4, 4)
    assert torch.equal(
        match_histogram(features, torch.zeros(1, 1, 4, 4), measure_distribution(torch.rand(2, 9))), features
    )
