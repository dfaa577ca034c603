import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file

from deepblend.blending_core.differences import laplacian
from deepblend.blending_core.histogram import histogram_loss, match_histogram, measure_distribution
from deepblend.blending_core.losses import (
    content_loss,
    gradient_loss,
    gram_matrix,
    style_loss,
    total_variation,
)
from deepblend.blending_core.opponent_edge_bank import OpponentEdgeBank
from deepblend.blending_core.saturation import SaturationLoss, SaturationSettings
from deepblend.blending_core.vgg import VGG
from networks import small_vgg_weights
from pictures import smooth_picture, to_torch
from transfer_sets import VGG_19

HEIGHT, WIDTH = 11, 14
LAYERS = {"first": (5, 1), "second": (7, 2)}  # channels, stride


def weights_of_masks():
    """Masks `[H, W]` of every kind: hard and soft, at the frame, with a hole."""
    generator = np.random.default_rng(0)
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    ring = (np.hypot(y - 5, x - 6) < 4.5) & (np.hypot(y - 5, x - 6) > 1.6)
    return {
        "ring": ring.astype(float),
        "soft ring": ring * generator.uniform(0.01, 1, ring.shape),
        "at the frame": ((y > 6) & (x < 5)).astype(float),
        "soft across the frame": np.clip((x - 7) / 5, 0, 1) * (y > 2),
        "the whole frame": np.ones(ring.shape),
        "one pixel": ((y == 3) & (x == 9)) * 0.7,
        "the corner": ((y == 0) & (x == 0)).astype(float),
    }


MASKS = weights_of_masks()


def picture(seed):
    return np.random.default_rng(seed).random((HEIGHT, WIDTH, 3))


