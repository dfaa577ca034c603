"""VGG-16 and VGG-19 (Simonyan and Zisserman 2015) as feature models, from weights that name layers as torchvision does."""

import re

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .feature_model import FeatureModel, Features, calibration_picture
from .region import Region
from .vgg_region import VGGRegionPass
from .weights import described, is_array

# Convolutions in each block; pooling halves the picture between blocks. Layer i of the network is `features.i`.
BLOCKS = {"VGG-16": (2, 2, 3, 3, 3), "VGG-19": (2, 2, 4, 4, 4)}
# Gatys et al. 2016 for VGG-19; the public code of Deep Image Blending for VGG-16.
STYLE_LAYERS = {
    "VGG-16": ("relu1_2", "relu2_2", "relu3_3", "relu4_3"),
    "VGG-19": ("relu1_1", "relu2_1", "relu3_1", "relu4_1"),
}
CONTENT_LAYERS = ("relu2_2", "relu2_1", "relu1_2", "relu1_1")  # the first of them that the file has
IMAGENET_MEAN, IMAGENET_DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
ACCEPTED = "weights of VGG-16 or VGG-19 with torchvision's names (features.0.weight, features.0.bias, ...) are accepted"


class VGG(FeatureModel):
    """The convolutions up to the deepest layer that the losses use; what lies beyond is not kept.

    architecture: "VGG-16" or "VGG-19". A file cut off before the two differ (at relu3_3) counts as VGG-19.
    """

    takes_bfloat16 = True

    def __init__(self, weights: dict[str, Tensor]):
        """Take weights with torchvision's names, of a whole or a truncated network; other entries than
        `features` are left aside, and so are convolutions deeper than the deepest style layer.

        Raises:
            ValueError: if these are not the weights of such a network.
        """
        super().__init__()
        present = _convolutions(weights)
        self.architecture = _architecture(present)
        names = _layer_names(self.architecture)
        layers = [names[index] for index in sorted(present)]
        self.style_layers = tuple(layer for layer in STYLE_LAYERS[self.architecture] if layer in layers)
        self.content_layers = (next(layer for layer in CONTENT_LAYERS if layer in layers),)
        needed = max(layers.index(layer) for layer in (*self.style_layers, *self.content_layers))
        self.layers = layers[: needed + 1]
        self.pools = [layer.endswith("_1") and layer != "relu1_1" for layer in self.layers]  # before it
        self.convolutions = nn.ModuleList()
        channels = 3
        for index in sorted(present)[: needed + 1]:
            weight, bias = weights[f"features.{index}.weight"], weights.get(f"features.{index}.bias")
            _check_convolution(index, weight, bias, channels)
            channels = len(weight)
            convolution = nn.Conv2d(weight.shape[1], channels, 3, padding=1, device="meta")
            convolution.load_state_dict({"weight": weight.float(), "bias": bias.float()}, assign=True)
            self.convolutions.append(convolution)
        self.requires_grad_(False)
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1))
        self.register_buffer("deviation", torch.tensor(IMAGENET_DEVIATION).view(1, 3, 1, 1))
        widths = dict(zip(self.layers, (convolution.out_channels for convolution in self.convolutions), strict=True))
        self.channels = {layer: widths[layer] for layer in self.style_layers}
        self.strides, self.reach, self.values_per_pixel = self._geometry()
        self.gains = self._calibrate()

    def forward(self, picture: Tensor) -> Features:
        return {layer: self.gains[layer] * maps for layer, maps in self.activations(picture).items()}

    def activations(self, picture: Tensor) -> Features:
        """Activations of the layers that the losses use, as torchvision's network gives them."""
        maps, activations = self.normalised(picture), {}
        for layer, pools, convolution in zip(self.layers, self.pools, self.convolutions, strict=True):
            if pools:
                maps = F.max_pool2d(maps, 2)
            maps = F.relu(convolution(maps))
            if layer in self.style_layers or layer in self.content_layers:
                activations[layer] = maps
        return activations

    def normalised(self, picture: Tensor) -> Tensor:
        """What goes into the first convolution, with the channels last: convolutions are faster then."""
        return ((picture - self.mean) / self.deviation).contiguous(memory_format=torch.channels_last)

    def region_pass(self, target: Tensor, box: Region, everything: bool) -> VGGRegionPass:
        return VGGRegionPass(self, target, box, everything)

    def _geometry(self) -> tuple[dict[str, int], int, float]:
        """Strides of the kept layers; the reach, to which each convolution adds its stride and each pooling that before
        it; and the number of activations per pixel."""
        strides, reach, stride, values = {}, 0, 1, 0.0
        for layer, pools, convolution in zip(self.layers, self.pools, self.convolutions, strict=True):
            if pools:
                reach, stride = reach + stride, 2 * stride
            reach += stride
            values += 2 * convolution.out_channels / stride**2  # before and after rectification
            strides[layer] = stride
        kept = {*self.style_layers, *self.content_layers}
        return {layer: stride for layer, stride in strides.items() if layer in kept}, reach, values

    def _calibrate(self) -> dict[str, float]:
        """Factors that give every layer a mean of 1 on the calibration picture."""
        with torch.no_grad():
            means = {layer: float(maps.mean()) for layer, maps in self.activations(calibration_picture()).items()}
        silent = [layer for layer, mean in means.items() if not 0 < mean < float("inf")]
        if silent:
            raise ValueError(f"{silent[0]} does not respond to a picture (mean {means[silent[0]]}); {ACCEPTED}")
        return {layer: 1 / mean for layer, mean in means.items()}


def _convolutions(weights: dict[str, Tensor]) -> set[int]:
    """Places in `features` of all convolutions that the weights hold."""
    names = sorted(map(str, weights))
    places = {int(match[1]) for name in names if (match := re.fullmatch(r"features\.(\d+)\.weight", name))}
    if 0 not in places:
        raise ValueError(f"features.0.weight is missing (there is {', '.join(names[:3]) or 'nothing'}); {ACCEPTED}")
    for name in names:  # the first layer of SqueezeNet looks like one of VGG
        if name.startswith("features.") and not re.fullmatch(r"features\.\d+\.(weight|bias)", name):
            raise ValueError(f"{name} belongs to another network; {ACCEPTED}")
    return places


def _architecture(present: set[int]) -> str:
    for architecture in ("VGG-19", "VGG-16"):
        places = list(_layer_names(architecture))
        if present == set(places[: len(present)]):
            return architecture
    raise ValueError(f"convolutions stand at features {sorted(present)}, where neither network has them; {ACCEPTED}")


def _layer_names(architecture: str) -> dict[int, str]:
    """Names of the layers by the place of their convolution: {0: "relu1_1", 2: "relu1_2", 5: "relu2_1", ...}."""
    names, place = {}, 0
    for block, count in enumerate(BLOCKS[architecture], 1):
        for index in range(1, count + 1):
            names[place] = f"relu{block}_{index}"
            place += 2  # a convolution and its rectification
        place += 1  # pooling
    return names


def _check_convolution(place: int, weight: object, bias: object, channels: int) -> None:
    if not is_array(weight) or weight.dim() != 4 or tuple(weight.shape[1:]) != (channels, 3, 3):
        raise ValueError(
            f"features.{place}.weight is {described(weight)} where [filters, {channels}, 3, 3] belongs; {ACCEPTED}"
        )
    if not is_array(bias) or tuple(bias.shape) != (len(weight),):
        raise ValueError(f"features.{place}.bias is {described(bias)} where [{len(weight)}] belongs; {ACCEPTED}")
