import logging
import re
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torchvision
from safetensors.torch import save_file

from pictures import random_picture, smooth_picture, soft_mask

STAGE_1, STAGE_2 = "DeepBlend_Stage1", "DeepBlend_Stage2"
LOADER, SATURATION = "DeepBlend_LoadPerceptualModel", "DeepBlend_SaturationLoss"


def smooth(height, width, batch=1, channels=3, seed=0):
    frames = [smooth_picture(height, width, seed + index, channels) for index in range(batch)]
    return torch.from_numpy(np.stack(frames)).float()


def disk(height, width, batch=1, radius=0.35):
    rows, columns = torch.arange(height)[:, None] / height - 0.5, torch.arange(width) / width - 0.5
    return (rows**2 + columns**2 < radius**2).float().expand(batch, -1, -1).clone()


def stage(host, number, object, mask, target, **settings):
    """Either stage, on the same pictures."""
    settings = {"iterations": 6, **settings}
    if number == 1:
        return host.run_node(STAGE_1, object=object, mask=mask, target=target, **settings)
    return host.run_node(STAGE_2, image=object, mask=mask, target=target, **settings)


@pytest.fixture
def models(host):
    """The folder for perceptual models, with a small VGG-19 in it."""
    import folder_paths

    folder = Path(folder_paths.get_folder_paths("perceptual")[0])
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    features = torchvision.models.vgg19(weights=None).features[:12]
    weights = {f"features.{name}": value.clone() for name, value in features.state_dict().items()}
    save_file(weights, folder / "vgg19_cut.safetensors")
    torch.save(weights, folder / "vgg19_cut.pth")
    yield folder
    shutil.rmtree(folder)


@pytest.mark.parametrize("number", [1, 2])
@pytest.mark.parametrize("size", [(1, 1), (37, 53), (96, 130)])
@pytest.mark.parametrize("channels", [3, 4])
def test_target_is_untouched_bit_for_bit_where_the_mask_is_0(host, number, size, channels):
    target, mask = random_picture(*size, 2, channels, 1), soft_mask(*size, 2)
    image, losses = stage(host, number, random_picture(*size), mask, target, iterations=3, recipe="painting")
    assert image.shape == target.shape
    assert image.dtype == torch.float32
    assert torch.isfinite(image).all()
    assert image.min() >= 0
    assert image.max() <= 1
    assert torch.equal(image[mask == 0], target[mask == 0])
    assert len(losses) == 2


@pytest.mark.parametrize("number", [1, 2])
@pytest.mark.parametrize("features", ["built-in", "vgg19_cut.safetensors", "vgg19_cut.pth"])
def test_gradients_flow_although_the_host_runs_in_inference_mode(host, linked, models, number, features):
    model = host.run_node(LOADER, model=features)
    network = model["patcher"].model
    tensors = [*network.parameters(), *network.buffers()]
    assert tensors
    assert not any(tensor.is_inference() or tensor.requires_grad for tensor in tensors)
    object_, mask, target = smooth(64, 80), disk(64, 80), smooth(64, 80, seed=5)
    image, (losses,) = stage(host, number, object_, mask, target, recipe="painting", features=linked(model))
    total = losses["terms"]["total"]
    assert len(total) == 6
    assert min(total) < 0.99 * total[0]
    assert not torch.equal(image[mask > 0], object_[mask > 0])
    assert not any(tensor.is_inference() for tensor in tensors)


@pytest.mark.parametrize("number", [1, 2])
def test_two_runs_give_the_same_bytes(host, number):
    pictures = smooth(60, 70), disk(60, 70), smooth(60, 70, seed=3)
    (first, first_losses), (second, second_losses) = (stage(host, number, *pictures) for _ in range(2))
    assert torch.equal(first, second)
    assert first_losses == second_losses


@pytest.mark.parametrize("number", [1, 2])
def test_a_batch_is_optimised_frame_by_frame(host, number):
    objects, target = smooth(50, 60, 3), random_picture(50, 60, seed=9)
    masks = torch.cat([disk(50, 60, radius=r) for r in (0.2, 0.3, 0.4)])
    images, losses = stage(host, number, objects, masks, target)
    assert len(images) == len(losses) == 3
    for index in range(3):
        part = slice(index, index + 1)
        alone, (alone_losses,) = stage(host, number, objects[part], masks[part], target)
        assert torch.equal(images[part], alone)
        assert losses[index] == alone_losses


