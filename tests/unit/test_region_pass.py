"""The region pass against the plain model on whole pictures, in double precision."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from deepblend.blending_core.deep_blend import Problem, Settings
from deepblend.blending_core.opponent_edge_bank import OpponentEdgeBank
from deepblend.blending_core.recipes import Weights
from deepblend.blending_core.target_statistics import target_statistics
from deepblend.blending_core.vgg import VGG
from networks import small_vgg_weights

MODELS = {
    "bank": OpponentEdgeBank(),
    "VGG-19 to relu3_1": VGG(small_vgg_weights(channels=5)),
    "VGG-19": VGG(small_vgg_weights(channels=4, convolutions=None)),
    "VGG-16": VGG(small_vgg_weights("VGG-16", channels=4, convolutions=None)),
    "VGG-16 to relu1_1": VGG(small_vgg_weights("VGG-16", channels=5, convolutions=1)),
}
for model in MODELS.values():
    model.double()
# Sizes and boxes (top, left, bottom, right): inside at even and odd places, at every side of the frame, in what pooling
# leaves over of odd sizes, one pixel, all of the picture.
PLACES = {
    "inside": ((96, 83), (42, 37, 51, 44)),
    "at even places": ((90, 96), (40, 40, 48, 48)),
    "one pixel": ((81, 91), (39, 45, 40, 46)),
    "upper left": ((51, 61), (0, 0, 9, 13)),
    "nearly at the frame": ((51, 62), (1, 2, 49, 9)),
    "lower right": ((77, 75), (66, 60, 77, 75)),
    "left over": ((71, 79), (70, 78, 71, 79)),
    "across": ((45, 93), (20, 0, 27, 93)),
    "all": ((33, 31), (0, 0, 33, 31)),
    "the smallest picture": ((16, 16), (3, 7, 9, 16)),
}


def random_picture(size, seed):
    return torch.rand(1, 3, *size, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("place", PLACES)
def test_features_and_their_derivative_equal_those_of_the_whole_picture(place, model):
    model, (size, (top, left, bottom, right)) = MODELS[model], PLACES[place]
    box = slice(top, bottom), slice(left, right)
    target = random_picture(size, 1)
    picture = target.clone()
    picture[(..., *box)] = random_picture(size, 2)[(..., *box)]
    picture.requires_grad_()
    before, after = model(target), model(picture)
    for everything in (False, True):
        region_pass = model.region_pass(target, box, everything)
        found = region_pass(picture)
        expected = {layer: maps[(..., *region_pass.places[layer])] for layer, maps in after.items()}
        for layer, maps in found.items():
            assert maps.numel() and maps.shape == expected[layer].shape
            assert (maps - expected[layer]).abs().max() < 1e-10 * after[layer].max()
            rest = (after[layer] - before[layer]).detach()
            if not everything:  # what differs need not be there beyond the box, but over it
                stride = model.strides[layer]
                over = torch.zeros(size)
                over[box] = 1
                rest = rest * (F.max_pool2d(over[None], stride) if stride > 1 else over)
            rest[(..., *region_pass.places[layer])] = 0
            assert not rest.any()
        seeds = {layer: torch.randn_like(maps).detach() for layer, maps in found.items()}
        slopes = [
            torch.autograd.grad(sum((maps[layer] * seeds[layer]).sum() for layer in seeds), picture, retain_graph=True)[
                0
            ]
            for maps in (found, expected)
        ]
        inside = [slope[(..., *box)] for slope in slopes]
        assert (inside[0] - inside[1]).abs().max() < 1e-10 * inside[1].abs().max()


def test_the_box_is_all_that_a_vgg_computes():
    """Each layer's part is the box dilated by its receptive field, and no more than pooling needs."""
    model, length = MODELS["VGG-19 to relu3_1"], 400
    box = slice(200, 240), slice(201, 236)
    places = model.region_pass(random_picture((length, length), 1), box, True).places
    for layer, radius, stride in (("relu1_1", 1, 1), ("relu2_1", 2, 2), ("relu2_2", 3, 2), ("relu3_1", 3, 4)):
        for span, part in zip(places[layer], box, strict=True):
            assert part.start / stride - radius - 3 <= span.start <= part.start / stride
            assert part.stop / stride <= span.stop <= part.stop / stride + radius + 3
    over = model.region_pass(random_picture((length, length), 1), box, False).places
    assert over["relu3_1"] == (slice(50, 60), slice(50, 59))


