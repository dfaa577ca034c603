import numpy as np
import pytest
import torch
from skimage.exposure import match_histograms

from deepblend.blending_core import histogram, target_statistics
from deepblend.blending_core.histogram import histogram_loss, match_histogram, measure_distribution
from deepblend.blending_core.opponent_edge_bank import OpponentEdgeBank


def matched(values, weights, target):
    """`[channels, n]` values with `[n]` weights, matched to `[channels, k]` values."""
    features = torch.from_numpy(values)[None, :, None]
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


def matched_written_out(values, weights, target):
    """Value by value of one channel: the mean over the ranks that it shares with its equals."""
    shares = [(weights[values < value].sum(), weights[values <= value].sum()) for value in values]
    return np.array([mean_over_ranks(target, *(share / weights.sum() for share in pair)) for pair in shares])


def awkward(size, seed):
    """Channels that end with the value with which the next begins, of one value only, of few values, with both zeros, of
    either sign, very large and very small ones."""
    generator = np.random.default_rng(seed)
    plain, zeros = generator.normal(size=size), generator.random(size) < 0.3
    channels = [
        np.minimum(plain, 0),
        np.maximum(plain[::-1], 0),
        np.zeros(size),
        np.full(size, -1.5),
        np.round(2 * plain) / 2,
        np.where(zeros, -0.0, np.where(zeros[::-1], 0.0, plain)),
        1e30 * plain,
        1e-30 * np.abs(plain),
        1e-42 * plain,
    ]
    return np.stack(channels)


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
    target = torch.rand(3, 250)
    before = features.clone(), weights.clone(), target.clone()
    found = match_histogram(features, weights, measure_distribution(target))
    assert found.dtype == torch.float32
    assert all(map(torch.equal, (features, weights, target), before))
    expected = match_histogram(features.double(), weights.double(), measure_distribution(target.double()))
    assert (found - expected).abs().max() < 1e-5


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_features_in_less_than_single_precision_lose_nothing_more(dtype):
    features, mask = torch.rand(1, 3, 20, 20).to(dtype).requires_grad_(), torch.rand(1, 1, 20, 20)
    target = torch.rand(3, 250).to(dtype)
    wide = features.detach().float().requires_grad_()
    for values, other in ((features, target), (wide, target.float())):
        histogram_loss({"layer": values}, {"layer": measure_distribution(other)}, {"layer": mask}).backward()
    assert wide.grad.any() and torch.equal(features.grad, wide.grad.to(dtype))


def test_nothing_has_a_weight():
    features = torch.rand(1, 2, 4, 4)
    assert torch.equal(
        match_histogram(features, torch.zeros(1, 1, 4, 4), measure_distribution(torch.rand(2, 9))), features
    )


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("at_a_time", [1, 200, 10**6])
@pytest.mark.parametrize(("size", "other"), [(70, 70), (70, 31), (70, 203), (70, 1), (1, 50), (2, 3)])
def test_awkward_channels_equal_the_definition_each_by_itself(size, other, at_a_time, dtype, monkeypatch):
    monkeypatch.setattr(histogram, "VALUES_ON_CPU", at_a_time)
    generator = np.random.default_rng(3)
    values, weights = awkward(size, 1).astype(dtype), generator.choice([1, 0.5, 0.01, 0.73, 0.2], size).astype(dtype)
    # Ranges that lie apart show what a channel takes of its neighbour's.
    target = generator.random((len(values), other)) + np.resize([1, 9, -4], len(values))[:, None]
    target[:, ::3] = target[:, :1]
    found = match(values, target.astype(dtype), weights)
    assert found.dtype == dtype
    for channel in range(len(values)):
        expected = matched_written_out(
            values[channel], weights.astype(np.float64), target[channel].astype(dtype).astype(np.float64)
        )
        assert np.abs(found[channel] - expected).max() < (2e-6 if dtype == np.float32 else 1e-10), channel


