"""What a feature model is: a fixed network whose activations the content, style and histogram losses compare."""

from abc import ABC, abstractmethod
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .region import Region

Features = dict[str, Tensor]

CALIBRATION_SIZE = 256
# Standard deviations along luminance, red-green and yellow-blue, and the fall of the amplitude with the frequency: with
# them VGG-19 responds to the noise as strongly as to photographs and paintings.
CALIBRATION_SPREAD = (0.22, 0.03, 0.06)
CALIBRATION_FALL = 1.5
TILE = 512  # pixels; statistics of a whole picture are gathered from tiles of this side


class FeatureModel(nn.Module):
    """Called with a picture `[B, 3, H, W]` in 0..1, it gives its features by layer: `[B, N_l, H / stride, W / stride]`.

    Sizes are rounded down. All layers are scaled so that their activations are of the order of 1, so that one set of loss
    weights serves every model.

    style_layers, content_layers: the layers that each loss compares.
    strides: of each layer, in pixels of the picture.
    channels: of each style layer, the N_l.
    reach: how far, in pixels, a pixel of the picture can be from the features that it has a part in.
    values_per_pixel: of all activations together, for each pixel of the picture.
    takes_bfloat16: whether its region pass can compute in that type, at a gain.
    """

    style_layers: tuple[str, ...]
    content_layers: tuple[str, ...]
    strides: dict[str, int]
    channels: dict[str, int]
    reach: int
    values_per_pixel: float
    takes_bfloat16 = False

    @property
    def alignment(self) -> int:
        """A part of a picture that begins at a multiple of it has its features where the whole picture has them."""
        return max(self.strides.values())

    def layer_masks(self, mask: Tensor) -> Features:
        """The mask `[B, 1, H, W]` averaged over the pixels of each feature."""
        return {layer: mask if stride == 1 else F.avg_pool2d(mask, stride) for layer, stride in self.strides.items()}

    def region_pass(self, target: Tensor, box: Region, everything: bool) -> "RegionPass":
        """For pictures that equal the target `[1, 3, H, W]` outside of a box. everything: whether all features are read that
        can differ from the target's, or only those over the box."""
        raise NotImplementedError


class RegionPass(ABC):
    """The same features as the model's, but only where they can differ from the target's and are read.

    places: of each layer, the rows and columns of what the model gives for the whole picture.
    """

    places: dict[str, Region]

    @abstractmethod
    def __call__(self, picture: Tensor) -> Features:
        """Of a picture `[1, 3, H, W]` that equals the target outside of the box, the features in `places`."""

    def in_bfloat16(self) -> "RegionPass":
        """The same with weights, activations and features of that type, if the model takes it."""
        raise NotImplementedError


def cells_over(span: slice, stride: int, length: int) -> slice:
    """Of `length` features along an axis, those over a span of pixels; the last if it lies in what is left over behind."""
    return slice(min(span.start // stride, length - 1), min(-(-span.stop // stride), length))


def aligned_region(region: Region, size: tuple[int, int], model: FeatureModel) -> Region:
    """The region grown until the features over it are those of the whole picture of that size (height, width)."""
    margin, step = model.reach, model.alignment
    return tuple(
        slice(max(part.start - margin, 0) // step * step, min(-(-(part.stop + margin) // step) * step, length))
        for part, length in zip(region, size, strict=True)
    )


def features_in_tiles(model: FeatureModel, picture: Tensor, tile: int = TILE) -> Iterator[tuple[Features, Region]]:
    """The features of a picture of any size, tile by tile: their maps, and the part of the picture each belongs to.

    Joined, they equal `model(picture)`. tile: pixels, a multiple of the model's alignment.
    """
    height, width = picture.shape[-2:]
    for rows in _tiles(height, tile, model.alignment):
        for columns in _tiles(width, tile, model.alignment):
            inner = rows, columns
            outer = aligned_region(inner, (height, width), model)
            maps = model(picture[(..., *outer)])
            for layer, stride in model.strides.items():
                if layer in maps:
                    part = (
                        slice(
                            (i.start - o.start) // stride, (i.start - o.start) // stride + (i.stop - i.start) // stride
                        )
                        for i, o in zip(inner, outer, strict=True)
                    )
                    maps[layer] = maps[layer][(..., *part)]
            yield maps, inner


def _tiles(length: int, tile: int, least: int) -> list[slice]:
    """Parts of `tile` pixels; what is left over at the end joins the last if it is less than `least`."""
    starts = list(range(0, max(length - least + 1, 1), tile))
    return [slice(start, stop) for start, stop in zip(starts, [*starts[1:], length], strict=True)]


def calibration_picture() -> Tensor:
    """Noise with the spectrum and the spread of colours of natural pictures, `[1, 3, 256, 256]`: always the same picture."""
    size = CALIBRATION_SIZE
    rows, columns = torch.meshgrid(torch.fft.fftfreq(size), torch.fft.fftfreq(size), indexing="ij")
    frequency = torch.hypot(rows, columns)
    frequency[0, 0] = 1
    noise = torch.randn(3, size, size, generator=torch.Generator().manual_seed(0))
    noise = torch.fft.ifft2(torch.fft.fft2(noise) / frequency**CALIBRATION_FALL).real
    noise = (noise - noise.mean((1, 2), keepdim=True)) / noise.std((1, 2), keepdim=True)
    luminance, red_green, yellow_blue = (
        spread * plane for spread, plane in zip(CALIBRATION_SPREAD, noise, strict=True)
    )
    red, green, blue = luminance + red_green + yellow_blue, luminance - red_green + yellow_blue, luminance - yellow_blue
    return (0.45 + torch.stack([red, green, blue])[None]).clamp(0, 1)
