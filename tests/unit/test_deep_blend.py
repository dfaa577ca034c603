import numpy as np
import pytest
import torch
from blending_scenes import HEIGHT, MASKS, WIDTH, disk, scene

from deepblend.blending_core.composite import composite
from deepblend.blending_core.deep_blend import Settings, deep_blend, working_bytes
from deepblend.blending_core.histogram import histogram_loss, measure_distribution
from deepblend.blending_core.opponent_edge_bank import OpponentEdgeBank
from deepblend.blending_core.recipes import PAINTING, PHOTOGRAPH, PUBLISHED_LOOK, RECIPES, Weights
from deepblend.blending_core.saturation import SaturationLoss, SaturationSettings
from deepblend.blending_core.target_statistics import target_statistics
from deepblend.blending_core.vgg import VGG
from networks import small_vgg_weights
from oracles import exact_poisson
from pictures import smooth_picture, to_numpy, to_torch

MODELS = {
    "bank": OpponentEdgeBank(),
    "VGG-19 to relu3_1": VGG(small_vgg_weights()),
    "VGG-16": VGG(small_vgg_weights("VGG-16", channels=6, convolutions=None)),
}
BANK = MODELS["bank"]
EVERYTHING = Weights(gradient=2000, content=2, style=3, histogram=0.3, total_variation=0.03, saturation=4)
STAGE_1 = RECIPES[PHOTOGRAPH].stage_1.scaled(histogram=0, total_variation=0)
LOCAL = Weights(gradient=2000, content=2)


def settings(weights=STAGE_1, evaluations=6, **more):
    return Settings(weights, evaluations, **more)


def differs_inside(result, start, mask):
    return (result[:, :3] - start).abs().where(mask > 0, torch.zeros_like(start)).max() > 1e-3


@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("mask", MASKS)
def test_bit_equal_outside_finite_and_never_worse_than_the_start(mask, channels):
    own, mask, target, start = scene(mask, channels=channels)
    inputs = own, mask, target, start
    before = [image.clone() for image in inputs]
    result, history = deep_blend(*inputs, BANK, settings(EVERYTHING, 5, keep_color=0.3))
    assert result.shape == target.shape and result.dtype == target.dtype
    assert torch.equal(result.where(mask == 0, target), target)
    assert result.isfinite().all() and result.min() >= 0 and result.max() <= 1
    assert min(history["total"]) <= history["total"][0] and np.isfinite(history["total"]).all()
    assert all(torch.equal(image, copy) for image, copy in zip(inputs, before, strict=True))


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("mask", ["disk", "soft disk", "at the border"])
def test_totals_fall_and_the_returned_picture_has_the_lowest(model, mask):
    own, mask, target, start = scene(mask)
    result, history = deep_blend(own, mask, target, start, MODELS[model], settings(LOCAL, 20))
    assert min(history["total"]) < 0.7 * history["total"][0]
    _, again = deep_blend(own, mask, target, result, MODELS[model], settings(LOCAL, 1))
    assert again["total"][0] == pytest.approx(min(history["total"]), rel=1e-3)


@pytest.mark.parametrize("model", MODELS)
def test_style_comes_nearer_to_the_targets(model):
    own, mask, target, start = scene()
    weights = Weights(content=0.2, style=30)
    result, history = deep_blend(own, mask, target, start, MODELS[model], settings(weights, 25))
    assert history["style"][-1] < 0.8 * history["style"][0]
    assert differs_inside(result, start, mask)


@pytest.mark.parametrize("model", MODELS)
def test_the_same_inputs_give_the_same_bytes(model):
    own, mask, target, start = scene("soft disk")
    both = [
        deep_blend(own, mask, target, start, MODELS[model], settings(EVERYTHING, 6, keep_color=0.5)) for _ in range(2)
    ]
    assert torch.equal(both[0][0], both[1][0]) and both[0][1] == both[1][1]


def test_history_has_the_weighted_terms_of_every_evaluation():
    own, mask, target, start = scene()
    _, history = deep_blend(own, mask, target, start, BANK, settings(EVERYTHING, 5))
    assert list(history) == [
        "total",
        "gradient",
        "content",
        "style",
        "histogram",
        "total variation",
        "saturation",
    ]
    sums = np.sum([values for name, values in history.items() if name != "total"], 0)
    assert 2 <= len(sums) <= 5
    assert np.allclose(sums, history["total"], rtol=1e-5)
    _, doubled = deep_blend(own, mask, target, start, BANK, settings(EVERYTHING.scaled(content=3, style=0), 1))
    assert "style" not in doubled
    # Of a paste the content is the object's own.
    assert doubled["gradient"][0] == pytest.approx(history["gradient"][0])
    assert doubled["content"][0] == pytest.approx(3 * history["content"][0], rel=1e-4)


