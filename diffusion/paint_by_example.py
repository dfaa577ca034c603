"""The parts of a Paint by Example model, from either of its two file formats under the same names."""

import math
import re
from collections.abc import Mapping
from typing import NamedTuple

from torch import Tensor

ACCEPTED = (
    "the authors' checkpoint (model.ckpt, or saved anew as .safetensors) and their folder for diffusers "
    "(Fantasy-Studio/Paint-by-Example) are accepted"
)
INPUT_CHANNELS = 9  # of the diffusion model: the latent, the masked picture's latent, the mask
HEAD_WIDTH = 64  # channels that a head of attention has in all of OpenAI's CLIP models

# What the parts of a block of the mapper are called in the files, and in an `ExemplarMapper`.
_CHECKPOINT_BLOCK = {
    "ln_1": "value_norm",
    "attn.c_qkv": "value",
    "attn.c_proj": "output",
    "ln_2": "hidden_norm",
    "mlp.c_fc": "widen",
    "mlp.c_proj": "narrow",
}
_FOLDER_BLOCK = {
    "norm1": "value_norm",
    "attn1.to_v": "value",
    "attn1.to_out.0": "output",
    "norm3": "hidden_norm",
    "ff.net.0.proj": "widen",
    "ff.net.2": "narrow",
}
_CHANNELS_IN = ("input_blocks.0.0.weight", "conv_in.weight")  # the diffusion model's first layer, by either naming


class Parts(NamedTuple):
    """Weights by name.

    diffusion: the diffusion model, under the authors' names without a prefix or under those of diffusers.
    vision: CLIP's image encoder, with the names of transformers: "vision_model.embeddings...". Older files hold more,
        which the network has no use for.
    mapper: an `ExemplarMapper`.
    unconditional: `[1, 1, token width]`, the token learned for no exemplar at all.
    autoencoder: the VAE, under either naming as `diffusion`.
    """

    diffusion: dict[str, Tensor]
    vision: dict[str, Tensor]
    mapper: dict[str, Tensor]
    unconditional: Tensor
    autoencoder: dict[str, Tensor]


def parts_of_checkpoint(weights: Mapping[str, Tensor]) -> Parts:
    """Of the authors' single file.

    Raises:
        ValueError: if these are the weights of something else, or some of ours are missing.
    """
    diffusion = _below("model.diffusion_model.", weights)
    if not diffusion:
        raise ValueError(f"there is no diffusion model with the authors' names in it; {ACCEPTED}")
    if "learnable_vector" not in weights:
        raise ValueError(
            f"it is a Stable Diffusion checkpoint but not one of Paint by Example: learnable_vector is missing; {ACCEPTED}"
        )
    mapper = _mapper(weights, "cond_stage_model.mapper.resblocks.", _CHECKPOINT_BLOCK, "cond_stage_model.final_ln.")
    # Queries, keys and values are one tensor there. Cloned, since ComfyUI may read tensors again from their place in a file.
    values = {name: value.chunk(3)[2].clone() for name, value in mapper.items() if ".value." in name}
    return _checked(
        diffusion,
        _below("cond_stage_model.transformer.", weights),
        mapper | values,
        weights["learnable_vector"],
        _below("first_stage_model.", weights),
    )


def parts_of_folder(
    diffusion: Mapping[str, Tensor], image_encoder: Mapping[str, Tensor], autoencoder: Mapping[str, Tensor]
) -> Parts:
    """Of what lies in unet, image_encoder and vae of the folder for diffusers; raises as `parts_of_checkpoint` does."""
    if "uncond_vector" not in image_encoder:
        raise ValueError(f"its image encoder is not that of Paint by Example: uncond_vector is missing; {ACCEPTED}")
    # Newer versions of transformers leave the second part of the prefix out.
    vision = {f"vision_model.{k.removeprefix('vision_model.')}": v for k, v in _below("model.", image_encoder).items()}
    mapper = _mapper(image_encoder, "mapper.blocks.", _FOLDER_BLOCK, "final_layer_norm.")
    return _checked(dict(diffusion), vision, mapper, image_encoder["uncond_vector"], dict(autoencoder))


