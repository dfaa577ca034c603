"""Learned perceptual image patch similarity (Zhang, Isola, Efros, Shechtman and Wang 2018), LPIPS v0.1 with SqueezeNet 1.1."""

from pathlib import Path

import torch
import torch.nn.functional as F
import torchvision
from safetensors.torch import load_file
from torch import Tensor, nn

# Where in torchvision's `features` each compared layer ends.
LAYER_ENDS = (2, 5, 8, 10, 11, 12, 13)
# Of colours in -1..1, as in the authors' code.
MEAN, DEVIATION = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
EPSILON = 1e-10  # added to the length of a feature vector before it is divided by it

BACKBONE = Path("squeezenet1_1", "squeezenet1_1_fp16.safetensors")
HEADS = Path("lpips_squeeze", "lpips_squeeze_lin_v0.1.safetensors")


class LPIPS(nn.Module):
    """Distance of two pictures as people see it: 0 for equal ones, about 0.1 for a visible change, 0.7 for unlike pictures.

    Features of seven layers, each vector divided by its length; squared differences, weighted per channel, mean over the
    places, sum over the layers.
    """

    def __init__(self, backbone: dict[str, Tensor], heads: dict[str, Tensor]):
        """backbone: weights of SqueezeNet 1.1 with torchvision's names; heads: `linK.model.1.weight`, `[1, channels, 1, 1]`,
        K from 0."""
        super().__init__()
        network = torchvision.models.squeezenet1_1(weights=None)
        network.load_state_dict({name: value.float() for name, value in backbone.items()})
        starts = (0, *LAYER_ENDS[:-1])
        self.slices = nn.ModuleList(network.features[start:end] for start, end in zip(starts, LAYER_ENDS, strict=True))
        self.heads = nn.ParameterList(heads[f"lin{index}.model.1.weight"].float() for index in range(len(LAYER_ENDS)))
        self.register_buffer("mean", torch.tensor(MEAN).view(3, 1, 1))
        self.register_buffer("deviation", torch.tensor(DEVIATION).view(3, 1, 1))
        self.eval().requires_grad_(False)

    def forward(self, image: Tensor, reference: Tensor) -> Tensor:
        """Of pictures `[B, 3, H, W]` in 0..1, at least 31 pixels a side: `[B]`."""
        maps = [(2 * picture - 1 - self.mean) / self.deviation for picture in (image, reference)]
        distance = image.new_zeros(len(image))
        for part, head in zip(self.slices, self.heads, strict=True):
            maps = [part(values) for values in maps]
            first, second = (values / (values.square().sum(1, keepdim=True).sqrt() + EPSILON) for values in maps)
            distance = distance + F.conv2d((first - second).square(), head).mean((1, 2, 3))
        return distance


def find_lpips(models: Path) -> LPIPS | None:
    """The network of the files in a folder of models; None if they are not there."""
    paths = models / BACKBONE, models / HEADS
    return LPIPS(*map(load_file, paths)) if all(path.is_file() for path in paths) else None