@pytest.mark.parametrize("number", [1, 2])
def test_an_empty_mask_gives_the_target_and_a_warning(host, caplog, number):
    target = random_picture(40, 50, 2, seed=2)
    masks = torch.cat([torch.zeros(1, 40, 50), disk(40, 50)])
    with caplog.at_level(logging.WARNING):
        images, losses = stage(host, number, random_picture(40, 50), masks, target)
    assert torch.equal(images[0], target[0])
    assert losses[0]["terms"] == {}
    assert losses[1]["terms"]
    assert f"Deep Blend Stage {number}: mask is empty in 1 of 2 frames" in caplog.text


@pytest.mark.parametrize("number", [1, 2])
@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"mask": torch.ones(1, 30, 31)}, "mask is 31×30 pixels but target is 50×40"),
        ({"object": torch.rand(1, 20, 50, 3)}, "is 50×20 pixels but target is 50×40"),
        ({"object": torch.rand(3, 40, 50, 3), "target": torch.rand(2, 40, 50, 3)}, "has 2 frames but"),
        ({"target": torch.full((1, 40, 50, 3), torch.nan)}, "target holds 6000 values that are NaN"),
        ({"mask": torch.zeros(1, 64, 64)}, "Load Image gives when the picture has no alpha channel"),
        ({"target": torch.rand(1, 40, 50, 2)}, "target has the shape"),
    ],
)
def test_bad_pictures_get_one_clear_sentence(host, number, change, sentence):
    pictures = {"object": random_picture(40, 50), "mask": disk(40, 50), "target": random_picture(40, 50), **change}
    with pytest.raises(RuntimeError, match=sentence):
        stage(host, number, **pictures)


def test_start_must_have_the_targets_size(host):
    pictures = random_picture(40, 50), disk(40, 50), random_picture(40, 50)
    with pytest.raises(RuntimeError, match="start is 50×41 pixels but target is 50×40"):
        stage(host, 1, *pictures, start=random_picture(41, 50))


@pytest.mark.parametrize(
    ("name", "value"), [("style", -1.0), ("content", 11.0), ("keep_color", 2.5), ("iterations", 0)]
)
@pytest.mark.parametrize("number", [1, 2])
def test_linked_numbers_out_of_range_are_refused(host, linked, number, name, value):
    pictures = random_picture(20, 30), disk(20, 30), random_picture(20, 30)
    with pytest.raises(RuntimeError, match=rf"{name} is {value}; numbers from .* are accepted"):
        stage(host, number, *pictures, **{name: linked(value)})


def test_without_a_start_stage_1_begins_where_auto_blend_ends(host):
    object_, mask, target = smooth(80, 90), disk(80, 90), smooth(80, 90, seed=4) * 0.5
    blended, _, _ = host.run_node("DeepBlend_AutoBlend", object=object_, mask=mask, target=target)
    settings = {"iterations": 1, "keep_color": 0.0}
    alone, _ = stage(host, 1, object_, mask, target, **settings)
    started, _ = stage(host, 1, object_, mask, target, start=blended, **settings)
    assert torch.equal(alone, started)
    assert (alone - blended).abs().max() < 1e-5  # one evaluation moves nothing


def test_history_holds_every_evaluation_and_no_more_than_asked_for(host):
    pictures = smooth(50, 60), disk(50, 60), smooth(50, 60, seed=2)
    _, (losses,) = stage(host, 1, *pictures, iterations=4, histogram=1.0, tv=1.0)
    terms = losses["terms"]
    assert set(terms) == {"total", "gradient", "content", "style", "histogram", "total variation"}
    assert {len(values) for values in terms.values()} == {4}
    for index, total in enumerate(terms.pop("total")):
        assert total == pytest.approx(sum(values[index] for values in terms.values()), rel=1e-5)


