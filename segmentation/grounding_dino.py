"""GroundingDINO (Liu et al. 2023): a network that finds what a phrase names. Two libraries compute it, to the same result."""

from pathlib import Path
from typing import Protocol

from torch import Tensor

from . import grounding_dino_package, grounding_dino_transformers
from .grounding_dino_architecture import Architecture

TRANSFORMERS, PACKAGE = "transformers", "groundingdino-py"


class Detector(Protocol):
    """A network in either library; an `nn.Module` in evaluation mode and float32, with parameters that need no gradient.

    text_length: most tokens that a prompt may have, [CLS] and [SEP] included.
    architecture: the network's sizes.
    """

    text_length: int
    architecture: Architecture

    def __call__(self, pixels: Tensor, token_ids: Tensor) -> tuple[Tensor, Tensor]:
        """Look for the prompt's phrases in one picture.

        Args:
            pixels: `[1, 3, H, W]` float32, less ImageNet's mean and divided by its deviation, on the network's device.
            token_ids: `[1, T]` int64 on the same device: [CLS], one or more phrases that each end in "." or "?", [SEP].

        Returns:
            logits `[1, Q, T]`: how well each of Q boxes fits each token, before the sigmoid; and the boxes `[1, Q, 4]`,
            centre x and y, width and height, as fractions of the picture.

        Raises:
            ValueError: if the picture is too small or too thin for the network.
        """
        ...


def detector_from_weights(weights: dict[str, Tensor], backend: str) -> Detector:
    """The network of an original checkpoint, its sizes read from the tensors.

    Args:
        weights: the checkpoint's state dict (that of groundingdino_swint_ogc.pth lies under "model").
        backend: TRANSFORMERS or PACKAGE.

    Raises:
        ValueError: if these are not such weights: a tensor is missing, surplus or of a wrong shape.
        ImportError: if the backend's library is not installed.
    """
    backends = {TRANSFORMERS: grounding_dino_transformers, PACKAGE: grounding_dino_package}
    if backend not in backends:
        raise ValueError(f"the backend is {backend!r}; {' and '.join(backends)} are accepted")
    return backends[backend].from_weights(weights)


def detector_from_folder(folder: Path) -> Detector:
    """The network of a Hugging Face folder: config.json and model.safetensors. transformers computes it.

    Raises:
        ValueError: if the folder holds another network, or weights that do not fit its config.json.
        ImportError: if transformers is not installed.
    """
    return grounding_dino_transformers.from_folder(folder)


def working_bytes(detector: Detector, height: int, width: int, tokens: int) -> int:
    """Bytes that `detector` needs at most at a time, beside its weights, for a picture of so many pixels and such a prompt.

    Counted from what is alive at the two dearest places: deformable attention in the encoder, where every place of the
    maps takes samples from all levels (three copies), beside the text's attention to the maps; and the backbone's first
    stage. Measured peaks in either library are less by 10 to 30 per cent.
    """
    sizes = detector.architecture
    places = sum(rows * columns for rows, columns in sizes.level_sizes(height, width))
    maps = places * sizes.channels
    samples = maps * sizes.levels * sizes.encoder_points
    text_attention = places * tokens * sizes.attention_heads // 2
    encoder = 14 * maps + 3 * samples + 4 * text_attention
    patches = -(-height // sizes.patch) * -(-width // sizes.patch)
    window_attention = patches * sizes.heads[0] * sizes.window**2
    backbone = (8 + 2 * sizes.mlp_ratio) * patches * sizes.embed + 3 * window_attention
    bytes_per_value, margin = 4, 1.1
    return int(margin * bytes_per_value * max(encoder, backbone))