def maps_of(seed):
    """Features of two layers, in part 0 as behind a ReLU: `[N, h, w]`."""
    generator = np.random.default_rng(seed)
    return {
        layer: np.maximum(generator.normal(0.2, 1, (count, HEIGHT // stride, WIDTH // stride)), 0)
        for layer, (count, stride) in LAYERS.items()
    }


def averaged(mask):
    """The mask at each layer: means of 1x1 and 2x2 pixels."""
    half = mask[: HEIGHT // 2 * 2].reshape(HEIGHT // 2, 2, WIDTH // 2, 2).mean((1, 3))
    return {"first": mask, "second": half}


def tensors(maps):
    return {layer: torch.from_numpy(value)[None] for layer, value in maps.items()}


def masks_as_tensors(mask):
    return {layer: torch.from_numpy(value)[None, None] for layer, value in averaged(mask).items()}


def laplacian_written_out(image):
    result = np.zeros_like(image)
    for y, x in np.ndindex(*image.shape[:2]):
        for v, u in ((y, x + 1), (y, x - 1), (y + 1, x), (y - 1, x)):
            if 0 <= v < image.shape[0] and 0 <= u < image.shape[1]:
                result[y, x] += image[y, x] - image[v, u]
    return result


def gram_written_out(maps, mask):
    result = np.zeros((len(maps), len(maps)))
    for y, x in np.ndindex(*mask.shape):
        result += mask[y, x] * np.outer(maps[:, y, x], maps[:, y, x])
    return result / mask.sum()


def matched_written_out(values, mask, target):
    """Of one channel: the mean of the target's quantiles over the ranks that each value takes."""
    result, stairs = np.zeros_like(values), np.sort(target.ravel())
    edges = np.arange(stairs.size + 1) / stairs.size
    for place in np.ndindex(*values.shape):
        first, last = (mask[compare(values, values[place])].sum() / mask.sum() for compare in (np.less, np.less_equal))
        if last > first:
            overlap = np.minimum(edges[1:], last) - np.maximum(edges[:-1], first)
            result[place] = np.maximum(overlap, 0) @ stairs / (last - first)
    return result


def histogram_written_out(features, targets, masks):
    total = 0.0
    for layer, maps in features.items():
        mask = masks[layer]
        squares = [
            ((channel - matched_written_out(channel, mask, other)) ** 2 * mask).sum()
            for channel, other in zip(maps, targets[layer], strict=True)
        ]
        total += sum(squares) / (len(maps) * mask.sum()) / len(features)
    return total


@pytest.mark.parametrize("name", MASKS)
def test_gradient_loss_equals_the_formula(name):
    mask, blended, own, target = MASKS[name], picture(1), picture(2), picture(3)
    weight = mask[..., None]
    guidance = weight * laplacian_written_out(own) + (1 - weight) * laplacian_written_out(target)
    expected = (weight * (laplacian_written_out(blended) - guidance) ** 2).sum() / (mask.sum() * 3) / 2
    for dtype, tolerance in ((torch.float64, 1e-12), (torch.float32, 1e-5)):
        b, o, t, m = (to_torch(image, dtype) for image in (blended, own, target, mask))
        found = gradient_loss(b, m * laplacian(o) + (1 - m) * laplacian(t), m)
        assert found.item() == pytest.approx(expected, rel=tolerance)


@pytest.mark.parametrize("name", MASKS)
def test_content_loss_equals_the_formula(name):
    features, references, masks = maps_of(1), maps_of(2), averaged(MASKS[name])
    expected = 0.0
    for layer in LAYERS:
        if masks[layer].sum():
            squares = (masks[layer] * (features[layer] - references[layer]) ** 2).sum()
            expected += squares / (2 * LAYERS[layer][0] * masks[layer].sum()) / 2
    found = content_loss(tensors(features), tensors(references), masks_as_tensors(MASKS[name]))
    assert found.item() == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("name", MASKS)
def test_gram_matrices_and_style_loss_equal_the_formula(name):
    masks, everywhere = averaged(MASKS[name]), averaged(np.ones((HEIGHT, WIDTH)))
    features, target, start = maps_of(3), maps_of(4), maps_of(5)
    expected, grams = 0.0, {"features": {}, "target": {}, "start": {}}
    for layer in LAYERS:
        matrix, to, before = (
            gram_written_out(maps[layer], mask)
            for maps, mask in ((features, masks[layer]), (target, everywhere[layer]), (start, masks[layer]))
        )
        expected += ((matrix - to) ** 2).sum() / ((to**2).sum() + (before**2).sum()) / 2
        found = gram_matrix(tensors(features)[layer], masks_as_tensors(MASKS[name])[layer])
        assert found.shape == (1, *matrix.shape) and np.abs(found[0].numpy() - matrix).max() < 1e-12 * matrix.max()
        for key, value in (("features", matrix), ("target", to), ("start", before)):
            grams[key][layer] = value
    found = style_loss(*(tensors(part) for part in grams.values()))
    assert found.item() == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("name", MASKS)
def test_total_variation_equals_the_formula(name):
    mask, image, expected = MASKS[name], picture(4), 0.0
    for y, x in np.ndindex(HEIGHT, WIDTH):
        for v, u in ((y, x + 1), (y + 1, x)):
            if v < HEIGHT and u < WIDTH and (mask[y, x] > 0 or mask[v, u] > 0):
                expected += np.abs(image[y, x] - image[v, u]).sum()
    found = total_variation(to_torch(image, torch.float64), to_torch(mask, torch.float64))
    assert found.item() == pytest.approx(expected / mask.sum(), rel=1e-10)


@pytest.mark.parametrize("name", MASKS)
def test_histogram_loss_equals_the_formula(name):
    features, targets, masks = maps_of(6), maps_of(7), averaged(MASKS[name])
    expected = histogram_written_out(features, targets, masks)
    distributions = {layer: measure_distribution(maps[0].flatten(1)) for layer, maps in tensors(targets).items()}
    found = histogram_loss(tensors(features), distributions, masks_as_tensors(MASKS[name]))
    assert found.item() == pytest.approx(expected, rel=1e-8)


@pytest.mark.parametrize("name", ["soft ring", "soft across the frame", "the corner"])
def test_derivatives(name):
    mask, check = to_torch(MASKS[name], torch.float64), torch.autograd.gradcheck
    image = to_torch(picture(1), torch.float64).requires_grad_()
    masks, guidance = masks_as_tensors(MASKS[name]), laplacian(to_torch(picture(2), torch.float64))
    maps, references = (
        {layer: value + 0.1 for layer, value in tensors(maps_of(seed)).items()} for seed in (1, 2)
    )  # no zeros
    grams = {layer: gram_matrix(value, torch.ones_like(masks[layer])) for layer, value in references.items()}

    def content(*values):
        return content_loss(dict(zip(LAYERS, values, strict=True)), references, masks)

    def style(*values):
        found = {layer: gram_matrix(value, masks[layer]) for layer, value in zip(LAYERS, values, strict=True)}
        return style_loss(found, grams, grams)

    values = [maps[layer].clone().requires_grad_() for layer in LAYERS]
    assert check(lambda x: gradient_loss(x, guidance, mask), image)
    assert check(lambda x: total_variation(x, mask), image, eps=1e-7)
    assert check(content, values, fast_mode=True)
    assert check(style, values, fast_mode=True)


@pytest.mark.parametrize("name", ["soft ring", "soft across the frame", "the whole frame"])
def test_derivative_of_the_histogram_loss(name):
    """As if the matched features were constant, and nevertheless that of the loss with features matched anew."""
    masks = masks_as_tensors(MASKS[name])
    generator = torch.Generator().manual_seed(1)
    values = {
        layer: torch.rand(value.shape, generator=generator, dtype=torch.float64).requires_grad_()
        for layer, value in tensors(maps_of(1)).items()
    }
    distributions = {layer: measure_distribution(maps[0].flatten(1)) for layer, maps in tensors(maps_of(7)).items()}
    histogram_loss(values, distributions, masks).backward()
    for layer, value in values.items():
        mask, plain = masks[layer], value.detach()
        matched = match_histogram(plain, mask, distributions[layer])
        expected = 2 * mask * (plain - matched) / (value.shape[1] * mask.sum()) / len(values)
        assert torch.allclose(value.grad, expected, rtol=1e-9, atol=1e-15)
    direction = {
        layer: torch.randn(value.shape, generator=generator, dtype=torch.float64) for layer, value in values.items()
    }
    step = 1e-7
    ahead, behind = (
        histogram_loss(
            {layer: value.detach() + sign * step * direction[layer] for layer, value in values.items()},
            distributions,
            masks,
        ).item()
        for sign in (1, -1)
    )
    slope = sum((value.grad * direction[layer]).sum().item() for layer, value in values.items())
    assert abs(slope) > 1e-3
    assert (ahead - behind) / (2 * step) == pytest.approx(slope, rel=1e-5)


# VGG to relu2_2: a small picture is mostly border to deeper layers of random weights, whose response to it is strong.
MODELS = {"bank": OpponentEdgeBank(), "VGG": VGG(small_vgg_weights(channels=8, convolutions=4))}
SIDE = 192


def periodic_picture(seed, share):
    """Waves that meet at the frame's opposite sides, and noise: a picture that can be laid side by side with itself."""
    generator = np.random.default_rng(seed)
    y, x = np.mgrid[:SIDE, :SIDE] * 2 * np.pi / SIDE
    waves = sum(
        np.cos(generator.integers(-9, 10) * y + generator.integers(-9, 10) * x + generator.uniform(0, 6))[..., None]
        * generator.uniform(-1, 1, 3)
        for _ in range(8)
    )
    noise = generator.uniform(-1, 1, (SIDE, SIDE, 3))
    return 0.5 + 0.08 * waves + share * noise


def all_losses(name, composite, own, target, mask):
    """Each term of a composite by itself, as deep blending takes them."""
    features, references = MODELS[name](composite), MODELS[name](own)
    to, before = MODELS[name](target), MODELS[name](mask * own + (1 - mask) * target)
    masks = MODELS[name].layer_masks(mask)
    style = MODELS[name].style_layers

    def grams(maps, weights):
        return {layer: gram_matrix(maps[layer], weights[layer]) for layer in style}

    everywhere = {layer: torch.ones_like(value) for layer, value in masks.items()}
    distributions = {layer: measure_distribution(to[layer][0].flatten(1)) for layer in style}
    guidance = mask * laplacian(own) + (1 - mask) * laplacian(target)
    whole = slice(0, mask.shape[2]), slice(0, mask.shape[3])
    content = {layer: references[layer] for layer in MODELS[name].content_layers}
    return {
        "gradient": gradient_loss(composite, guidance, mask),
        "content": content_loss(features, content, masks),
        "style": style_loss(grams(features, masks), grams(to, everywhere), grams(before, masks)),
        "histogram": histogram_loss(features, distributions, masks),
        "total variation": total_variation(composite, mask),
        "saturation": SaturationLoss(mask, target, SaturationSettings(), whole)(composite),
        "saturation at the seam": SaturationLoss(mask, target, SaturationSettings(region="seam"), whole)(composite),
    }


@pytest.mark.parametrize("name", [*MODELS, "VGG-19"])
def test_a_weight_means_the_same_on_a_canvas_of_four_times_the_area(name, monkeypatch):
    if name == "VGG-19":
        if not VGG_19.exists():
            pytest.skip(f"{VGG_19} is not there")
        monkeypatch.setitem(MODELS, name, VGG(load_file(VGG_19)))
    y, x = np.mgrid[:SIDE, :SIDE]
    mask = np.clip(18 - np.hypot(y - 94, x - 110), 0, 1)
    own, target, blended = periodic_picture(1, 0.02), periodic_picture(2, 0.1), periodic_picture(3, 0.05)
    composite = mask[..., None] * blended + (1 - mask[..., None]) * target

    def enlarged(image, border):
        return np.pad(image, ((96, 96), (96, 96), (0, 0))[: image.ndim], mode=border)

    small = all_losses(name, *(to_torch(image) for image in (composite, own, target, mask)))
    mask, target = enlarged(mask, "constant"), enlarged(target, "wrap")
    composite = np.where(mask[..., None] > 0, enlarged(composite, "edge"), target)
    large = all_losses(name, *(to_torch(image) for image in (composite, enlarged(own, "edge"), target, mask)))
    for term, value in small.items():
        assert value > 1e-5, term
        assert large[term].item() == pytest.approx(value.item(), rel=0.05), term


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("level", ["black", "grey", "white", "pure colours"])
@pytest.mark.parametrize("flat_target", [False, True])
def test_gradients_are_finite_and_bounded_on_extreme_pictures(name, level, flat_target):
    flat = {"black": 0.0, "grey": 0.5, "white": 1.0}
    random = np.random.default_rng(0).random((33, 35, 3))
    composite = np.full(random.shape, flat[level]) if level in flat else np.round(random)
    target = composite.copy() if flat_target else smooth_picture(33, 35, 1)
    mask = np.zeros((33, 35))
    mask[8:20, 10:24] = 1
    mask[20, 10:24] = 1e-4
    image = to_torch(composite).requires_grad_()
    for term, value in all_losses(name, image, *(to_torch(part) for part in (random, target, mask))).items():
        (gradient,) = torch.autograd.grad(value, image, retain_graph=True)
        assert value.isfinite() and value >= 0, term
        assert gradient.isfinite().all() and gradient.abs().max() < 50, term


@pytest.mark.parametrize("name", MODELS)
def test_an_object_that_deep_layers_do_not_see(name):
    """Sizes are rounded down, and the object lies in the last row, in which deeper layers have no feature."""
    mask = np.zeros((33, 40))
    mask[32, 5:9] = 1
    pictures = [to_torch(smooth_picture(33, 40, seed)) for seed in (1, 2, 3)]
    masks = MODELS[name].layer_masks(to_torch(mask))
    assert any(not value.any() for value in masks.values()) and masks[MODELS[name].style_layers[0]].any()
    image = pictures[0].clone().requires_grad_()
    for term, value in all_losses(name, image, *pictures[1:], to_torch(mask)).items():
        (gradient,) = torch.autograd.grad(value, image, retain_graph=True)
        assert value.isfinite() and gradient.isfinite().all() and gradient.abs().max() < 50, term


def test_style_and_histogram_of_features_that_are_all_zero():
    zeros = {"layer": torch.zeros(1, 4, 6, 6, requires_grad=True)}
    mask = {"layer": torch.ones(1, 1, 6, 6)}
    gram = {"layer": gram_matrix(zeros["layer"], mask["layer"])}
    nothing = {"layer": torch.zeros(1, 4, 4)}
    value = style_loss(gram, nothing, nothing)
    value = value + histogram_loss(zeros, {"layer": measure_distribution(torch.zeros(4, 36))}, mask)
    (gradient,) = torch.autograd.grad(value, zeros["layer"])
    assert value == 0 and not gradient.any()


def test_area_averages_of_masks_equal_the_models():
    mask = to_torch(MASKS["soft ring"], torch.float64)
    found = OpponentEdgeBank().layer_masks(mask)
    assert torch.allclose(found["half_edges"], F.interpolate(mask[..., :10, :], size=(5, 7), mode="area"))