@pytest.mark.parametrize(("name", "term"), [("gradient", "gradient"), ("content", "content"), ("style", "style")])
def test_a_multiplier_of_0_switches_its_term_off_and_2_doubles_it(host, name, term):
    object_, mask, target = smooth(50, 60), disk(50, 60), smooth(50, 60, seed=2)
    once, off, twice = (
        stage(host, 1, object_, mask, target, start=object_, iterations=1, **{name: value})[1][0]["terms"]
        for value in (1.0, 0.0, 2.0)
    )
    assert term in once
    assert term not in off
    assert twice[term][0] == pytest.approx(2 * once[term][0])


# Of README's table: weights of the style.
STYLE = {
    1: {"photograph": 0.3, "painting": 5, "published look": 12},
    2: {"photograph": 0.3, "painting": 5, "published look": 8},
}


@pytest.mark.parametrize("number", [1, 2])
def test_every_recipe_has_its_weights(host, number):
    object_, mask, target = smooth(50, 60), disk(50, 60), smooth(50, 60, seed=2)
    begin = {"start": object_} if number == 1 else {}
    style = {
        recipe: stage(host, number, object_, mask, target, recipe=recipe, iterations=1, **begin)[1][0]["terms"][
            "style"
        ][0]
        for recipe in STYLE[number]
    }
    for recipe, weight in STYLE[number].items():
        assert style[recipe] / style["photograph"] == pytest.approx(weight / STYLE[number]["photograph"], rel=1e-4)


def test_stage_2_of_the_painting_recipe_gives_colour_back_and_stage_1_does_not(host):
    pictures = smooth(50, 60), disk(50, 60), smooth(50, 60, seed=2)
    for number, gives in ((1, False), (2, True)):
        none, recipe = (stage(host, number, *pictures, recipe="painting", keep_color=value)[0] for value in (0.0, 1.0))
        assert torch.equal(none, recipe) != gives


def test_stage_1_keeps_the_content_of_its_object_and_not_of_its_start(host):
    mask, target = disk(50, 60), smooth(50, 60, seed=2)
    blended = torch.where(mask[..., None] > 0, smooth(50, 60), target)
    from_object, from_target = (
        stage(host, 1, blended, mask, target, start=start, iterations=1)[1][0]["terms"]["content"][0]
        for start in (blended, target)
    )
    assert from_object < 1e-6 < 1e-3 < from_target


@pytest.mark.parametrize(("name", "term"), [("histogram", "histogram"), ("tv", "total variation")])
def test_further_terms_are_switched_on_one_by_one(host, name, term):
    pictures = smooth(50, 60), disk(50, 60), smooth(50, 60, seed=2)
    for number in (1, 2):
        _, (losses,) = stage(host, number, *pictures, iterations=1, **{name: 1.0})
        assert {"histogram", "total variation"} & set(losses["terms"]) == {term}


@pytest.mark.parametrize(
    ("node", "name"),
    [
        *((number, name) for number in (1, 2) for name in ("recipe", "statistics", "precision")),
        (SATURATION, "form"),
        (SATURATION, "region"),
    ],
)
def test_linked_choices_that_do_not_exist_are_refused(host, linked, node, name):
    with pytest.raises(RuntimeError, match=rf"{name} is 'bogus'; '.*' are accepted"):
        if node == SATURATION:
            host.run_node(SATURATION, **{name: linked("bogus")})
        else:
            stage(host, node, smooth(20, 20), disk(20, 20), smooth(20, 20), **{name: linked("bogus")})


def test_stage_2_knows_that_its_picture_is_blended_after_8_bits(host):
    """Colours under a soft edge are not mixed with the target's a second time."""
    rows, columns = torch.arange(64)[:, None] - 32, torch.arange(64) - 32
    mask = ((20 - (rows**2 + columns**2) ** 0.5) / 8).clamp(0, 1)[None]
    object_, target = 0.2 + 0.1 * smooth(64, 64), 0.6 + 0.3 * smooth(64, 64, seed=4)
    image = torch.lerp(target, object_, mask[..., None]).mul(255).round() / 255
    image[:, 0, 0] += 0.1  # and it need not equal the target around the object
    result, _ = stage(host, 2, image, mask, target, iterations=1, keep_color=2.0)
    inside = mask > 0.1
    assert (result - image)[inside].abs().max() < 0.01


