"""Segment Anything from a Hugging Face folder, through the package transformers."""

import re
from pathlib import Path

from torch import nn

from .sam import Segmenter
from .transformers_loading import chosen, loaded, read_configuration, read_folder

MODEL_TYPE = "sam"
ACCEPTED = (
    "a folder with config.json of model_type sam and model.safetensors is accepted, such as that of "
    "facebook/sam-vit-base, sam-vit-large or sam-vit-huge"
)
# Entries of config.json that describe the network, by its parts.
PARTS = {
    "vision_config": {
        "hidden_size",
        "output_channels",
        "num_hidden_layers",
        "num_attention_heads",
        "num_channels",
        "image_size",
        "patch_size",
        "hidden_act",
        "layer_norm_eps",
        "qkv_bias",
        "mlp_ratio",
        "mlp_dim",
        "use_abs_pos",
        "use_rel_pos",
        "window_size",
        "global_attn_indexes",
        "num_pos_feats",
    },
    "prompt_encoder_config": {
        "hidden_size",
        "image_size",
        "patch_size",
        "mask_input_channels",
        "num_point_embeddings",
        "hidden_act",
        "layer_norm_eps",
    },
    "mask_decoder_config": {
        "hidden_size",
        "hidden_act",
        "mlp_dim",
        "num_hidden_layers",
        "num_attention_heads",
        "attention_downsample_rate",
        "num_multimask_outputs",
        "iou_head_depth",
        "iou_head_hidden_dim",
        "layer_norm_eps",
    },
}
# Some versions write the positions twice.
SECOND_POSITIONS = re.compile(r"prompt_encoder\.shared_embedding\.positional_embedding")


class TransformersSegmenter(Segmenter):
    """The network of transformers; see `segmenter_from_folder`. Its image processor, which changes from version to
    version, is not used."""

    # The sum of the relative positions of rows and columns, and its copy in the order that attention takes it in; the
    # products of queries and keys are never there as a whole.
    attention_copies = 2

    def __init__(self, network: nn.Module):
        sizes = network.config.vision_config
        super().__init__(
            side=sizes.image_size,
            patch=sizes.patch_size,
            heads=sizes.num_attention_heads,
            width=sizes.hidden_size,
            channels=sizes.output_channels,
        )
        self.network = network
        self.eval().requires_grad_(False)

    @property
    def encoder(self) -> nn.Module:
        return self.network.vision_encoder

    def _features(self, pixels):
        return self.network.vision_encoder(pixels)[0]

    def _logits(self, features, boxes, points, labels, several):
        # Prompts of one picture: they have a dimension of pictures before that of prompts.
        points, labels, boxes = (None if value is None else value[None] for value in (points, labels, boxes))
        sparse, dense = self.network.prompt_encoder(points, labels, boxes, None)
        positions = self.network.get_image_wide_positional_embeddings()
        logits, scores = self.network.mask_decoder(features, positions, sparse, dense, several)[:2]
        return logits[0], scores[0]


def segmenter_from_folder(folder: Path) -> Segmenter:
    """The network in a folder as Hugging Face publishes them, in float32. Only local safetensors are read, and nothing
    in the folder is executed.

    Raises:
        ValueError: if the folder holds another network or parts are missing.
        ImportError: if transformers is not installed.
    """
    values = read_configuration(folder, MODEL_TYPE, ACCEPTED)
    parts = {}
    for part, names in PARTS.items():
        if not isinstance(values.get(part, {}), dict):
            raise ValueError(f"config.json in the folder {folder.name} has no {part}; {ACCEPTED}")
        parts[part] = chosen(values.get(part, {}), names)
    weights = read_folder(folder, ACCEPTED)
    try:
        from transformers import SamConfig, SamModel
    except (ImportError, RuntimeError) as error:  # transformers 4 imports late, and raises the latter
        raise ImportError(
            f"Segment Anything from a folder needs transformers, which cannot be imported ({error}); install transformers"
        ) from error
    try:
        configuration = SamConfig(**parts)
        configuration._attn_implementation = "sdpa"
        network = loaded(SamModel, configuration, weights, SECOND_POSITIONS, f"the folder {folder.name}")
    except ValueError:
        raise
    except Exception as error:  # sizes that make no network fail in many ways
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(
            f"config.json in the folder {folder.name} describes no network ({reason}); {ACCEPTED}"
        ) from error
    return TransformersSegmenter(network)