def masks(size):
    y, x = np.mgrid[: size[0], : size[1]]
    generator = np.random.default_rng(3)
    soft = np.clip((11 - np.hypot(y - 30, x - 41)) / 6, 0, 1)
    return {
        "soft": soft,
        "two components": ((np.hypot(y - 12, x - 9) < 5) | (np.hypot(y - 58, x - 60) < 4)).astype(float),
        "at the frame": ((y > size[0] - 9) & (x < 17)) * generator.uniform(0.1, 1, size),
        "the corner": ((y == size[0] - 1) & (x == size[1] - 1)) * 0.5,
        "whole": generator.uniform(0.2, 1, size),
    }


SIZE = (73, 71)
MASKS = masks(SIZE)


def losses_written_out(model, own, mask, target, start, statistics):
    """Content, style and histogram loss of a composite as a function of it, on features of whole pictures."""

    def shares(weights):
        return {
            layer: weights if stride == 1 else F.avg_pool2d(weights, stride) for layer, stride in model.strides.items()
        }

    def grams(features, weights):
        return {
            layer: torch.einsum("biyx,bjyx,byx->ij", features[layer], features[layer], weights[layer][:, 0])
            / weights[layer].sum().clamp_min(1e-30)
            for layer in model.style_layers
        }

    at_object, everywhere = shares(mask), shares(torch.ones_like(mask))
    counted = everywhere if statistics == "picture" else at_object
    references, of_target = model(own), model(target)
    wanted, before = grams(of_target, everywhere), grams(model(start), counted)

    def content(features):
        terms = []
        for layer in model.content_layers:
            squares = (at_object[layer] * (features[layer] - references[layer]) ** 2).sum()
            terms.append(squares / (2 * features[layer].shape[1] * at_object[layer].sum().clamp_min(1e-30)))
        return sum(terms) / len(terms)

    def style(features):
        found = grams(features, counted)
        terms = [
            ((found[layer] - wanted[layer]) ** 2).sum() / ((wanted[layer] ** 2).sum() + (before[layer] ** 2).sum())
            for layer in model.style_layers
        ]
        return sum(terms) / len(terms)

    def histogram(features):
        """By ranks, which no two values of a channel share but the zeros."""
        terms = []
        for layer in model.style_layers:
            maps, weights = features[layer][0].flatten(1), at_object[layer].flatten()
            matched = maps.detach().clone()
            for channel, values in zip(matched, of_target[layer][0].flatten(1), strict=True):
                channel[weights > 0] = matched_to(channel[weights > 0], weights[weights > 0], values)
            terms.append((weights * (maps - matched) ** 2).sum() / (len(maps) * weights.sum().clamp_min(1e-30)))
        return sum(terms) / len(terms)

    return {"content": content, "style": style, "histogram": histogram}


def matched_to(values, weights, target):
    """Means of the target's quantile function over the ranks of each value; equal values share theirs."""
    values, weights, stairs = values.numpy(), weights.numpy(), np.sort(target.detach().numpy())
    if not weights.size:  # deep layers have no feature under the object
        return torch.from_numpy(values)
    _, places = np.unique(values, return_inverse=True)
    ends = np.concatenate([[0], np.cumsum(np.bincount(places, weights))]) / weights.sum()
    integral = np.interp(ends, np.arange(stairs.size + 1) / stairs.size, np.concatenate([[0], stairs.cumsum()]))
    return torch.from_numpy((np.diff(integral) / stairs.size / np.diff(ends))[places])