def test_saturation_loss_is_off_unless_it_is_wired_and_enabled(host, linked):
    pictures = random_picture(50, 60), disk(50, 60), smooth(50, 60, seed=2)

    def run(**settings):
        saturation = host.run_node(SATURATION, **settings)
        return stage(host, 2, *pictures, recipe="painting", saturation=linked(saturation))

    unwired, (losses,) = stage(host, 2, *pictures, recipe="painting")
    disabled, _ = run(enabled=False)
    assert torch.equal(unwired, disabled)
    assert "saturation" not in losses["terms"]
    results = [unwired]
    for form in ("relative", "paper"):
        for region in ("object", "seam"):
            image, (losses,) = run(form=form, region=region)
            assert losses["terms"]["saturation"][0] > 0
            assert not any(torch.equal(image, other) for other in results)
            results.append(image)
    narrow, wide = (run(region="seam", width=width)[0] for width in (1, 20))
    assert not torch.equal(narrow, wide)
    weight = [run(weight=weight)[1][0]["terms"]["saturation"][0] for weight in (1.0, 3.0)]
    assert weight[1] == pytest.approx(3 * weight[0])


def test_keep_color_goes_from_none_to_all_of_the_objects_chroma(host):
    from deepblend.blending_core.color import srgb_to_oklab

    object_, mask, target = smooth(60, 70), disk(60, 70), smooth(60, 70, seed=8)
    settings = {"recipe": "photograph", "style": 10.0, "start": object_}
    none, recipe, everything = (
        srgb_to_oklab(stage(host, 1, object_, mask, target, keep_color=value, **settings)[0].movedim(-1, 1))[:, 1:]
        for value in (0.0, 1.0, 2.0)
    )
    own = srgb_to_oklab(object_.movedim(-1, 1))[:, 1:]
    inside = (mask > 0)[:, None].expand_as(own)
    distance = [float((chroma - own)[inside].abs().mean()) for chroma in (none, recipe, everything)]
    assert distance[0] > 1.5 * distance[1] > 3 * distance[2]


def test_half_precision_and_rgba_inputs(host):
    object_, mask, target = random_picture(40, 50, channels=4), disk(40, 50), random_picture(40, 50, seed=3)
    image, _ = stage(host, 1, object_, mask, target)
    opaque, _ = stage(host, 1, object_[..., :3], mask, target)
    assert torch.equal(image, opaque)
    half, _ = stage(host, 1, object_.half(), mask.half(), target.half())
    assert half.dtype == torch.float32
    assert (half - image).abs().max() < 0.1
    assert torch.equal(half[mask == 0], target.half().float()[mask == 0])


@pytest.mark.parametrize("number", [1, 2])
def test_cancel_stops_within_one_evaluation_and_the_next_run_is_right(host, monkeypatch, number):
    import comfy.model_management
    import comfy.utils

    pictures = smooth(64, 64), disk(64, 64), smooth(64, 64, seed=3)
    expected, _ = stage(host, number, *pictures)
    seen = []

    def hook(value, total, preview, node_id=None):
        seen.append(value)
        if value == 2:
            comfy.model_management.interrupt_current_processing()

    with monkeypatch.context() as patched:
        patched.setattr(comfy.utils, "PROGRESS_BAR_HOOK", hook)
        patched.setattr(comfy.utils, "PROGRESS_THROTTLE_MIN_INTERVAL", 0)
        patched.setattr(comfy.utils, "PROGRESS_THROTTLE_MIN_PERCENT", 0)
        with pytest.raises(RuntimeError, match="interrupted"):
            stage(host, number, *pictures, iterations=100)
    assert max(seen) == 2
    again, _ = stage(host, number, *pictures)
    assert torch.equal(again, expected)


def test_previews_show_the_composite_around_the_object(host, monkeypatch):
    import itertools

    import comfy.utils

    look = itertools.count()
    own_host = sys.modules[host.nodes.NODE_CLASS_MAPPINGS[STAGE_1].__module__.replace(".deep", ".host")]
    monkeypatch.setattr(own_host, "time", SimpleNamespace(monotonic=lambda: next(look)))
    seen = []
    monkeypatch.setattr(comfy.utils, "PROGRESS_BAR_HOOK", lambda *call, **_: seen.append(call))
    monkeypatch.setattr(comfy.utils, "PROGRESS_THROTTLE_MIN_INTERVAL", 0)
    monkeypatch.setattr(comfy.utils, "PROGRESS_THROTTLE_MIN_PERCENT", 0)
    stage(host, 1, smooth(64, 80, 3), disk(64, 80), smooth(64, 80, seed=3), iterations=8)
    previews = [preview for _, _, preview in seen if preview]
    assert len(previews) >= 6
    kind, image, _ = previews[-1]
    assert kind == "JPEG"
    assert image.width <= 512 and image.height <= 384
    assert np.asarray(image)[:200, :250].std() > 10
    assert [value for value, _, _ in seen] == sorted(value for value, _, _ in seen)
    assert seen[-1][0] == seen[-1][1]