@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("weights", [EVERYTHING, Weights()], ids=["one evaluation", "no weights"])
def test_without_optimisation_the_result_is_the_start(mask, channels, weights):
    own, mask, target, start = scene(mask, channels=channels)
    evaluations = 1 if weights.content else 10
    result, history = deep_blend(own, mask, target, start, BANK, settings(weights, evaluations))
    expected = composite(own, mask, target)
    # Opaque colours of the target under a trace of the object cannot be told from their composite.
    assert (result - expected).abs().max() < 1e-5
    assert len(history["total"]) == 1


def laplacian(image):
    """`[H, W, C]`: at the frame a pixel has fewer neighbours."""
    padded = np.pad(image, ((1, 1), (1, 1), (0, 0)), mode="edge")
    return 4 * image - padded[1:-1, 2:] - padded[1:-1, :-2] - padded[2:, 1:-1] - padded[:-2, 1:-1]


def terms_written_out(model, own, mask, target, blended, start, settings):
    """All terms of a composite, from features of whole pictures, in NumPy; pictures `[H, W, C]`."""
    m, everywhere = mask[..., None], np.ones_like(mask)
    object_weight = everywhere if settings.statistics == "picture" else mask

    def features(image):
        with torch.no_grad():
            return {layer: maps[0].double().numpy() for layer, maps in model(to_torch(image)).items()}

    def at_layers(weights):
        return {
            layer: value[0, 0].numpy() for layer, value in model.layer_masks(to_torch(weights, torch.float64)).items()
        }

    def gram(maps, weights):
        return np.einsum("iyx,jyx,yx->ij", maps, maps, weights) / weights.sum()

    b, o, t, s = (features(image) for image in (blended, own, target, start))
    at_object, weights, whole = at_layers(mask), at_layers(object_weight), at_layers(everywhere)
    guidance = m * laplacian(own) + (1 - m) * laplacian(target)
    result = {"gradient": (m * (laplacian(blended) - guidance) ** 2).sum() / (3 * mask.sum()) / 2}
    result["content"] = np.mean(
        [
            (at_object[layer] * (b[layer] - o[layer]) ** 2).sum() / (2 * len(b[layer]) * at_object[layer].sum())
            for layer in model.content_layers
        ]
    )
    style = []
    for layer in model.style_layers:
        wanted, before = gram(t[layer], whole[layer]), gram(s[layer], weights[layer])
        difference = gram(b[layer], weights[layer]) - wanted
        style.append((difference**2).sum() / ((wanted**2).sum() + (before**2).sum()))
    result["style"] = np.mean(style)
    touching = (np.diff(blended, axis=0), mask[:-1] + mask[1:]), (np.diff(blended, axis=1), mask[:, :-1] + mask[:, 1:])
    result["total variation"] = sum(np.abs(step)[near > 0].sum() for step, near in touching) / mask.sum()
    part = slice(0, mask.shape[0]), slice(0, mask.shape[1])
    loss = SaturationLoss(to_torch(mask), to_torch(target, torch.float64), settings.saturation, part)
    result["saturation"] = loss(to_torch(blended, torch.float64)).item()
    return {name: getattr(settings.weights, name.replace(" ", "_")) * value for name, value in result.items()}


@pytest.mark.parametrize("model", ["bank", "VGG-19 to relu3_1"])
@pytest.mark.parametrize("statistics", ["object", "picture"])
@pytest.mark.parametrize("size", [(HEIGHT, WIDTH), (530, 33), (513, 40), (40, 519)])
def test_terms_of_the_start_equal_the_formulas(size, statistics, model):
    """The higher picture is more than one tile."""
    own, mask, _, _ = scene(disk(*size, y=22, x=18, radius=11, softness=5), size=size)
    target = own.flip(3)
    pasted = composite(1 - own, mask, target)
    seam = SaturationSettings(region="seam", width=10)
    options = settings(EVERYTHING._replace(histogram=0), 1, statistics=statistics, saturation=seam)
    _, history = deep_blend(own, mask, target, pasted, MODELS[model], options)
    blended, own, target = (to_numpy(image) for image in (pasted, own, target))
    mask = to_numpy(mask)[..., 0]
    expected = terms_written_out(MODELS[model], own, mask, target, blended, blended, options)
    assert {name: values[0] for name, values in history.items() if name != "total"} == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("model", ["bank", "VGG-19 to relu3_1"])
