from statistics import NormalDist

import numpy as np
import pytest
import torch
from scipy import ndimage

from deepblend.blending_core.feature_model import aligned_region, features_in_tiles
from deepblend.blending_core.opponent_edge_bank import OpponentEdgeBank, opponent_edge_filters
from deepblend.blending_core.vgg import VGG
from networks import small_vgg_weights
from pictures import smooth_picture, to_torch

CONTENT_GAIN = 4.9**0.5
SIZES = [(16, 16), (17, 23), (4, 4), (5, 40), (33, 6)]


def filters_written_out():
    """The definition in NumPy: `[40, colour, row, column]`."""
    d = np.array([[1, 1, 1], [1, 0, -1], [1, -2, 1]]) / np.sqrt([[3], [2], [6]])

    def kernel(*terms):
        return sum(factor * d[row][:, None] * d[column][None] for row, column, factor in terms)

    y, r, b = np.array([1, 1, 1]) / 3**0.5, np.array([1, -1, 0]) / 2**0.5, np.array([1, 1, -2]) / 6**0.5
    yt, e1, e2 = y + 0.05 * r - 0.1 * b, 0.5 * r + 0.87 * b, 0.87 * r - 0.5 * b
    blob = kernel((0, 0, 1))
    bank = [(0.5 / 1.37 * y, blob), (-0.5 / 1.37 * y, blob)]
    for h in np.pi * (2 * np.arange(6) + 1) / 6:
        bank.append((0.6 * (np.cos(h) / 0.477 * e1 + np.sin(h) / 0.14 * e2), blob))
    bank = [np.multiply.outer(color, shape) for color, shape in bank]
    for j in range(18):
        q2, q3, q5 = (NormalDist().inv_cdf(0.98 * ((0.5 + j * k**0.5) % 1) + 0.01) for k in (2, 3, 5))
        t = 2 * np.pi * ((j * 0.6180339887498949) % 1)
        lx, ly = 0.45 * (0.8 * q2 + 0.2 * q3), 0.45 * (0.8 * q2 - 0.2 * q3)
        tint = (j % 2) * 0.4 * abs(q5) * np.exp(2j * np.pi * ((j * 7**0.5) % 1))
        edge = (
            kernel((0, 1, np.cos(t)), (2, 1, -0.27 * np.cos(t)), (1, 0, np.sin(t)), (1, 2, -0.27 * np.sin(t))) / 0.136
        )
        edge = edge + kernel((0, 2, lx), (2, 0, ly), (2, 2, -0.162 * (lx + ly))) / 0.064
        color = tint.real / 0.477 * e1 + tint.imag / 0.14 * e2
        length = (1 + lx**2 + ly**2 + abs(tint) ** 2) ** 0.5
        bank.append((np.multiply.outer(yt, edge) + np.multiply.outer(color, blob)) / length)
    guards = kernel((2, 2, 1 / 0.025)), kernel((0, 2, 1 / 0.09), (2, 0, 1 / 0.09)), kernel((1, 1, 1 / 0.038))
    bank += [sign * 0.3 * np.multiply.outer(y, guard) for guard in guards for sign in (1, -1)]
    for axis, spread in ((e1, 0.045), (e2, 0.018)):
        for m in range(4):
            shape = kernel((0, 1, np.cos(m * np.pi / 2)), (1, 0, np.sin(m * np.pi / 2)))
            bank.append(0.5 / spread * np.multiply.outer(axis, shape))
    return 2.5 * np.array(bank)


