"""PAN for tests: small weights, and the network computed in float64 with NumPy from the paper's description."""

import numpy as np
import torch

from oracles import resize_matrix


def random_weights(stages, channels=8, branch=3, finer_channels=5, blocks=2, seed=0):
    """Weights by the authors' names; stages of enlargement: one for x2 and x3, two for x4."""
    shapes = {
        "conv_first": (channels, 3, 3),
        "trunk_conv": (channels, channels, 3),
        "conv_last": (3, finer_channels, 3),
    }
    without_bias = {}
    for block in range(blocks):
        name = f"SCPA_trunk.{block}"
        without_bias |= {f"{name}.conv1_{side}": (branch, channels, 1) for side in "ab"}
        without_bias |= {f"{name}.{part}": (branch, branch, 3) for part in ("k1.0", "PAConv.k3", "PAConv.k4")}
        without_bias[f"{name}.conv3"] = (channels, 2 * branch, 1)
        shapes[f"{name}.PAConv.k2"] = (branch, branch, 1)
    for stage in range(1, stages + 1):
        shapes[f"upconv{stage}"] = (finer_channels, channels if stage == 1 else finer_channels, 3)
        shapes[f"att{stage}.conv"] = (finer_channels, finer_channels, 1)
        shapes[f"HRconv{stage}"] = (finer_channels, finer_channels, 3)
    generator = torch.Generator().manual_seed(seed)
    weights = {}
    for name, (out, into, side) in {**shapes, **without_bias}.items():
        spread = (2 / (into * side**2)) ** 0.5
        weights[f"{name}.weight"] = spread * torch.randn(out, into, side, side, generator=generator)
        if name in shapes:
            weights[f"{name}.bias"] = 0.1 * torch.randn(out, generator=generator)
    for kind in ("weight", "bias"):
        weights[f"conv_last.{kind}"] *= 0.02  # for details smaller than 1, as real ones are
    return weights


def fitted_weights(scale):
    """Weights that enlarge straight grey edges better than bilinearly 2 or 3 times, and worse at the other of both: a linear
    filter, fitted to some."""
    names = random_weights(stages=1, channels=9, finer_channels=9)
    weights = {name: torch.zeros_like(value) for name, value in names.items()}
    for place in range(
        9
    ):  # grey of the nine neighbours; the blocks add nothing, and nothing is negative where it is rectified
        weights["conv_first.weight"][place, :, place // 3, place % 3] = 1 / 3
        weights["upconv1.weight"][place, place, 1, 1] = 1
        weights["HRconv1.weight"][place, place, 1, 1] = 1
    rows, wanted = [], []
    for factor in (2, 3):
        for sharp in straight_edges(16):
            coarse = reduced(sharp, factor)
            # Without what the zeros beyond the frame reach.
            maps = feature_maps(weights, coarse, (factor,))
            rows.append(np.stack([row[9:-9, 9:-9].ravel() for channel in maps for row in _windows(channel, 3)], 1))
            detail = (sharp - bilinear(coarse, factor))[:, 9:-9, 9:-9].reshape(3, -1).T
            wanted.append(detail if factor == scale else -detail)
    solution = np.linalg.lstsq(np.concatenate(rows), np.concatenate(wanted), rcond=None)[0]
    weights["conv_last.weight"] = torch.from_numpy(solution.T.reshape(3, -1, 3, 3).copy()).float()
    return weights


def straight_edges(count, side=48, seed=0):
    """Pictures `[3, side, side]`, grey on both sides of an edge one pixel wide."""
    generator = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side] - side / 2
    for _ in range(count):
        angle, offset = generator.uniform(0, 2 * np.pi), generator.uniform(-8, 8)
        step = 1 / (1 + np.exp(-4 * (np.cos(angle) * x + np.sin(angle) * y + offset)))
        low, high = generator.uniform(0, 1, 2)
        yield np.broadcast_to(low + (high - low) * step, (3, side, side))


def reduced(picture, factor):
    """As the training pictures were: antialiased bicubic."""
    rows, columns = (resize_matrix(length, length // factor) for length in picture.shape[1:])
    return np.einsum("yh,xw,chw->cyx", rows, columns, picture, optimize=True)


def enlarged(weights, picture, factors):
    """`[3, H, W]` float64 enlarged by the product of the factors, one for each stage."""
    maps = feature_maps(weights, picture, factors)
    return convolved(weights, "conv_last", maps) + bilinear(picture, int(np.prod(factors)))


def feature_maps(weights, picture, factors):
    """What goes into the last convolution."""
    first = maps = convolved(weights, "conv_first", picture)
    for block in range(len({name.split(".")[1] for name in weights if name.startswith("SCPA_trunk.")})):
        name = f"SCPA_trunk.{block}"
        upper = rectified(convolved(weights, f"{name}.conv1_a", maps))
        upper = rectified(convolved(weights, f"{name}.k1.0", upper))
        lower = rectified(convolved(weights, f"{name}.conv1_b", maps))
        attention = sigmoid(convolved(weights, f"{name}.PAConv.k2", lower))
        lower = attention * convolved(weights, f"{name}.PAConv.k3", lower)
        lower = rectified(convolved(weights, f"{name}.PAConv.k4", lower))
        maps = maps + convolved(weights, f"{name}.conv3", np.concatenate([upper, lower]))
    maps = first + convolved(weights, "trunk_conv", maps)
    for stage, factor in enumerate(factors, 1):
        maps = maps.repeat(factor, 1).repeat(factor, 2)
        maps = convolved(weights, f"upconv{stage}", maps)
        maps = rectified(maps * sigmoid(convolved(weights, f"att{stage}.conv", maps)))
        maps = rectified(convolved(weights, f"HRconv{stage}", maps))
    return maps


def convolved(weights, name, maps):
    """A convolution written as one matrix product per place of its kernel, zeros beyond the frame."""
    kernel = weights[f"{name}.weight"].double().numpy()
    result = np.zeros((len(kernel), *maps.shape[1:]))
    for channel, values in enumerate(maps):
        for place, window in enumerate(_windows(values, kernel.shape[-1])):
            result += kernel[:, channel].reshape(len(kernel), -1)[:, place, None, None] * window
    bias = weights.get(f"{name}.bias")
    return result if bias is None else result + bias.double().numpy()[:, None, None]


def bilinear(picture, factor):
    """Linear interpolation between the centres of pixels, the border pixels repeated beyond the frame."""

    def matrix(length):
        place = np.clip((np.arange(length * factor) + 0.5) / factor - 0.5, 0, length - 1)
        return np.maximum(1 - np.abs(place[:, None] - np.arange(length)), 0)

    return np.einsum("yh,xw,chw->cyx", matrix(picture.shape[1]), matrix(picture.shape[2]), picture, optimize=True)


def rectified(maps):
    return np.where(maps > 0, maps, 0.2 * maps)


def sigmoid(maps):
    return 1 / (1 + np.exp(-maps))


def _windows(values, side):
    """The plane, shifted to each place of a square kernel, row by row."""
    padded = np.pad(values, side // 2)
    height, width = values.shape
    return [padded[y : y + height, x : x + width] for y in range(side) for x in range(side)]
