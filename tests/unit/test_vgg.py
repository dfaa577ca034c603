import os
from pathlib import Path

import pytest
import torch
import torchvision
from skimage import data, transform
from torch import nn

from deepblend.blending_core.feature_model import calibration_picture
from deepblend.blending_core.vgg import VGG
from networks import small_vgg_weights, vgg_features, weights_of
from pictures import smooth_picture, to_torch

MODELS = Path(os.environ.get("DEEPBLEND_SHARED", Path(__file__).resolve().parents[3] / "shared"), "models")
STYLE_LAYERS = {
    "VGG-16": ("relu1_2", "relu2_2", "relu3_3", "relu4_3"),
    "VGG-19": ("relu1_1", "relu2_1", "relu3_1", "relu4_1"),
}
PICTURE = to_torch(smooth_picture(45, 38, 1))
ACCEPTED = r"weights of VGG-16 or VGG-19 with torchvision's names .* are accepted$"


def torchvision_activations(features, picture):
    """Every rectified activation of torchvision's own network, under the papers' names."""
    normalised = torchvision.transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    maps, block, number, found = normalised(picture), 1, 0, {}
    with torch.no_grad():
        for module in features[:28]:  # without the fifth block
            maps = module(maps)
            if isinstance(module, nn.Conv2d):
                number += 1
            elif isinstance(module, nn.ReLU):
                found[f"relu{block}_{number}"] = maps.clone()
            else:
                block, number = block + 1, 0
    return found


def assert_same(found, expected):
    assert found.shape == expected.shape
    assert (found - expected).abs().max() < 1e-4 * expected.abs().max()


@pytest.fixture(scope="module", params=["VGG-16", "VGG-19"])
def full(request):
    features = vgg_features(request.param)
    return request.param, features, VGG(weights_of(features))


def other_network(name):
    """Weights of another network of torchvision's; those of its dense layers without values."""
    with torch.device("meta"):
        network = getattr(torchvision.models, name)(weights=None)
    return {
        key: value if key.startswith(("classifier", "fc")) else torch.rand(value.shape)
        for key, value in network.state_dict().items()
    }


def test_activations_equal_torchvision(full):
    architecture, features, model = full
    expected = torchvision_activations(features, PICTURE)
    assert model.architecture == architecture
    assert model.style_layers == STYLE_LAYERS[architecture] and model.content_layers == ("relu2_2",)
    found = model.activations(PICTURE)
    assert set(found) == {*STYLE_LAYERS[architecture], "relu2_2"}
    for layer, maps in found.items():
        assert_same(maps, expected[layer])


def test_means_on_the_calibration_picture_are_1(full):
    for layer, maps in full[2](calibration_picture()).items():
        assert maps.mean().item() == pytest.approx(1, abs=1e-4), layer


def test_features_are_activations_times_one_factor_a_layer(full):
    _, features, model = full
    expected = torchvision_activations(features, PICTURE)
    means = torchvision_activations(features, calibration_picture())
    for layer, maps in model(PICTURE).items():
        assert_same(maps, expected[layer] / means[layer].mean())


def test_calibration_picture_is_always_the_same_and_natural():
    picture = calibration_picture()
    assert picture.shape == (1, 3, 256, 256) and torch.equal(picture, calibration_picture())
    assert picture.min() >= 0 and picture.max() <= 1
    torch.manual_seed(5)
    state = torch.get_rng_state()
    calibration_picture()
    assert torch.equal(torch.get_rng_state(), state)


def test_nothing_is_trained(full):
    assert list(full[2].parameters()) and not any(parameter.requires_grad for parameter in full[2].parameters())


@pytest.mark.parametrize("architecture", ["VGG-16", "VGG-19"])
@pytest.mark.parametrize("convolutions", [1, 2, 3, 4, 5, 7, 8, 9, 10])
def test_truncated_files_give_the_features_of_the_layers_they_have(architecture, convolutions):
    features = vgg_features(architecture, channels=6)
    expected = torchvision_activations(features, PICTURE)
    layers = list(expected)[:convolutions]
    model = VGG(weights_of(features, convolutions))
    # To relu3_3 both networks have the same convolutions, and such a file counts as VGG-19.
    known_as = architecture if convolutions > 7 else "VGG-19"
    assert model.architecture == known_as
    assert model.style_layers == tuple(layer for layer in STYLE_LAYERS[known_as] if layer in layers)
    assert model.content_layers == (("relu1_1", "relu1_2", "relu2_1", "relu2_2")[min(convolutions, 4) - 1],)
    found = model.activations(PICTURE)
    assert set(found) == {*model.style_layers, *model.content_layers}
    for layer, maps in found.items():
        assert_same(maps, expected[layer])


def test_whole_state_dict_of_torchvision_is_accepted():
    with torch.device("meta"):
        names = torchvision.models.vgg19().state_dict()
    weights = small_vgg_weights(convolutions=None)
    whole = {name: weights.get(name, torch.zeros(2, 2)) for name in names}
    assert "classifier.6.bias" in whole and len(weights) < len(whole)
    for layer, maps in VGG(weights)(PICTURE).items():
        assert torch.equal(VGG(whole)(PICTURE)[layer], maps)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_floating_point_types_are_computed_in_single_precision(dtype):
    weights = {name: value.to(dtype) for name, value in small_vgg_weights().items()}
    expected = VGG({name: value.float() for name, value in weights.items()})(PICTURE)
    for layer, maps in VGG(weights)(PICTURE).items():
        assert maps.dtype == torch.float32 and torch.equal(maps, expected[layer])


