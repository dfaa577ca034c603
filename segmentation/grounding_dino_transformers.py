"""GroundingDINO as transformers implements it, from Hugging Face folders and from original weights.

Nothing is downloaded, compiled or printed, and no code that comes with the weights is run.
"""

import re
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from .grounding_dino_architecture import Architecture, original_weights
from .grounding_dino_names import hub_weights
from .transformers_loading import chosen, loaded, read_configuration, read_folder

MODEL_TYPE = "grounding-dino"
ACCEPTED = f"a folder with config.json of model_type {MODEL_TYPE} and model.safetensors is accepted"
# Entries of config.json that describe the network. How attention is computed is not among them: with "eager" transformers 5
# gives wrong results, since there each phrase sees the others.
ENTRIES = {
    "activation_function",
    "d_model",
    "num_queries",
    "encoder_layers",
    "encoder_ffn_dim",
    "encoder_attention_heads",
    "decoder_layers",
    "decoder_ffn_dim",
    "decoder_attention_heads",
    "num_feature_levels",
    "encoder_n_points",
    "decoder_n_points",
    "two_stage",
    "two_stage_bbox_embed_share",
    "decoder_bbox_embed_share",
    "embedding_init_target",
    "query_dim",
    "max_text_len",
    "position_embedding_type",
    "positional_embedding_temperature",
    "layer_norm_eps",
}
# The parts, the type of each, and their entries.
PARTS = {
    "backbone_config": (
        "swin",
        {
            "model_type",
            "image_size",
            "patch_size",
            "num_channels",
            "embed_dim",
            "depths",
            "num_heads",
            "window_size",
            "mlp_ratio",
            "qkv_bias",
            "hidden_act",
            "use_absolute_embeddings",
            "layer_norm_eps",
            "out_indices",
        },
    ),
    "text_config": (
        "bert",
        {
            "model_type",
            "vocab_size",
            "hidden_size",
            "num_hidden_layers",
            "num_attention_heads",
            "intermediate_size",
            "hidden_act",
            "max_position_embeddings",
            "type_vocab_size",
            "layer_norm_eps",
            "pad_token_id",
        },
    ),
}
# Tensors that some files have and some networks want, and that no result depends on: computed tables, BERT's pooler, and
# a last normalisation of Swin that transformers 5 writes and does not use.
WITHOUT_EFFECT = re.compile(r".*(relative_position_index|position_ids|\.pooler\.dense\.\w+|\.swin\.layernorm\.\w+)")


