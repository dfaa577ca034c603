"""PAN, which enlarges pictures 2, 3 or 4 times (Zhao, Kong, He, Qiao and Dong, "Efficient Image Super-Resolution Using Pixel
Attention", 2020).

Pixel attention weighs every value of the feature maps by a number of its own, between 0 and 1, that a 1 x 1 convolution
finds. Blocks of two branches, one with it and one without, work at the picture's size; then the maps are enlarged to
nearest neighbours and refined; what comes out is added to the picture, enlarged bilinearly. Modules have the names that
their weights have in the authors' files.
"""

import math
import re
from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .weights import described, is_array

NEGATIVE_SLOPE = 0.2  # of all rectifications
DIVERGENCE_MARGIN = 4  # pixels of the picture that goes in
ACCEPTED = "weights of PAN with its authors' names (conv_first.weight, SCPA_trunk.0.conv1_a.weight, ...) are accepted"
NAMES = re.compile(
    r"(conv_first|trunk_conv|upconv[12]|att[12]\.conv|HRconv[12]|conv_last|SCPA_trunk\.\d+\.PAConv\.k2)\.(weight|bias)"
    r"|SCPA_trunk\.\d+\.(conv1_[ab]|k1\.0|PAConv\.k[34]|conv3)\.weight"
)
TYPICAL_NAMES = {"SCPA_trunk.0.PAConv.k2.weight", "att1.conv.weight"}


def is_pan(names: Iterable[object]) -> bool:
    """Whether these are the names of PAN's weights, perhaps not of all; one that is not PAN's makes it another network."""
    names = {str(name) for name in names}
    return names >= TYPICAL_NAMES and all(NAMES.fullmatch(name) for name in names)


class PAN(nn.Module):
    """The network, in the precision of float32.

    scale: 2, 3 or 4. channels, finer_channels: of the feature maps at the picture's size, and of those enlarged. blocks: how
    many there are.
    """

    def __init__(self, weights: dict[str, Tensor]):
        """Number and width of the layers follow the weights, which are copied.

        Two stages of enlargement are those of x4. A file with one stage is for x2 or x3 and has the same tensors in either
        case, so the network is tried at both: the scale is that at which it restores a picture better.

        Raises:
            ValueError: if these are not the weights of such a network.
        """
        super().__init__()

        def width(name: str) -> int:
            value = weights.get(name)
            if not is_array(value) or value.dim() != 4 or not len(value):
                raise ValueError(f"{name} is {described(value)} where the weights of a convolution belong; {ACCEPTED}")
            return len(value)

        channels, finer_channels = width("conv_first.weight"), width("upconv1.weight")
        branch = width("SCPA_trunk.0.conv1_a.weight")
        self.channels, self.finer_channels = channels, finer_channels
        self.blocks = len({match[1] for name in weights if (match := re.match(r"SCPA_trunk\.(\d+)\.", str(name)))})
        self.factors = (2, 2) if "upconv2.weight" in weights else (2,)
        with torch.device("meta"):
            self.conv_first = nn.Conv2d(3, channels, 3, padding=1)
            self.SCPA_trunk = nn.Sequential(*(SelfCalibratedBlock(channels, branch) for _ in range(self.blocks)))
            self.trunk_conv = nn.Conv2d(channels, channels, 3, padding=1)
            for stage in range(1, len(self.factors) + 1):
                coarser_channels = channels if stage == 1 else finer_channels
                self.add_module(f"upconv{stage}", nn.Conv2d(coarser_channels, finer_channels, 3, padding=1))
                self.add_module(f"att{stage}", PixelAttention(finer_channels))
                self.add_module(f"HRconv{stage}", nn.Conv2d(finer_channels, finer_channels, 3, padding=1))
            self.conv_last = nn.Conv2d(finer_channels, 3, 3, padding=1)
        _check(weights, self.state_dict())
        self.to_empty(device="cpu").requires_grad_(False)
        self.load_state_dict(weights)
        if len(self.factors) == 1:
            self.factors = (max(2, 3, key=self._restores),)

    @property
    def scale(self) -> int:
        return math.prod(self.factors)

    def forward(self, picture: Tensor) -> Tensor:
        """Enlarge `[B, 3, H, W]` in 0..1 to `[B, 3, scale * H, scale * W]`, which can lie a little outside of 0..1.

        Raises:
            ValueError: if the picture does not have three channels.
        """
        if picture.shape[1] != 3:
            raise ValueError(
                f"the picture has {picture.shape[1]} channels where PAN takes the 3 of RGB; split its alpha channel off before"
            )
        maps = self.conv_first(picture)
        maps = maps + self.trunk_conv(self.SCPA_trunk(maps))
        for stage, factor in enumerate(self.factors, 1):
            convolution, attention, refinement = (
                self.get_submodule(f"{name}{stage}") for name in ("upconv", "att", "HRconv")
            )
            maps = convolution(F.interpolate(maps, scale_factor=factor, mode="nearest"))
            maps = rectified(refinement(rectified(attention(maps))))
        return self._plausible(self.conv_last(maps)) + _bilinear(picture, self.scale)

    def _plausible(self, detail: Tensor) -> Tensor:
        """What is added to the picture, and nothing where the network has diverged, nor close to there.

        On glints a few pixels wide the published weights can give values of 10^8, and noise is all that can be seen. From
        one picture in 0..1 to another no detail is larger than 1; that of Set5 and Set14 is not.
        """
        diverged = ~(detail.abs().amax(1, keepdim=True) <= 1)  # in half precision it may be no number at all
        if diverged.any():
            reach = DIVERGENCE_MARGIN * self.scale
            near = F.max_pool2d(diverged.to(detail), 2 * reach + 1, stride=1, padding=reach) > 0
            detail = torch.where(near, torch.zeros_like(detail), detail)
        return detail

    def _restores(self, scale: int) -> float:
        """By what factor the squared error of bilinear enlargement is larger, on a disc that was reduced; at this scale."""
        self.factors = (scale,)
        truth = _disc()
        # The reduction of the training pictures, with the kernel that MATLAB's imresize has.
        reduced = F.interpolate(truth, scale_factor=1 / scale, mode="bicubic", antialias=True)
        with torch.no_grad():
            errors = [(picture - truth).square().mean() for picture in (_bilinear(reduced, scale), self(reduced))]
        return float(errors[0] / errors[1])


