"""Sizes of a GroundingDINO network (Liu et al. 2023): read from the tensors of an original checkpoint, and checked.

The published Swin-T and Swin-B networks are two cases of it; a small random network for a test is another.
"""

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass

from torch import Tensor

from .grounding_dino_names import tensor_names

# What no tensor tells: how many channels each head of an attention gets, in both published networks.
CHANNELS_PER_HEAD = 32
CHANNELS_PER_TEXT_HEAD = 64
# Tensors that the official files hold beside the network's: computed tables, and parts that only training uses.
LEFT_ASIDE = (
    r"backbone\.0\.layers\.\d+\.blocks\.\d+\.attn\.relative_position_index",
    r"bert\.embeddings\.position_ids",
    r"bert\.pooler\.dense\.(weight|bias)",
    r"label_enc\.weight",
)
ACCEPTED = "weights of GroundingDINO as its authors publish them (groundingdino_swint_ogc.pth and its kin) are accepted"
OTHER_NETWORKS = {
    r"image_encoder\.|mask_decoder\.|vision_encoder\.": "weights of Segment Anything; they belong in the SAM loader",
    r"language_model\.|bbox_head\.|backbone\.patch_embed\.projection": "GroundingDINO in the form of mmdetection",
    r"model\.(backbone\.conv_encoder|text_backbone|encoder|decoder|input_proj_vision)\.": (
        "GroundingDINO with Hugging Face's names; keep the file in a folder with its config.json and choose the folder"
    ),
}


@dataclass(frozen=True)
class Architecture:
    """Numbers of layers, channels and so on; `outputs` are the stages of the backbone, from 0, whose maps are used."""

    patch: int
    embed: int
    depths: tuple[int, ...]
    heads: tuple[int, ...]
    window: int
    mlp_ratio: float
    outputs: tuple[int, ...]
    channels: int
    levels: int
    queries: int
    attention_heads: int
    feed_forward: int
    encoder_layers: int
    decoder_layers: int
    encoder_points: int
    decoder_points: int
    text_tokens: int
    text_positions: int
    text_types: int
    text_channels: int
    text_heads: int
    text_layers: int
    text_feed_forward: int

    def level_sizes(self, height: int, width: int) -> list[tuple[int, int]]:
        """Height and width of each level of the maps that a picture of so many pixels is turned into."""
        size, sizes = (math.ceil(height / self.patch), math.ceil(width / self.patch)), []
        for stage in range(len(self.depths)):
            if stage in self.outputs:
                sizes.append(size)
            size = (math.ceil(size[0] / 2), math.ceil(size[1] / 2))
        while len(sizes) < self.levels:
            sizes.append((math.ceil(sizes[-1][0] / 2), math.ceil(sizes[-1][1] / 2)))
        return sizes

    def require_enough_places(self, height: int, width: int) -> None:
        """Raise ValueError with a sentence if the picture is too small or too thin for the network.

        The network's queries start at as many different places of the maps, and neither library runs with fewer places.
        """
        places = sum(rows * columns for rows, columns in self.level_sizes(height, width))
        if places < self.queries:
            raise ValueError(
                f"the picture of {width}×{height} pixels gives GroundingDINO {places} places to look at, "
                f"{self.queries} are needed; a larger picture, or one that is less narrow, is accepted"
            )