def test_room_is_asked_for_the_object_and_not_for_the_picture(host, monkeypatch):
    import comfy.model_management

    asked = []
    load = comfy.model_management.load_models_gpu

    def recorded(models, memory_required=0, **more):
        asked.append(memory_required)
        return load(models, memory_required=memory_required, **more)

    monkeypatch.setattr(comfy.model_management, "load_models_gpu", recorded)
    mask = torch.zeros(1, 400, 500)
    mask[:, 50:90, 60:110] = 1
    for statistics in ("object", "picture"):
        stage(host, 2, random_picture(400, 500), mask, random_picture(400, 500), iterations=1, statistics=statistics)
    assert asked[1] == asked[0]
    # More than the activations around the object, less than what an optimisation of the whole picture would take.
    assert 40 * 50 * 4 * 100 < asked[0] < 400 * 500 * 4 * 150


@pytest.mark.parametrize("features", ["built-in", "vgg19_cut.pth"])
def test_all_of_a_network_moves_even_where_memory_is_short(host, models, monkeypatch, features):
    """The device "meta" stands in for a graphics card; ComfyUI's own way of loading with --novram moves what it does."""
    import comfy.model_management

    own_host = sys.modules[host.nodes.NODE_CLASS_MAPPINGS[STAGE_1].__module__.replace(".deep", ".host")]
    device = torch.device("meta")
    patcher = host.run_node(LOADER, model=features)["patcher"]
    patcher.load_device = device
    monkeypatch.setattr(
        comfy.model_management,
        "load_models_gpu",
        lambda patchers, **_: [patcher.load(device, lowvram_model_memory=0.1) for patcher in patchers],
    )
    network = own_host.on_compute_device(patcher, 0)
    tensors = [*network.parameters(), *network.buffers()]
    assert {tensor.device for tensor in tensors} == {device}


def test_loader_lists_files_and_gives_the_same_features_for_both_formats(host, linked, models):
    options = host.nodes.NODE_CLASS_MAPPINGS[LOADER].INPUT_TYPES()["required"]["model"][1]["options"]
    assert options == ["built-in", "vgg19-dcbb9e9d.pth", "vgg19_cut.pth", "vgg19_cut.safetensors"]
    pictures = smooth(50, 60), disk(50, 60), smooth(50, 60, seed=2)
    results = [stage(host, 1, *pictures, features=linked(host.run_node(LOADER, model=name)))[0] for name in options[2:]]
    assert torch.equal(*results)
    assert not torch.equal(results[0], stage(host, 1, *pictures)[0])


def test_loader_reads_a_changed_file_again(host, models):
    def cached():
        prompt = {
            "1": {"class_type": LOADER, "inputs": {"model": "vgg19_cut.pth"}},
            "2": {"class_type": "DeepBlendTest_Capture", "inputs": {"name": "features", "value": ["1", 0]}},
        }
        run = host.run(prompt)
        assert run.success
        return run.cached

    cached()
    assert "1" in cached()
    weights = torch.load(models / "vgg19_cut.pth", weights_only=True)
    torch.save({name: 2 * value for name, value in weights.items()}, models / "vgg19_cut.pth")
    assert "1" not in cached()


class Canary:
    def __reduce__(self):
        return Path.touch, (Path(self.path),)