class PixelAttention(nn.Module):
    """Every value times its own weight between 0 and 1."""

    def __init__(self, channels: int):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 1)

    def forward(self, maps: Tensor) -> Tensor:
        return maps * self.conv(maps).sigmoid()


class PixelAttentionConvolution(nn.Module):
    """Two convolutions, with pixel attention between them that is found from what goes into the first."""

    def __init__(self, channels: int):
        super().__init__()
        self.k2 = nn.Conv2d(channels, channels, 1)
        self.k3 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.k4 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)

    def forward(self, maps: Tensor) -> Tensor:
        return self.k4(self.k3(maps) * self.k2(maps).sigmoid())


class SelfCalibratedBlock(nn.Module):
    """SC-PA block: a branch with a plain convolution and one with pixel attention, joined and added to what went in."""

    def __init__(self, channels: int, branch: int):
        super().__init__()
        self.conv1_a = nn.Conv2d(channels, branch, 1, bias=False)
        self.conv1_b = nn.Conv2d(channels, branch, 1, bias=False)
        self.k1 = nn.Sequential(nn.Conv2d(branch, branch, 3, padding=1, bias=False))
        self.PAConv = PixelAttentionConvolution(branch)
        self.conv3 = nn.Conv2d(2 * branch, channels, 1, bias=False)

    def forward(self, maps: Tensor) -> Tensor:
        plain = rectified(self.k1(rectified(self.conv1_a(maps))))
        attended = rectified(self.PAConv(rectified(self.conv1_b(maps))))
        return maps + self.conv3(torch.cat([plain, attended], 1))


def rectified(maps: Tensor) -> Tensor:
    return F.leaky_relu(maps, NEGATIVE_SLOPE)


def _bilinear(picture: Tensor, scale: int) -> Tensor:
    return F.interpolate(picture, scale_factor=scale, mode="bilinear", align_corners=False)


def _disc() -> Tensor:
    """A light disc on dark ground, its edge about one pixel soft: `[1, 3, 96, 96]`, which 2 and 3 divide."""
    y, x = torch.meshgrid(torch.arange(96.0), torch.arange(96.0), indexing="ij")
    distance = torch.hypot(y - 47.5, x - 45.5)
    return (0.1 + 0.8 * torch.sigmoid(4 * (28.8 - distance))).expand(1, 3, -1, -1).contiguous()


def _check(weights: dict[str, Tensor], needed: dict[str, Tensor]) -> None:
    for name in weights:
        if name not in needed:
            raise ValueError(f"{name} is not part of the network; {ACCEPTED}")
    for name, place in needed.items():
        value = weights.get(name)
        if not is_array(value) or value.shape != place.shape:
            raise ValueError(f"{name} is {described(value)} where {list(place.shape)} belongs; {ACCEPTED}")
        if not value.isfinite().all():
            raise ValueError(f"{name} holds numbers that are not finite; {ACCEPTED}")