def test_the_histogram_of_the_start_is_compared_with_the_whole_targets(model):
    size = 530, 33
    own, mask, target, start = scene(disk(*size, y=22, x=18, radius=11, softness=5), size=size)
    _, history = deep_blend(own, mask, target, start, MODELS[model], settings(Weights(histogram=1), 1))
    with torch.no_grad():
        maps, wanted = MODELS[model](start), MODELS[model](target)
    distributions = {layer: measure_distribution(wanted[layer][0].flatten(1)) for layer in MODELS[model].style_layers}
    expected = histogram_loss(maps, distributions, MODELS[model].layer_masks(mask))
    assert history["histogram"][0] == pytest.approx(expected.item(), rel=1e-3)


@pytest.mark.parametrize("size", [(64, 64), (300, 280)])
@pytest.mark.parametrize("model", ["bank", "VGG-19 to relu3_1"])
def test_memory_is_asked_for_the_distributions_of_the_target(model, size):
    _, mask, target, _ = scene(disk(*size, y=22, x=18, radius=5), size=size)
    everywhere = {
        layer: (slice(0, size[0] // stride), slice(0, size[1] // stride))
        for layer, stride in MODELS[model].strides.items()
    }
    statistics = target_statistics(MODELS[model], target, torch.ones_like(mask), everywhere, True)
    kept = sum(distribution.sums.nbytes for distribution in statistics.distributions.values())
    without, asked = (
        working_bytes(mask, target, MODELS[model], settings(Weights(style=1, histogram=weight), 1)) for weight in (0, 1)
    )
    assert asked - without >= kept


@pytest.mark.parametrize("model", ["bank", "VGG-19 to relu3_1"])
def test_surroundings_of_the_object_are_no_part_of_a_transparent_targets_style(model):
    """Where nothing is to be seen of the target, the reference shows."""
    size = 40, 160
    own, mask, target, _ = scene(disk(*size, y=20, x=30), size=size)
    alpha = (torch.arange(160) < 70).float().expand(1, 1, *size)
    target = torch.cat([target, alpha], 1)
    other = own.clone()
    other[..., 112:] = 1 - other[..., 112:].round()
    histories = [
        deep_blend(
            reference,
            mask,
            target,
            composite(own, mask, target)[:, :3],
            MODELS[model],
            settings(Weights(style=3, histogram=1, saturation=1), 1),
        )[1]
        for reference in (own, other)
    ]
    for term, values in histories[0].items():
        assert values == pytest.approx(histories[1][term], rel=1e-5), term


@pytest.mark.parametrize("recipe", RECIPES)
def test_multipliers_of_0_leave_the_picture_as_it_is(recipe):
    own, mask, target, start = scene()
    for weights in (RECIPES[recipe].stage_1, RECIPES[recipe].stage_2):
        nothing = weights.scaled(**dict.fromkeys(weights._fields, 0.0))
        result, _ = deep_blend(own, mask, target, start, BANK, settings(nothing, 4))
        assert (result - start).abs().max() < 1e-6


@pytest.mark.parametrize("term", Weights._fields)
def test_each_term_alone_lowers_itself(term):
    own, mask, target, start = scene("soft disk")
    own = own.flip(-1)  # another reference than what is pasted
    weights = Weights(**{term: 1.0})
    result, history = deep_blend(own, mask, target, start, BANK, settings(weights, 12))
    assert list(history) == ["total", term.replace("_", " ")]
    assert min(history["total"]) < 0.98 * history["total"][0]
    assert differs_inside(result, start, mask)


def test_base_weights_are_those_of_the_design():
    """Gradient 0 in stage 2; no saturation in stage 1."""
    for name in (PHOTOGRAPH, PAINTING, PUBLISHED_LOOK):
        recipe = RECIPES[name]
        assert recipe.stage_1.gradient > 0 and recipe.stage_2.gradient == 0
        assert recipe.stage_1.saturation == 0 and recipe.stage_2.saturation > 0
        assert recipe.stage_2.scaled(saturation=2.5).saturation == 2.5 * recipe.stage_2.saturation
        assert recipe.stage_2.scaled(saturation=2.5).content == recipe.stage_2.content


@pytest.mark.parametrize("model", MODELS)
def test_a_target_that_is_all_transparent(model):
    own, mask, target, _ = scene("soft disk")
    clear = torch.cat([target, torch.zeros_like(mask)], 1)
    hidden = torch.cat([1 - target, torch.zeros_like(mask)], 1)
    results = []
    for under in (clear, hidden):
        result, history = deep_blend(own, mask, under, own, MODELS[model], settings(EVERYTHING, 5))
        assert "style" not in history and "histogram" not in history
        assert torch.equal(result[:, 3:], mask) and torch.equal(result.where(mask == 0, under), under)
        results.append(result)
    covered = (mask > 0).expand_as(results[0])
    assert torch.equal(results[0][covered], results[1][covered])
    # The object keeps its look, as there is nothing to fit it to.
    mean_change = (results[0][:, :3] - own).abs()[covered[:, :3]].mean()
    assert mean_change < 0.1


def test_an_invisible_target_has_no_style_to_take():
    own, mask, target, _ = scene()
    clear = torch.cat([target, torch.zeros_like(mask)], 1)
    result, _ = deep_blend(own, mask, clear, own, BANK, settings(Weights(style=3, histogram=1), 5))
    assert torch.equal(result, composite(own, mask, clear))


def test_a_target_seen_only_where_no_feature_lies_has_no_style_to_take():
    """The last row of an odd height is in no pair of rows."""
    size = 49, 64
    own, mask, target, start = scene(disk(*size), size=size)
    alpha = torch.zeros_like(mask)
    alpha[..., -1, :] = 1
    for model in (BANK, MODELS["VGG-19 to relu3_1"]):
        _, history = deep_blend(own, mask, torch.cat([target, alpha], 1), start, model, settings(EVERYTHING, 3))
        assert "style" not in history and "histogram" not in history and np.isfinite(history["total"]).all()


def test_hidden_colours_of_transparent_pixels_have_no_part():
    own, mask, target, _ = scene("soft disk")
    alpha = (torch.arange(WIDTH) > 35).float().expand(1, 1, HEIGHT, WIDTH)
    results = []
    for color in (target, torch.where(alpha > 0, target, 1 - target)):
        under = torch.cat([color, alpha], 1)
        start = composite(own, mask, under)[:, :3]
        results.append(deep_blend(own, mask, under, start, BANK, settings(EVERYTHING, 5))[0])
    seen = ((mask > 0) | (alpha > 0)).expand_as(results[0])
    assert torch.equal(results[0][seen], results[1][seen])


def test_an_opaque_rgba_target_gives_the_colours_of_the_rgb_target():
    own, mask, target, start = scene("soft disk")
    plain, _ = deep_blend(own, mask, target, start, BANK, settings(EVERYTHING, 5))
    opaque = torch.cat([target, torch.ones_like(mask)], 1)
    result, _ = deep_blend(own, mask, opaque, start, BANK, settings(EVERYTHING, 5))
    assert torch.allclose(result[:, :3], plain, atol=1e-5) and (result[:, 3] == 1).all()


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("statistics", ["object", "picture"])
@pytest.mark.parametrize("size", [(1, 1), (3, 2), (5, 40), (17, 16), (33, 4)])
def test_small_pictures(size, statistics, model):
    for mask in (np.ones(size), np.eye(*size), (np.mgrid[: size[0], : size[1]][1] < max(size[1] // 2, 1)) * 0.5):
        own, mask, target, start = scene(mask, size=size)
        options = settings(EVERYTHING, 4, keep_color=0.5, statistics=statistics)
        result, history = deep_blend(own, mask, target, start, MODELS[model], options)
        assert result.shape == target.shape and result.isfinite().all()
        assert torch.equal(result.where(mask == 0, target), target)
        assert np.isfinite(history["total"]).all()


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("mask", ["soft disk", "whole frame", "the corner pixel"])
def test_statistics_of_the_picture(mask, model):
    own, mask, target, start = scene(mask)
    options = settings(EVERYTHING, 4, statistics="picture")
    result, history = deep_blend(own, mask, target, start, MODELS[model], options)
    assert torch.equal(result.where(mask == 0, target), target) and result.isfinite().all()
    assert min(history["total"]) <= history["total"][0]


@pytest.mark.parametrize("form", ["relative", "paper"])
@pytest.mark.parametrize("region", ["object", "seam"])
@pytest.mark.parametrize("mask", ["soft disk", "whole frame", "the corner pixel"])
def test_forms_of_the_saturation_loss(mask, form, region):
    own, mask, target, start = scene(mask)
    options = settings(
        Weights(content=2, saturation=100), 6, saturation=SaturationSettings(form=form, region=region, width=2)
    )
    result, history = deep_blend(own, mask, target, start, BANK, options)
    assert torch.equal(result.where(mask == 0, target), target) and result.isfinite().all()
    assert min(history["saturation"]) <= history["saturation"][0]


@pytest.mark.parametrize("model", MODELS)
def test_only_the_surroundings_of_the_object_count(model):
    """Gradient and content of an object are the same in a larger frame, if the features' grid lies where it lay."""
    side, (y, x) = 176, (94, 77)
    own, mask, target, start = scene(disk(side, side, y, x, 12, 3), size=(side, side))
    rows, columns = slice(32, 160), slice(16, 144)

    def cut(image):
        return image[..., rows, columns]

    options = settings(LOCAL, 8, keep_color=0.4)
    large, _ = deep_blend(own, mask, target, start, MODELS[model], options)
    small, _ = deep_blend(cut(own), cut(mask), cut(target), cut(start), MODELS[model], options)
    assert differs_inside(large, start, mask)
    assert (cut(large) - small).abs().max() < 1e-5


@pytest.mark.parametrize("model", MODELS)
def test_the_part_that_is_computed_is_enough(model):
    """With the statistics of the picture all of it is computed."""
    side = 128
    own, mask, target, start = scene(disk(side, side, 61, 70, 9, 2), size=(side, side))
    part, whole = (
        deep_blend(own, mask, target, start, MODELS[model], settings(LOCAL, 3, statistics=statistics))
        for statistics in ("object", "picture")
    )
    for name, values in part[1].items():
        assert values == pytest.approx(whole[1][name], rel=1e-3), name
    assert (part[0] - whole[0]).abs().max() < 1e-3


def oklab(image):
    """Ottosson's definition in NumPy, `[H, W, 3]`."""
    linear = np.where(image <= 0.04045, image / 12.92, ((image + 0.055) / 1.055) ** 2.4)
    to_cones = [[0.4122214708, 0.5363325363, 0.0514459929], [0.2119034982, 0.6806995451, 0.1073969566]]
    to_cones.append([0.0883024619, 0.2817188376, 0.6299787005])
    to_lab = [[0.2104542553, 0.7936177850, -0.0040720468], [1.9779984951, -2.4285922050, 0.4505937099]]
    to_lab.append([0.0259040371, 0.7827717662, -0.8086757660])
    return np.cbrt(linear @ np.transpose(to_cones)) @ np.transpose(to_lab)


@pytest.mark.parametrize("blended", [False, True])
@pytest.mark.parametrize("share", [0.4, 1.0])
def test_the_objects_own_chroma_is_given_back(share, blended):
    """Of the object, or of the picture in which it is blended already; lightness is the optimised one."""
    own, mask, target, start = scene()
    own, target, start = (0.3 + 0.3 * image for image in (own, target, start))
    reference = composite(own, mask, target) if blended else own
    results = [
        deep_blend(reference, mask, target, start, BANK, settings(STAGE_1.scaled(style=10), 8, keep_color=kept))[0]
        for kept in (0.0, share)
    ]
    inside = to_numpy(mask)[..., 0] > 0
    without, found, wanted = (oklab(to_numpy(image))[inside] for image in (*results, own))
    assert np.abs(without[:, 1:] - wanted[:, 1:]).max() > 0.01
    assert np.abs(found[:, 0] - without[:, 0]).max() < 1e-4
    assert np.abs(found[:, 1:] - (without + share * (wanted - without))[:, 1:]).max() < 1e-4


def test_chroma_under_a_soft_mask_of_a_blended_picture_is_the_objects_and_not_a_mixture():
    own, mask, target, start = scene("soft disk")
    own, target = 0.35 + 0.2 * own, 0.35 + 0.2 * target
    start = composite(own, mask, target)
    weights = Weights()
    result, _ = deep_blend(start, mask, target, start, BANK, settings(weights, 3, keep_color=1.0))
    assert (result - start).abs().max() < 1e-4


@pytest.mark.parametrize("blended", [False, True])
@pytest.mark.parametrize("mask", ["disk", "ring", "at the border"])
def test_the_exact_poisson_blend_has_no_gradient_loss(mask, blended):
    inside = MASKS[mask] > 0
    own, target = 0.45 + 0.1 * smooth_picture(HEIGHT, WIDTH, 1), 0.4 + 0.2 * smooth_picture(HEIGHT, WIDTH, 2)
    solution = exact_poisson(target, inside, lambda p, q: own[p] - own[q])
    assert solution.min() > 0 and solution.max() < 1
    mask, target, solution, own = (to_torch(image) for image in (MASKS[mask], target, solution, own))
    reference = solution if blended else own
    gradient = settings(Weights(gradient=1.0), 1)
    _, history = deep_blend(reference, mask, target, solution, BANK, gradient)
    _, pasted = deep_blend(own, mask, target, composite(own, mask, target), BANK, gradient)
    assert history["gradient"][0] < 1e-10 < 1e-6 < pasted["gradient"][0]


def test_an_object_cut_out_on_one_colour_has_no_step_at_its_edge():
    inside = disk() > 0
    own = np.where(inside[..., None], 0.4 + 0.1 * smooth_picture(HEIGHT, WIDTH, 1), [0.9, 0.1, 0.9])
    target = 0.4 + 0.2 * smooth_picture(HEIGHT, WIDTH, 2)
    solution = exact_poisson(target, inside, lambda p, q: (own[p] - own[q]) * (inside[p] == inside[q]))
    own, mask, target, solution = (to_torch(image) for image in (own, disk(), target, solution))
    _, history = deep_blend(own, mask, target, solution, BANK, settings(Weights(gradient=1.0), 1))
    assert history["gradient"][0] < 1e-10


def test_gradient_loss_alone_leads_to_the_exact_poisson_blend():
    inside = disk(radius=5) > 0
    own, target = 0.45 + 0.1 * smooth_picture(HEIGHT, WIDTH, 1), 0.4 + 0.2 * smooth_picture(HEIGHT, WIDTH, 2)
    solution = to_torch(exact_poisson(target, inside, lambda p, q: own[p] - own[q]))
    own, mask, target = (to_torch(image) for image in (own, inside.astype(float), target))
    start = composite(own, mask, target)
    result, _ = deep_blend(own, mask, target, start, BANK, settings(Weights(gradient=2000), 300))
    assert (result - solution).abs().max() < 0.1 * (start - solution).abs().max()


def test_progress_rises_and_an_exception_stops_the_work():
    own, mask, target, start = scene()
    seen = []

    def record(step, total, loss_terms, image):
        assert image.shape[1] == 3 and not image.requires_grad and image.isfinite().all()
        seen.append((step, total, loss_terms))

    _, history = deep_blend(own, mask, target, start, BANK, settings(STAGE_1, 6), record)
    assert [step for step, _, _ in seen] == list(range(1, len(history["total"]) + 1))
    assert {total for _, total, _ in seen} == {6}
    for step, _, loss_terms in seen:
        assert loss_terms == {name: values[step - 1] for name, values in history.items()}

    class CancelledError(BaseException):
        pass

    def cancel(step, total, loss_terms, image):
        seen.append(step)
        raise CancelledError

    seen.clear()
    with pytest.raises(CancelledError):
        deep_blend(own, mask, target, start, BANK, settings(STAGE_1, 6), cancel)
    assert seen == [1]


@pytest.mark.parametrize("level", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("model", MODELS)
def test_pictures_of_one_colour(model, level):
    own, mask, target, _ = scene("soft disk")
    flat = torch.full_like(target, level)
    for reference, under in ((own, flat), (flat, target), (flat, flat)):
        options = settings(EVERYTHING, 6, keep_color=0.5)
        result, history = deep_blend(reference, mask, under, composite(reference, mask, under), MODELS[model], options)
        assert result.isfinite().all() and np.isfinite(history["total"]).all()
        assert min(history["total"]) <= history["total"][0]
