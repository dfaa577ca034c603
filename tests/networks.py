"""Feature networks for tests, built by torchvision, with weights that are random but always the same."""

import torch
from torch import nn
from torchvision.models.vgg import cfgs, make_layers

CONFIGURATIONS = {"VGG-16": "D", "VGG-19": "E"}


def vgg_features(architecture, channels=None, seed=0):
    """torchvision's `features` of a VGG; channels: the same number in every layer instead of its own."""
    layers = [channels if channels and size != "M" else size for size in cfgs[CONFIGURATIONS[architecture]]]
    with torch.device("meta"):
        features = make_layers(layers)
    features = features.to_empty(device="cpu")
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for module in features:
            if isinstance(module, nn.Conv2d):
                spread = (2 / (9 * module.in_channels)) ** 0.5
                module.weight.copy_(spread * torch.randn(module.weight.shape, generator=generator))
                module.bias.copy_(0.1 * torch.randn(module.bias.shape, generator=generator))
    return features


def weights_of(features, convolutions=None):
    """Weights by torchvision's names, of the first so many convolutions."""
    places = [place for place, module in enumerate(features) if isinstance(module, nn.Conv2d)][:convolutions]
    parts = {f"features.{place}": features[place] for place in places}
    return {f"{name}.{kind}": getattr(part, kind).data for name, part in parts.items() for kind in ("weight", "bias")}


def small_vgg_weights(architecture="VGG-19", channels=8, convolutions=5, seed=0):
    """Weights of a narrow network; of VGG-19 to relu3_1."""
    return weights_of(vgg_features(architecture, channels, seed), convolutions)