def test_weights_are_not_written_to():
    weights = small_vgg_weights()
    before = {name: value.clone() for name, value in weights.items()}
    VGG(weights)(PICTURE)
    assert all(torch.equal(weights[name], value) for name, value in before.items())


def changed(name, change):
    weights = small_vgg_weights()
    if change is None:
        del weights[name]
    else:
        weights[name] = change(weights[name])
    return weights


def spoilt(value, element):
    value = value.clone()
    value.view(-1)[7] = element
    return value


REFUSED = {
    "nothing": ({}, r"features\.0\.weight is missing \(there is nothing\)"),
    "names that are no text": ({0: torch.zeros(1), "a": torch.zeros(1)}, r"features\.0\.weight is missing"),
    "weights one level down": ({"state_dict": small_vgg_weights()}, r"features\.0\.weight is missing .*state_dict"),
    "no first layer": (changed("features.0.weight", None), r"features\.0\.weight is missing"),
    "no bias": (changed("features.2.bias", None), r"features\.2\.bias is missing"),
    "a gap": (changed("features.5.weight", None), "convolutions stand at features"),
    "wrong channel count": (
        changed("features.5.weight", lambda value: value[:, :-1]),
        r"features\.5\.weight .*\[8, 7, 3, 3\] .*where \[filters, 8, 3, 3\] belongs",
    ),
    "wrong length of the bias": (changed("features.5.bias", lambda value: value[:-1]), r"features\.5\.bias .*\[7\]"),
    "five by five": (changed("features.0.weight", lambda value: torch.rand(8, 3, 5, 5)), r"features\.0\.weight .*5, 5"),
    "a flat weight": (changed("features.0.weight", lambda value: value.flatten()), r"features\.0\.weight .*\[216\]"),
    "a single number": (changed("features.0.weight", lambda value: value.sum()), r"features\.0\.weight"),
    "whole numbers": (changed("features.0.weight", lambda value: value.long()), r"features\.0\.weight .*int64"),
    "whole numbers in the bias": (changed("features.2.bias", lambda value: value.int()), r"features\.2\.bias .*int32"),
    "a list for a weight": (changed("features.2.weight", lambda value: value.tolist()), r"features\.2\.weight .*list"),
    "None for a bias": (changed("features.2.bias", lambda value: "text"), r"features\.2\.bias .*str"),
    "not a number": (
        changed("features.2.weight", lambda value: spoilt(value, torch.nan)),
        r"relu\d_1 does not respond .*nan",
    ),
    "infinity": (changed("features.0.bias", lambda value: spoilt(value, torch.inf)), r"relu1_\d .*(inf|nan)"),
    "zeros": (
        {name: torch.zeros_like(value) for name, value in small_vgg_weights().items()},
        r"relu1_1 does not respond",
    ),
    "no filters": (changed("features.0.weight", lambda value: value[:0]), r"features\.0"),
}
OTHER_NETWORKS = {
    "alexnet": "convolutions stand at features",
    "squeezenet1_0": r"features\.\d+\.\w+\.bias belongs to another network",
    "squeezenet1_1": r"features\.\d+\.\w+\.bias belongs to another network",
    "vgg11": "convolutions stand at features",
    "vgg13": "convolutions stand at features",
    "vgg19_bn": r"features\.\d+\.\w+ belongs to another network",
    "resnet18": r"features\.0\.weight is missing",
    "mobilenet_v2": r"features\.0\.weight is missing",
}


@pytest.mark.parametrize("case", REFUSED)
def test_anything_else_is_refused_with_one_sentence(case):
    assert_refused(*REFUSED[case])


@pytest.mark.parametrize("name", OTHER_NETWORKS)
def test_other_networks_are_refused(name):
    assert_refused(other_network(name), OTHER_NETWORKS[name])


def assert_refused(weights, message):
    with pytest.raises(ValueError, match=f"{message}.*{ACCEPTED}") as refusal:
        VGG(weights)
    assert "\n" not in str(refusal.value) and len(str(refusal.value)) < 300


def test_other_entries_beside_the_features_do_not_matter():
    weights = small_vgg_weights()
    model = VGG({**weights, "epoch": 3, "optimizer": {"lr": 0.1}, "avgpool": None})
    assert torch.equal(model(PICTURE)["relu3_1"], VGG(weights)(PICTURE)["relu3_1"])


@pytest.mark.parametrize(
    ("name", "style", "content"),
    [
        ("vgg19_relu3_1", ("relu1_1", "relu2_1", "relu3_1"), "relu2_2"),
        ("vgg16_relu2_2", ("relu1_1", "relu2_1"), "relu2_2"),
    ],
)
def test_trained_weights(name, style, content):
    path = MODELS / name / f"{name}.safetensors"
    if not path.is_file():
        pytest.skip(f"{path} is absent")
    model = VGG(pytest.importorskip("safetensors.torch").load_file(path))
    assert model.style_layers == style and model.content_layers == (content,)
    for maps in model(calibration_picture()).values():
        assert maps.mean().item() == pytest.approx(1, abs=1e-4)
    # Photographs make the layers respond as the calibration picture does, so that weights of the losses hold.
    photograph = to_torch(transform.downscale_local_mean(data.astronaut(), (2, 2, 1)) / 255)
    for maps in model(photograph).values():
        assert 0.4 < maps.mean().item() < 2.5