def original_weights(weights: dict[str, Tensor]) -> tuple[dict[str, Tensor], Architecture]:
    """The tensors that make up the network, under the authors' names and in float32, and its sizes.

    Args:
        weights: the state dict of an original checkpoint; a prefix `module.`, which parallel training leaves, is dropped.

    Raises:
        ValueError: if a tensor of the network is missing, or there is one that does not belong to it.
    """
    if not isinstance(weights, dict) or not weights:
        raise ValueError(f"there are no weights in the file; {ACCEPTED}")
    weights = {str(name).removeprefix("module."): value for name, value in weights.items()}
    for name, value in weights.items():
        for pattern, description in OTHER_NETWORKS.items():
            if re.match(pattern, name):
                raise ValueError(f"{name} is of {description}; {ACCEPTED}")
        if not isinstance(value, Tensor):
            raise ValueError(f"{name} is a {type(value).__name__} where a tensor belongs; {ACCEPTED}")
    architecture = _architecture(weights)
    needed = tensor_names(architecture)
    missing = [name for name in needed if name not in weights]
    if missing:
        raise ValueError(f"{listed(missing)} missing; {ACCEPTED}")
    surplus = [name for name in weights if name not in needed and not re.fullmatch("|".join(LEFT_ASIDE), name)]
    if surplus:
        raise ValueError(f"{listed(surplus)} not part of the network; {ACCEPTED}")
    for name in needed:
        if not weights[name].is_floating_point() or not weights[name].dim():
            found = f"{list(weights[name].shape)} of {weights[name].dtype}"
            raise ValueError(f"{name} is {found} where an array of floating-point numbers belongs; {ACCEPTED}")
        # Every layer corrects the boxes with one and the same part; neither library can be relied on for several.
        twice = re.fullmatch(r"(?:transformer\.decoder\.)?bbox_embed\.\d+\.(.*)", name)
        if twice and not weights[name].equal(weights[f"bbox_embed.0.{twice[1]}"]):
            raise ValueError(f"{name} differs from bbox_embed.0.{twice[1]}; {ACCEPTED}")
    return {name: weights[name].float() for name in needed}, architecture


def listed(names: Iterable[str]) -> str:
    """The first few names as the subject of a sentence, with "is" or "are"."""
    names = sorted(names)
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"{', '.join(names[:3])}{more} {'is' if len(names) == 1 else 'are'}"


def _architecture(weights: dict[str, Tensor]) -> Architecture:
    def shape(name: str, dimensions: int) -> list[int]:
        if name not in weights:
            raise ValueError(f"{name} is missing (there is {', '.join(sorted(weights)[:3])}); {ACCEPTED}")
        if weights[name].dim() != dimensions or 0 in weights[name].shape:
            raise ValueError(f"{name} has the shape {list(weights[name].shape)}; {ACCEPTED}")
        return list(weights[name].shape)

    def count(prefix: str) -> int:
        return len(
            {match[1] for name in weights if (match := re.match(prefix.replace(".", r"\.") + r"\.(\d+)\.", name))}
        )

    def points(attention: str) -> int:
        return max(1, shape(f"{attention}.sampling_offsets.bias", 1)[0] // (2 * attention_heads * levels))

    embed, _, patch, _ = shape("backbone.0.patch_embed.proj.weight", 4)
    stages = count("backbone.0.layers")
    blocks = "backbone.0.layers.{}.blocks.0"
    tables = [shape(f"{blocks.format(stage)}.attn.relative_position_bias_table", 2) for stage in range(stages)]
    levels, channels = shape("transformer.level_embed", 2)
    attention_heads = max(1, channels // CHANNELS_PER_HEAD)
    text_tokens, text_channels = shape("bert.embeddings.word_embeddings.weight", 2)
    decoder_layers = count("transformer.decoder.layers")
    return Architecture(
        patch=patch,
        embed=embed,
        depths=tuple(count(f"backbone.0.layers.{stage}.blocks") for stage in range(stages)),
        heads=tuple(heads for _, heads in tables),
        window=(math.isqrt(tables[0][0]) + 1) // 2 if tables else 0,
        mlp_ratio=shape(f"{blocks.format(0)}.mlp.fc1.weight", 2)[0] / embed,
        outputs=tuple(stage for stage in range(stages) if f"backbone.0.norm{stage}.weight" in weights),
        channels=channels,
        levels=levels,
        queries=shape("transformer.tgt_embed.weight", 2)[0],
        attention_heads=attention_heads,
        feed_forward=shape("transformer.encoder.layers.0.linear1.weight", 2)[0],
        encoder_layers=count("transformer.encoder.layers"),
        decoder_layers=decoder_layers,
        encoder_points=points("transformer.encoder.layers.0.self_attn"),
        decoder_points=points("transformer.decoder.layers.0.cross_attn"),
        text_tokens=text_tokens,
        text_positions=shape("bert.embeddings.position_embeddings.weight", 2)[0],
        text_types=shape("bert.embeddings.token_type_embeddings.weight", 2)[0],
        text_channels=text_channels,
        text_heads=max(1, text_channels // CHANNELS_PER_TEXT_HEAD),
        text_layers=count("bert.encoder.layer"),
        text_feed_forward=shape("bert.encoder.layer.0.intermediate.dense.weight", 2)[0],
    )