class TransformersDetector(nn.Module):
    """Behaves as `grounding_dino.Detector`."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network
        self.architecture = _architecture(network.config)
        self.text_length = min(network.config.max_text_len, self.architecture.text_positions)

    def forward(self, pixels: Tensor, token_ids: Tensor) -> tuple[Tensor, Tensor]:
        self.architecture.require_enough_places(*pixels.shape[-2:])
        found = self.network(
            pixel_values=pixels,
            input_ids=token_ids,
            token_type_ids=torch.zeros_like(token_ids),
            attention_mask=torch.ones_like(token_ids),
            pixel_mask=pixels.new_ones(pixels[:, 0].shape, dtype=torch.long),
        )
        return found.logits[..., : token_ids.shape[1]], found.pred_boxes


def from_weights(weights: dict[str, Tensor]) -> TransformersDetector:
    """The network of an original checkpoint; see `grounding_dino.detector_from_weights`."""
    named, architecture = original_weights(weights)
    _require_transformers()
    return _detector(_configuration(architecture), hub_weights(named, architecture), "the weights")


def from_folder(folder: Path) -> TransformersDetector:
    """The network of a Hugging Face folder; see `grounding_dino.detector_from_folder`."""
    values = read_configuration(folder, MODEL_TYPE, ACCEPTED)
    entries = chosen(values, ENTRIES)
    for part, (kind, names) in PARTS.items():
        # A part that is only named would be fetched.
        if not isinstance(values.get(part), dict) or values[part].get("model_type") != kind:
            raise ValueError(f"config.json in the folder {folder.name} has no {part} of model_type {kind}; {ACCEPTED}")
        entries[part] = chosen(values[part], names)
    weights = read_folder(folder, ACCEPTED)
    transformers = _require_transformers()
    try:
        return _detector(transformers.GroundingDinoConfig(**entries), weights, f"the folder {folder.name}")
    except ValueError:
        raise
    except Exception as error:  # sizes that make no network fail in many ways
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(
            f"config.json in the folder {folder.name} describes no network ({reason}); {ACCEPTED}"
        ) from error


def _detector(configuration: Any, weights: dict[str, Tensor], what: str) -> TransformersDetector:
    import transformers

    configuration.disable_custom_kernels = True
    network = loaded(transformers.GroundingDinoForObjectDetection, configuration, weights, WITHOUT_EFFECT, what)
    return TransformersDetector(network).eval()


def _configuration(architecture: Architecture) -> Any:
    """transformers' configuration of a network of these sizes; what they do not tell is as in the published ones."""
    import transformers

    return transformers.GroundingDinoConfig(
        backbone_config=transformers.SwinConfig(
            patch_size=architecture.patch,
            embed_dim=architecture.embed,
            depths=list(architecture.depths),
            num_heads=list(architecture.heads),
            window_size=architecture.window,
            mlp_ratio=architecture.mlp_ratio,
            out_indices=[output + 1 for output in architecture.outputs],
        ),
        text_config=transformers.BertConfig(
            vocab_size=architecture.text_tokens,
            max_position_embeddings=architecture.text_positions,
            type_vocab_size=architecture.text_types,
            hidden_size=architecture.text_channels,
            num_attention_heads=architecture.text_heads,
            num_hidden_layers=architecture.text_layers,
            intermediate_size=architecture.text_feed_forward,
        ),
        d_model=architecture.channels,
        num_feature_levels=architecture.levels,
        num_queries=architecture.queries,
        encoder_layers=architecture.encoder_layers,
        decoder_layers=architecture.decoder_layers,
        encoder_attention_heads=architecture.attention_heads,
        decoder_attention_heads=architecture.attention_heads,
        encoder_ffn_dim=architecture.feed_forward,
        decoder_ffn_dim=architecture.feed_forward,
        encoder_n_points=architecture.encoder_points,
        decoder_n_points=architecture.decoder_points,
    )


def _architecture(configuration: Any) -> Architecture:
    """The sizes that a configuration of transformers' stands for."""
    backbone, text = configuration.backbone_config, configuration.text_config
    return Architecture(
        patch=backbone.patch_size,
        embed=backbone.embed_dim,
        depths=tuple(backbone.depths),
        heads=tuple(backbone.num_heads),
        window=backbone.window_size,
        mlp_ratio=backbone.mlp_ratio,
        outputs=tuple(output - 1 for output in backbone.out_indices),
        channels=configuration.d_model,
        levels=configuration.num_feature_levels,
        queries=configuration.num_queries,
        attention_heads=configuration.encoder_attention_heads,
        feed_forward=configuration.encoder_ffn_dim,
        encoder_layers=configuration.encoder_layers,
        decoder_layers=configuration.decoder_layers,
        encoder_points=configuration.encoder_n_points,
        decoder_points=configuration.decoder_n_points,
        text_tokens=text.vocab_size,
        text_positions=text.max_position_embeddings,
        text_types=text.type_vocab_size,
        text_channels=text.hidden_size,
        text_heads=text.num_attention_heads,
        text_layers=text.num_hidden_layers,
        text_feed_forward=text.intermediate_size,
    )


def _require_transformers() -> Any:
    try:
        import transformers
        from transformers import GroundingDinoForObjectDetection  # noqa: F401 - lazy: the import shows what is missing
    except (ImportError, RuntimeError) as error:  # transformers 4 imports late, and raises the latter
        raise ImportError(
            f"GroundingDINO needs transformers, which cannot be imported ({error}); "
            "install transformers, 4.50.3 or later"
        ) from error
    return transformers