@pytest.mark.parametrize("statistics", ["object", "picture"])
@pytest.mark.parametrize("model", ["bank", "VGG-19", "VGG-16"])
@pytest.mark.parametrize("name", MASKS)
def test_losses_and_gradient_equal_those_of_the_whole_picture(name, model, statistics):
    model = MODELS[model]
    mask = torch.from_numpy(MASKS[name])[None, None]
    own, target, picture = (random_picture(SIZE, seed) for seed in (1, 2, 3))
    start = torch.lerp(target, 0.5 * own, mask)
    weights = Weights(content=2.0, style=3.0, histogram=0.3)
    if name == "at the frame" and model is MODELS["bank"]:
        # Where the picture is mirrored some filters give 0, or what rounding leaves of it, and the order of such values counts.
        weights = weights._replace(histogram=0.0)
    problem = Problem(own, mask, target, start, model, Settings(weights, 1, statistics=statistics), False)
    written_out = losses_written_out(model, own, mask, target, start, statistics)

    values = picture[(mask > 0).expand_as(picture)].requires_grad_()
    terms = problem.terms(problem.composite_of(values))
    (gradient,) = torch.autograd.grad(sum(terms.values()), values)
    whole = torch.lerp(target, target.masked_scatter(mask > 0, values), mask)
    features = model(whole)
    expected = {term: getattr(weights, term) * loss(features) for term, loss in written_out.items()}
    expected = {term: value for term, value in expected.items() if getattr(weights, term)}
    (slope,) = torch.autograd.grad(sum(expected.values()), values)
    for term, value in terms.items():
        # Rounding decides which of nearly equal values comes first, and so what each is matched to.
        precision = 1e-8 if term == "histogram" else 1e-9
        assert value.item() == pytest.approx(expected[term].item(), rel=precision, abs=1e-14)
    assert terms.keys() == expected.keys()
    assert (gradient - slope).abs().max() < 1e-8 * slope.abs().max()


@pytest.mark.parametrize("model", ["bank", "VGG-19 to relu3_1"])
def test_memory_follows_the_object(model):
    """With the statistics of the picture no tensor of an evaluation is of the picture's size."""
    from torch.utils._python_dispatch import TorchDispatchMode

    class Largest(TorchDispatchMode):
        elements = 0

        def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
            result = operation(*args, **(kwargs or {}))
            for tensor in result if isinstance(result, (tuple, list)) else [result]:
                if isinstance(tensor, torch.Tensor):
                    self.elements = max(self.elements, tensor.untyped_storage().nbytes() // tensor.element_size())
            return result

    size, model = (300, 320), MODELS[model]
    mask = torch.zeros(1, 1, *size, dtype=torch.float64)
    mask[..., 140:152, 150:166] = 1
    own, target = random_picture(size, 1), random_picture(size, 2)
    weights = Weights(gradient=1, content=1, style=1, total_variation=1, saturation=1)
    problem = Problem(own, mask, target, own, model, Settings(weights, 1, statistics="picture"), True)
    values = problem.start.clone().requires_grad_()
    with Largest() as largest:
        torch.autograd.grad(sum(problem.terms(problem.composite_of(values)).values()), values)
    assert 0 < largest.elements < size[0] * size[1] * 3 / 4


@pytest.mark.parametrize("model", ["bank", "VGG-19 to relu3_1"])
@pytest.mark.parametrize(("top", "bottom"), [(500, 523), (519, 531), (30, 41)])
def test_gram_matrices_of_a_picture_of_more_than_one_tile(top, bottom, model):
    """The part around the object, from tiles, and that of the object's own place make up those of the whole picture."""
    model, target = MODELS[model], random_picture((541, 43), 1)
    region_pass = model.region_pass(target, (slice(top, bottom), slice(11, 24)), True)
    visible = torch.ones_like(target[:, :1])
    statistics = target_statistics(model, target, visible, region_pass.places, with_distributions=False)
    features, of_object = model(target), region_pass(target)
    for layer in model.style_layers:
        expected = torch.einsum("biyx,bjyx->bij", features[layer], features[layer]) / features[layer][0, 0].numel()
        own = torch.einsum("biyx,bjyx->bij", of_object[layer], of_object[layer]) / of_object[layer][0, 0].numel()
        found = statistics.around[layer] + statistics.shares[layer] * own
        for gram in (found, statistics.grams[layer]):
            assert (gram - expected).abs().max() < 1e-11 * expected.abs().max()