def vision_configuration(vision: Mapping[str, Tensor]) -> dict:
    """The sizes of a CLIP image encoder, read from its weights, in the form of transformers' config.json."""
    width, channels, _, patch = _shape(vision, "vision_model.embeddings.patch_embedding.weight", 4)
    positions, _ = _shape(vision, "vision_model.embeddings.position_embedding.weight", 2)
    hidden_width, _ = _shape(vision, "vision_model.encoder.layers.0.mlp.fc1.weight", 2)
    return {
        "model_type": "clip_vision_model",
        "hidden_size": width,
        "num_hidden_layers": _count(r"vision_model\.encoder\.layers\.(\d+)\.", vision),
        "num_attention_heads": width // HEAD_WIDTH,
        "intermediate_size": hidden_width,
        "hidden_act": "quick_gelu",
        "num_channels": channels,
        "patch_size": patch,
        "image_size": patch * math.isqrt(positions - 1),  # one position is the class token's
    }


def mapper_sizes(mapper: Mapping[str, Tensor]) -> dict[str, int]:
    """Arguments of the `ExemplarMapper` whose weights these are."""
    token_width, width = _shape(mapper, "projection.weight", 2)
    return {"width": width, "token_width": token_width, "depth": _count(r"blocks\.(\d+)\.", mapper)}


def require_weights(expected: Mapping[str, Tensor], weights: Mapping[str, Tensor]) -> None:
    """Raise a sentence unless each expected tensor is there in its shape; others may be there besides."""
    for name, value in expected.items():
        if name not in weights:
            raise ValueError(f"{name} is missing; {ACCEPTED}")
        if weights[name].shape != value.shape:
            raise ValueError(f"{name} is {list(weights[name].shape)} where {list(value.shape)} belongs; {ACCEPTED}")


def _checked(diffusion, vision, mapper, unconditional, autoencoder) -> Parts:
    first_layer = next((name for name in _CHANNELS_IN if name in diffusion), _CHANNELS_IN[0])
    _, channels, _, _ = _shape(diffusion, first_layer, 4)
    if channels != INPUT_CHANNELS:
        raise ValueError(
            f"its diffusion model takes {channels} channels where Paint by Example takes {INPUT_CHANNELS}; {ACCEPTED}"
        )
    for part, some in (("CLIP image encoder", vision), ("mapper", mapper), ("VAE", autoencoder)):
        if not some:
            raise ValueError(f"it has no {part}; {ACCEPTED}")
    return Parts(diffusion, vision, mapper, unconditional, autoencoder)


def _below(prefix: str, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}


def _mapper(weights, blocks, block_names, norm) -> dict[str, Tensor]:
    """Weights under the names of an `ExemplarMapper`; what it has no use for is left out."""
    found = {}
    for name, value in _below(blocks, weights).items():
        number, _, rest = name.partition(".")
        part, _, kind = rest.rpartition(".")
        if part in block_names:
            found[f"blocks.{number}.{block_names[part]}.{kind}"] = value
    found |= {f"norm.{name}": value for name, value in _below(norm, weights).items()}
    return found | {f"projection.{name}": value for name, value in _below("proj_out.", weights).items()}


def _shape(weights, name, dimensions) -> tuple[int, ...]:
    if name not in weights:
        raise ValueError(f"{name} is missing; {ACCEPTED}")
    if weights[name].dim() != dimensions:
        raise ValueError(f"{name} has {weights[name].dim()} dimensions where {dimensions} belong; {ACCEPTED}")
    return tuple(weights[name].shape)


def _count(pattern: str, names) -> int:
    """How many numbers stand at that place in the names."""
    return len({match[1] for name in names if (match := re.match(pattern, name))})