def test_hostile_and_wrong_files_are_refused_and_nothing_in_them_runs(host, models, tmp_path):

    canary = Canary()
    canary.path = str(tmp_path / "executed")
    torch.save({"features.0.weight": canary}, models / "hostile.pth")
    (models / "hostile.safetensors").write_bytes((2**40).to_bytes(8, "little") + b"{}")
    (models / "cut.pth").write_bytes((models / "vgg19_cut.pth").read_bytes()[:5000])
    torch.save([1, 2, 3], models / "list.pth")
    save_file({"conv.weight": torch.rand(2, 2)}, models / "other.safetensors")
    for name in ("hostile.pth", "hostile.safetensors", "cut.pth", "list.pth"):
        with pytest.raises(RuntimeError, match=rf"model '{name}': it cannot be read as a file of weights"):
            host.run_node(LOADER, model=name)
    with pytest.raises(RuntimeError, match=r"model 'other.safetensors': features.0.weight is missing .*are accepted"):
        host.run_node(LOADER, model="other.safetensors")
    assert not Path(canary.path).exists()


@pytest.mark.parametrize("name", ["../../secret.pth", "/etc/passwd", "absent.pth"])
def test_loader_stays_in_its_folders(host, linked, models, name):
    (models.parent.parent / "secret.pth").write_bytes(b"secret")
    with pytest.raises(RuntimeError, match=r"is not in models/perceptual"):
        host.run_node(LOADER, model=linked(name))
    (models.parent.parent / "secret.pth").unlink()


@pytest.fixture
def quick(host, monkeypatch):
    """Says whether the machine is quick with bfloat16."""
    own_nodes = sys.modules[host.nodes.NODE_CLASS_MAPPINGS[STAGE_1].__module__.replace(".deep", ".precision")]

    def say(answer):
        monkeypatch.setattr(own_nodes, "is_quick_with_bfloat16", lambda: answer)

    return say


@pytest.mark.parametrize("number", [1, 2])
def test_precision_auto_is_bf16_for_vgg_where_it_is_quick_and_fp32_otherwise(
    host, linked, models, quick, number, caplog
):
    features = linked(host.run_node(LOADER, model="vgg19_cut.safetensors"))
    pictures = smooth(60, 70), disk(60, 70), smooth(60, 70, seed=3)

    def run(is_quick, **more):
        quick(is_quick)
        return stage(host, number, *pictures, features=features, recipe="painting", **more)

    with caplog.at_level(logging.INFO):
        single, (losses,) = run(True, precision="fp32")
        assert "in fp32" in caplog.messages[-1]
        rounded, (rounded_losses,) = run(True, precision="bf16")
        assert "in bf16" in caplog.messages[-1]
        for is_quick, image in ((True, rounded), (False, single)):
            assert torch.equal(run(is_quick, precision="auto")[0], image)
            assert torch.equal(run(is_quick)[0], image)  # as in workflows that are older than the input
        assert not any(record.levelno == logging.WARNING for record in caplog.records)
        assert torch.equal(run(False, precision="bf16")[0], rounded)
    assert re.search(rf"Deep Blend Stage {number}: precision is bf16, in which \S+ is slow", caplog.text)
    assert not torch.equal(single, rounded)
    assert (single - rounded).abs().mean() < 0.01
    assert {len(values) for values in rounded_losses["terms"].values()} == {6}
    assert rounded_losses["terms"]["total"][-1] < 1.05 * min(losses["terms"]["total"][:-1])


@pytest.mark.parametrize("is_quick", [True, False])
def test_the_built_in_model_computes_in_fp32_with_every_precision(host, quick, caplog, is_quick):
    quick(is_quick)
    pictures = smooth(50, 60), disk(50, 60), smooth(50, 60, seed=2)
    with caplog.at_level(logging.WARNING):
        images = [stage(host, 1, *pictures, precision=choice)[0] for choice in ("fp32", "bf16", "auto")]
    assert torch.equal(images[0], images[1])
    assert torch.equal(images[0], images[2])
    assert not caplog.records


@pytest.mark.parametrize("supported", [{"_is_avx512_bf16_supported"}, {"_is_amx_tile_supported"}, set(), None])
def test_a_processor_is_quick_with_bf16_if_it_has_instructions_for_it(host, monkeypatch, supported):
    import comfy.model_management

    own_host = sys.modules[host.nodes.NODE_CLASS_MAPPINGS[STAGE_1].__module__.replace(".deep", ".host")]
    monkeypatch.setattr(own_host, "compute_device", lambda: torch.device("cpu"))
    for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"):
        if supported is None:  # a version of torch without them
            monkeypatch.delattr(torch.cpu, name)
        else:
            monkeypatch.setattr(torch.cpu, name, lambda name=name: name in supported)
    assert own_host.is_quick_with_bfloat16() == bool(supported)
    monkeypatch.setattr(comfy.model_management, "FORCE_FP32", True)
    assert not own_host.is_quick_with_bfloat16()