def responses_written_out(picture):
    """`[H, W, 3]` to the responses `[40, H, W]` at full and at half size."""
    level = picture.transpose(2, 0, 1) - np.array([0.485, 0.456, 0.406])[:, None, None]
    filters, result = filters_written_out(), []
    for _ in range(2):
        sums = [
            sum(ndimage.correlate(plane, kernel, mode="mirror") for plane, kernel in zip(level, one, strict=True))
            for one in filters
        ]
        result.append(np.maximum(sums, 0))
        level = ndimage.gaussian_filter(level, (0, 0.8, 0.8), mode="nearest", radius=(0, 2, 2))
        height, width = (side // 2 * 2 for side in level.shape[1:])
        level = level[:, :height, :width].reshape(3, height // 2, 2, width // 2, 2).mean((2, 4))
    return result


def models():
    return {
        "bank": OpponentEdgeBank(),
        "VGG-19 to relu3_1": VGG(small_vgg_weights()),
        "VGG-19 to relu4_1": VGG(small_vgg_weights(convolutions=9)),
        "VGG-16": VGG(small_vgg_weights("VGG-16", convolutions=None)),
    }


MODELS = {name: model.double() for name, model in models().items()}


def test_check_values_of_the_definition():
    filters = opponent_edge_filters()
    assert filters.shape == (40, 3, 3, 3)
    assert filters.abs().sum().item() == pytest.approx(4054.899, abs=5e-4)
    assert filters.square().sum().item() == pytest.approx(35485.67, abs=5e-3)
    picture = 0.5 + 0.5 * torch.sin(0.37 * torch.arange(768, dtype=torch.float64)).view(1, 3, 16, 16)
    for dtype in (torch.float32, torch.float64):
        full, half = OpponentEdgeBank().to(dtype).responses(picture.to(dtype))
        assert full.shape == (1, 40, 16, 16) and half.shape == (1, 40, 8, 8)
        for maps, mean, trace in ((full, 1.9264, 633.28), (half, 2.7487, 1346.6)):
            assert maps.mean().item() == pytest.approx(mean, abs=6e-5)
            assert maps.square().sum((0, 1)).mean().item() == pytest.approx(trace, rel=4e-5)


def test_filters_equal_the_definition_written_out():
    assert np.abs(opponent_edge_filters().numpy() - filters_written_out()).max() < 1e-10


@pytest.mark.parametrize("size", SIZES)
def test_features_equal_scipy(size):
    picture = np.random.default_rng(1).random((*size, 3))
    maps = OpponentEdgeBank()(to_torch(picture))
    full, half = responses_written_out(picture)
    assert set(maps) == {"edges", "half_edges"}
    assert np.abs(maps["edges"][0].numpy() - CONTENT_GAIN * full).max() < 1e-5 * CONTENT_GAIN * full.max()
    assert maps["half_edges"].shape[1:] == half.shape
    assert np.abs(maps["half_edges"][0].numpy() - half).max() < 1e-5 * half.max()


def test_nothing_of_the_bank_is_trained():
    assert not list(OpponentEdgeBank().parameters())


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize(
    ("size", "tile"), [((48, 48), 16), ((51, 37), 16), ((30, 45), 32), ((20, 19), 512), ((65, 33), 32), ((17, 70), 16)]
)
def test_tiles_joined_are_the_features_of_the_whole_picture(name, size, tile):
    model, picture = MODELS[name], to_torch(smooth_picture(*size, 3), torch.float64)
    whole = model(picture)
    joined = {layer: torch.full_like(maps, torch.nan) for layer, maps in whole.items()}
    covered = torch.zeros(size)
    for maps, (rows, columns) in features_in_tiles(model, picture, tile):
        covered[rows, columns] += 1
        assert rows.stop - rows.start < tile + model.alignment and columns.stop - columns.start < tile + model.alignment
        assert all(maps[layer].numel() for layer in model.strides)
        for layer, stride in model.strides.items():
            top, left = rows.start // stride, columns.start // stride
            height, width = maps[layer].shape[-2:]
            joined[layer][..., top : top + height, left : left + width] = maps[layer]
    assert (covered == 1).all()
    for layer in whole:
        assert whole[layer].numel() and (joined[layer] - whole[layer]).abs().max() < 1e-10


@pytest.mark.parametrize("name", MODELS)
def test_features_of_an_aligned_region_are_those_of_the_whole_picture(name):
    model, size = MODELS[name], (99, 141)
    picture = to_torch(np.random.default_rng(2).random((*size, 3)), torch.float64)
    whole = model(picture)
    for top, left, height, width in ((47, 63, 1, 1), (48, 64, 8, 8), (55, 71, 2, 9), (40, 58, 13, 5), (90, 0, 9, 3)):
        region = slice(top, top + height), slice(left, left + width)
        rows, columns = aligned_region(region, size, model)
        assert rows.start % model.alignment == 0 and columns.start % model.alignment == 0
        assert 0 <= rows.start <= top and top + height <= rows.stop <= size[0]
        assert 0 <= columns.start <= left and left + width <= columns.stop <= size[1]
        for layer, maps in model(picture[..., rows, columns]).items():
            stride = model.strides[layer]
            first, last = (top // stride, left // stride), ((top + height - 1) // stride, (left + width - 1) // stride)
            expected = whole[layer][..., first[0] : last[0] + 1, first[1] : last[1] + 1]
            y, x = first[0] - rows.start // stride, first[1] - columns.start // stride
            found = maps[..., y : y + expected.shape[-2], x : x + expected.shape[-1]]
            assert expected.shape == found.shape
            assert torch.allclose(found, expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("name", MODELS)
def test_a_pixel_has_no_part_in_features_beyond_the_reach(name):
    model = MODELS[name]
    picture = torch.rand(1, 3, 161, 129, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    changed = picture.clone()
    changed[..., 83, 62] = 1 - changed[..., 83, 62]
    before, after = model(picture), model(changed)
    for layer, stride in model.strides.items():
        for axis, pixel in ((0, 83), (1, 62)):
            for cell in np.unique((before[layer] != after[layer])[0].any(0).nonzero()[:, axis].numpy()):
                distance = max(cell * stride - pixel, pixel - (cell * stride + stride - 1), 0)
                assert distance <= model.reach


@pytest.mark.parametrize("name", MODELS)
def test_layer_masks_are_means_over_the_pixels_of_a_feature(name):
    model = MODELS[name]
    mask = np.random.default_rng(4).random((37, 43))
    masks, maps = model.layer_masks(to_torch(mask, torch.float64)), model(torch.zeros(1, 3, 37, 43).double())
    for layer, stride in model.strides.items():
        height, width = 37 // stride, 43 // stride
        expected = mask[: height * stride, : width * stride].reshape(height, stride, width, stride).mean((1, 3))
        assert masks[layer].shape[-2:] == maps[layer].shape[-2:]
        assert np.abs(masks[layer][0, 0].numpy() - expected).max() < 1e-12
