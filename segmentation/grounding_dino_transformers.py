"""GroundingDINO as transformers implements it, from Hugging Face folders and from original weights.

Nothing is downloaded, compiled or printed, and no code that comes with the weights is run.
"""

import json
import re
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from .grounding_dino_architecture import Architecture, listed, original_weights
from .grounding_dino_names import hub_weights
from .transformers_logging import silenced

MODEL_TYPE = "grounding-dino"
ACCEPTED = f'a folder with config.json of the type "{MODEL_TYPE}" and model.safetensors is accepted'
# Entries of a config.json that make transformers fetch or run something. Those with "attn_implementation" can name code
# on the hub, and "eager" gives wrong results: there transformers 5 lets each phrase see the others.
ORDERS = re.compile(r"quantization_config|auto_map|backbone|backbone_kwargs|use_\w+_backbone|\w*attn_implementation\w*")
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
    return _loaded(None, _configuration(architecture), "the weights", state_dict=hub_weights(named, architecture))


def from_folder(folder: Path) -> TransformersDetector:
    """The network of a Hugging Face folder; see `grounding_dino.detector_from_folder`."""
    values = _read_configuration(folder)
    if not ((folder / "model.safetensors").is_file() or (folder / "model.safetensors.index.json").is_file()):
        others = ", ".join(sorted(path.name for path in folder.glob("*.bin")))
        found = f"{others}, whose form can carry code and is not read" if others else "no weights"
        raise ValueError(f"{folder} holds {found}; {ACCEPTED}")
    transformers = _require_transformers()
    with silenced():
        configuration = transformers.GroundingDinoConfig.from_dict(values)
    return _loaded(folder, configuration, str(folder), local_files_only=True, use_safetensors=True)


def _read_configuration(folder: Path) -> dict[str, Any]:
    """The entries of config.json that describe the network."""
    try:
        values = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ValueError(f"{folder} has no config.json; {ACCEPTED}") from error
    except ValueError as error:
        raise ValueError(f"config.json of {folder} cannot be read ({error}); {ACCEPTED}") from error
    if not isinstance(values, dict) or values.get("model_type") != MODEL_TYPE:
        found = values.get("model_type") if isinstance(values, dict) else None
        raise ValueError(f'config.json of {folder} is of the type "{found}"; {ACCEPTED}')
    for part, kind in (("backbone_config", "swin"), ("text_config", "bert")):
        # A backbone that is only named would be fetched.
        if not isinstance(values.get(part), dict) or values[part].get("model_type") != kind:
            raise ValueError(f'config.json of {folder} has no {part} of the type "{kind}"; {ACCEPTED}')
        values[part] = _without_orders(values[part])
    return _without_orders(values)


def _without_orders(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if not ORDERS.fullmatch(name)}


def _loaded(source: Path | None, configuration: Any, name: str, **options: Any) -> TransformersDetector:
    """transformers' network with the weights of a folder or a state dict; ValueError unless they are just its own."""
    import transformers

    configuration.disable_custom_kernels = True
    with silenced(), torch.random.fork_rng(devices=[]):  # transformers 4 draws weights that it then replaces
        network, report = transformers.GroundingDinoForObjectDetection.from_pretrained(
            source,
            config=configuration,
            ignore_mismatched_sizes=True,  # they are reported, and refused below
            output_loading_info=True,
            **options,
        )
    for kind, problem in (
        ("mismatched_keys", "of another shape than the network's"),
        ("missing_keys", "missing"),
        ("unexpected_keys", "not part of the network"),
    ):
        keys = [key if isinstance(key, str) else key[0] for key in report[kind]]
        keys = [key for key in keys if not WITHOUT_EFFECT.fullmatch(key)]
        if keys:
            raise ValueError(f"{name}: {listed(keys)} {problem}; weights that fit their sizes are accepted")
    if report.get("error_msgs"):
        raise ValueError(
            f"{name}: {report['error_msgs'][0].splitlines()[0]}; weights that fit their sizes are accepted"
        )
    return TransformersDetector(network.float().requires_grad_(False)).eval()


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
    except ImportError as error:
        raise ImportError(
            f"GroundingDINO needs transformers, which cannot be imported ({error}); "
            "install transformers, 4.50.3 or later"
        ) from error
    return transformers