@pytest.mark.parametrize("answer", [True, False])
def test_of_a_graphics_card_comfyui_knows_whether_it_is_quick_with_bf16(host, monkeypatch, answer):
    import comfy.model_management

    own_host = sys.modules[host.nodes.NODE_CLASS_MAPPINGS[STAGE_1].__module__.replace(".deep", ".host")]
    monkeypatch.setattr(own_host, "compute_device", lambda: torch.device("cuda", 0))
    asked = []
    monkeypatch.setattr(
        comfy.model_management, "should_use_bf16", lambda device: asked.append(device) is None and answer
    )
    assert own_host.is_quick_with_bfloat16() == answer
    assert asked == [torch.device("cuda", 0)]


def video_frames(count=4):
    """One object over a still target."""
    object_, target = smooth(60, 70), smooth(60, 70, seed=3)
    mask = disk(60, 70)
    return [image.expand(count, *image.shape[1:]).clone() for image in (object_, mask, target)]


@pytest.mark.parametrize("number", [1, 2])
def test_in_a_video_an_object_on_a_still_target_stands_still(host, number):
    frames = video_frames()
    settings = {"recipe": "painting", "iterations": 12}
    images, losses = stage(host, number, *frames, video=True, **settings)
    single, (alone,) = stage(host, number, *(frame[:1] for frame in frames), **settings)
    assert torch.equal(images[:1], single), "the first frame begins as every picture does"
    assert losses[0] == alone and len(alone["terms"]["total"]) > 5
    assert [len(frame["terms"]["total"]) for frame in losses[1:]] == [2, 2, 2]
    assert (single - frames[2][:1]).abs().max() > 0.1
    assert (images[1:] - images[:-1]).abs().max() < 0.01 / 255
    assert torch.equal(images[frames[1] == 0], frames[2][frames[1] == 0])


@pytest.mark.parametrize("number", [1, 2])
def test_a_frame_of_a_video_without_the_object_is_the_target(host, number):
    object_, mask, target = video_frames()
    mask[1] = 0
    settings = {"recipe": "painting", "iterations": 12, "video": True}
    images, losses = stage(host, number, object_, mask, target, **settings)
    assert torch.equal(images[1], target[1])
    assert losses[1]["terms"] == {}
    assert len(losses[2]["terms"]["total"]) == 2, "the next frame goes on from the one before it"
    assert (images[2] - images[0]).abs().max() < 0.01 / 255
    mask[0] = 0
    images, losses = stage(host, number, object_, mask, target, **settings)
    assert torch.equal(images[:2], target[:2])
    assert len(losses[2]["terms"]["total"]) > 5
    assert len(losses[3]["terms"]["total"]) == 2


def test_in_a_video_without_a_start_the_first_frame_decides_how_the_object_is_set_in(host):
    """Frames of which one is cut tightly and one loosely."""
    ground = torch.full((80, 90, 3), 0.5) + 0.1 * (smooth(80, 90)[0] - 0.5)
    inside = disk(80, 90, radius=0.2)
    object_ = torch.where(inside[0, ..., None] > 0, torch.tensor([0.8, 0.2, 0.1]), ground)[None]
    masks, target = torch.cat([inside, disk(80, 90, radius=0.35)]), smooth(80, 90, seed=4)
    inputs = {"object": object_, "mask": masks, "target": target}
    settings = {"iterations": 1, "keep_color": 0.0}
    for mode, video in (("auto, first frame decides", True), ("auto", False)):
        blended, _, report = host.run_node("DeepBlend_AutoBlend", **inputs, mode=mode)
        alone, _ = stage(host, 1, object_, masks, target, video=video, **settings)
        started, _ = stage(host, 1, object_, masks, target, start=blended, **settings)
        assert torch.equal(alone, started)
        modes = [line.split(":")[0] for line in report.split("\n")]
        assert modes == (["tight", "tight"] if video else ["tight", "loose"])