def test_single_precision_is_exact_for_many_values():
    """65536 values of 1000 and more, whose running sums single precision could not tell apart."""
    generator = np.random.default_rng(5)
    values = np.maximum(generator.normal(size=(3, 65536)), 0).astype(np.float32)
    target = (1000 + generator.random((3, 65536))).astype(np.float32)
    found, stairs = match(values, target, np.full(65536, 0.1, np.float32)), np.sort(target.astype(np.float64), axis=1)
    for channel in range(3):
        order = np.argsort(values[channel])
        zeros = int((values[channel] == 0).sum())
        unequal = np.flatnonzero(np.diff(values[channel][order]) > 0)[1:-1]
        alone = unequal[1:][np.diff(unequal) == 1]  # these have a stair of their own
        assert len(alone) > 25000
        assert np.abs(found[channel][order][alone] - stairs[channel][alone]).max() < 1e-4
        assert abs(found[channel][order][0] - stairs[channel][:zeros].mean()) < 1e-4


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_loss_and_slope_equal_the_definition_in_either_layout(layout):
    generator = np.random.default_rng(6)
    values, target = rectified(6 * 7, 7).astype(np.float32), continuous(50, 8)[:2].astype(np.float32)
    weights = generator.random(6 * 7).astype(np.float32) * (generator.random(6 * 7) > 0.3)
    squares, slope = 0.0, np.zeros_like(values, np.float64)
    deviation = np.zeros(6 * 7)
    for channel in range(2):
        counted = values[channel][weights > 0]
        expected = matched_written_out(counted, weights[weights > 0].astype(np.float64), target[channel])
        deviation[weights > 0] = counted - expected
        squares += (weights * deviation**2).sum() / (2 * weights.sum())
        slope[channel] = 3 * weights * deviation / weights.sum()  # of three times the loss
    features = torch.from_numpy(values).view(1, 2, 6, 7).contiguous(memory_format=layout).requires_grad_()
    mask, distribution = torch.from_numpy(weights).view(1, 1, 6, 7), measure_distribution(torch.from_numpy(target))
    loss = histogram_loss({"layer": features}, {"layer": distribution}, {"layer": mask})
    (3 * loss).backward()
    assert loss.item() == pytest.approx(squares, rel=1e-5)
    assert np.abs(features.grad[0].flatten(1).numpy() - slope).max() < 1e-6


def test_the_same_result_every_time():
    values, target = rectified(5000, 17).astype(np.float32), rectified(4000, 18).astype(np.float32)
    weights = np.random.default_rng(1).random(5000).astype(np.float32)
    found = match(values, target, weights)
    assert all(np.array_equal(match(values, target, weights), found) for _ in range(3))


def test_the_targets_distribution_is_that_of_some_of_what_is_seen_of_it(monkeypatch):
    """Every k-th position of every tile, so many that they are at most `SAMPLES`."""
    monkeypatch.setattr(target_statistics, "SAMPLES", 700)
    model, generator = OpponentEdgeBank().double(), torch.Generator().manual_seed(0)
    picture = torch.rand(1, 3, 38, 60, dtype=torch.float64, generator=generator)
    visible = (torch.rand(1, 1, 38, 60, dtype=torch.float64, generator=generator) > 0.3).double()
    everywhere = {layer: (slice(0, 38 // stride), slice(0, 60 // stride)) for layer, stride in model.strides.items()}
    found = target_statistics.target_statistics(model, picture, visible, everywhere, True).distributions
    features, shares = model(picture), model.layer_masks(visible)
    for layer, step in (("edges", 4), ("half_edges", 1)):
        seen = np.flatnonzero(shares[layer].numpy())[::step]
        values = np.sort(features[layer][0].flatten(1).numpy()[:, seen], axis=1)
        assert found[layer].count == len(seen) <= 700
        sums = found[layer].sums[: values.size + 1].numpy()
        assert np.abs(np.diff(sums).reshape(values.shape) - values).max() < 1e-10
