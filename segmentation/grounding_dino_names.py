"""What the tensors of an original GroundingDINO checkpoint are called at Hugging Face, one rule a line.

These are the names of the files on the hub, which are those of transformers 4; transformers 5 renames them further as it
loads. A number that runs over the network's layers is `{stage}`, `{block}` and so on, the same on both sides.
"""

from __future__ import annotations

import string
from typing import TYPE_CHECKING

from torch import Tensor

if TYPE_CHECKING:
    from .grounding_dino_architecture import Architecture

SWIN = "model.backbone.conv_encoder.model"
SWIN_BLOCK = "backbone.0.layers.{stage}.blocks.{block}"
HUB_SWIN_BLOCK = SWIN + ".encoder.layers.{stage}.blocks.{block}"
BERT_LAYER = "bert.encoder.layer.{text_layer}"
HUB_BERT_LAYER = "model.text_backbone.encoder.layer.{text_layer}"
TEXT_LAYER = "transformer.encoder.text_layers.{encoder_layer}"
HUB_TEXT_LAYER = "model.encoder.layers.{encoder_layer}.text_enhancer_layer"
FUSION_LAYER = "transformer.encoder.fusion_layers.{encoder_layer}"
HUB_FUSION_LAYER = "model.encoder.layers.{encoder_layer}.fusion_layer"
ENCODER_LAYER = "transformer.encoder.layers.{encoder_layer}"
HUB_ENCODER_LAYER = "model.encoder.layers.{encoder_layer}.deformable_layer"
DECODER_LAYER = "transformer.decoder.layers.{decoder_layer}"
HUB_DECODER_LAYER = "model.decoder.layers.{decoder_layer}"
QUERY_KEY_VALUE = ("query", "key", "value")

# Parts with a weight and a bias.
PARTS = {
    "backbone.0.patch_embed.proj": f"{SWIN}.embeddings.patch_embeddings.projection",
    "backbone.0.patch_embed.norm": f"{SWIN}.embeddings.norm",
    f"{SWIN_BLOCK}.norm1": f"{HUB_SWIN_BLOCK}.layernorm_before",
    f"{SWIN_BLOCK}.norm2": f"{HUB_SWIN_BLOCK}.layernorm_after",
    f"{SWIN_BLOCK}.attn.proj": f"{HUB_SWIN_BLOCK}.attention.output.dense",
    f"{SWIN_BLOCK}.mlp.fc1": f"{HUB_SWIN_BLOCK}.intermediate.dense",
    f"{SWIN_BLOCK}.mlp.fc2": f"{HUB_SWIN_BLOCK}.output.dense",
    "backbone.0.layers.{halving}.downsample.norm": SWIN + ".encoder.layers.{halving}.downsample.norm",
    "backbone.0.norm{output}": SWIN + ".hidden_states_norms.stage{output_from_1}",
    "input_proj.{level}.0": "model.input_proj_vision.{level}.0",
    "input_proj.{level}.1": "model.input_proj_vision.{level}.1",
    "bert.embeddings.LayerNorm": "model.text_backbone.embeddings.LayerNorm",
    f"{BERT_LAYER}.attention.self.query": f"{HUB_BERT_LAYER}.attention.self.query",
    f"{BERT_LAYER}.attention.self.key": f"{HUB_BERT_LAYER}.attention.self.key",
    f"{BERT_LAYER}.attention.self.value": f"{HUB_BERT_LAYER}.attention.self.value",
    f"{BERT_LAYER}.attention.output.dense": f"{HUB_BERT_LAYER}.attention.output.dense",
    f"{BERT_LAYER}.attention.output.LayerNorm": f"{HUB_BERT_LAYER}.attention.output.LayerNorm",
    f"{BERT_LAYER}.intermediate.dense": f"{HUB_BERT_LAYER}.intermediate.dense",
    f"{BERT_LAYER}.output.dense": f"{HUB_BERT_LAYER}.output.dense",
    f"{BERT_LAYER}.output.LayerNorm": f"{HUB_BERT_LAYER}.output.LayerNorm",
    "feat_map": "model.text_projection",
    f"{TEXT_LAYER}.self_attn.out_proj": f"{HUB_TEXT_LAYER}.self_attn.out_proj",
    f"{TEXT_LAYER}.linear1": f"{HUB_TEXT_LAYER}.fc1",
    f"{TEXT_LAYER}.linear2": f"{HUB_TEXT_LAYER}.fc2",
    f"{TEXT_LAYER}.norm1": f"{HUB_TEXT_LAYER}.layer_norm_before",
    f"{TEXT_LAYER}.norm2": f"{HUB_TEXT_LAYER}.layer_norm_after",
    f"{FUSION_LAYER}.layer_norm_v": f"{HUB_FUSION_LAYER}.layer_norm_vision",
    f"{FUSION_LAYER}.layer_norm_l": f"{HUB_FUSION_LAYER}.layer_norm_text",
    f"{FUSION_LAYER}.attn.v_proj": f"{HUB_FUSION_LAYER}.attn.vision_proj",
    f"{FUSION_LAYER}.attn.l_proj": f"{HUB_FUSION_LAYER}.attn.text_proj",
    f"{FUSION_LAYER}.attn.values_v_proj": f"{HUB_FUSION_LAYER}.attn.values_vision_proj",
    f"{FUSION_LAYER}.attn.values_l_proj": f"{HUB_FUSION_LAYER}.attn.values_text_proj",
    f"{FUSION_LAYER}.attn.out_v_proj": f"{HUB_FUSION_LAYER}.attn.out_vision_proj",
    f"{FUSION_LAYER}.attn.out_l_proj": f"{HUB_FUSION_LAYER}.attn.out_text_proj",
    f"{ENCODER_LAYER}.self_attn.sampling_offsets": f"{HUB_ENCODER_LAYER}.self_attn.sampling_offsets",
    f"{ENCODER_LAYER}.self_attn.attention_weights": f"{HUB_ENCODER_LAYER}.self_attn.attention_weights",
    f"{ENCODER_LAYER}.self_attn.value_proj": f"{HUB_ENCODER_LAYER}.self_attn.value_proj",
    f"{ENCODER_LAYER}.self_attn.output_proj": f"{HUB_ENCODER_LAYER}.self_attn.output_proj",
    f"{ENCODER_LAYER}.norm1": f"{HUB_ENCODER_LAYER}.self_attn_layer_norm",
    f"{ENCODER_LAYER}.linear1": f"{HUB_ENCODER_LAYER}.fc1",
    f"{ENCODER_LAYER}.linear2": f"{HUB_ENCODER_LAYER}.fc2",
    f"{ENCODER_LAYER}.norm2": f"{HUB_ENCODER_LAYER}.final_layer_norm",
    f"{DECODER_LAYER}.self_attn.out_proj": f"{HUB_DECODER_LAYER}.self_attn.out_proj",
    f"{DECODER_LAYER}.norm2": f"{HUB_DECODER_LAYER}.self_attn_layer_norm",
    f"{DECODER_LAYER}.ca_text.out_proj": f"{HUB_DECODER_LAYER}.encoder_attn_text.out_proj",
    f"{DECODER_LAYER}.catext_norm": f"{HUB_DECODER_LAYER}.encoder_attn_text_layer_norm",
    f"{DECODER_LAYER}.cross_attn.sampling_offsets": f"{HUB_DECODER_LAYER}.encoder_attn.sampling_offsets",
    f"{DECODER_LAYER}.cross_attn.attention_weights": f"{HUB_DECODER_LAYER}.encoder_attn.attention_weights",
    f"{DECODER_LAYER}.cross_attn.value_proj": f"{HUB_DECODER_LAYER}.encoder_attn.value_proj",
    f"{DECODER_LAYER}.cross_attn.output_proj": f"{HUB_DECODER_LAYER}.encoder_attn.output_proj",
    f"{DECODER_LAYER}.norm1": f"{HUB_DECODER_LAYER}.encoder_attn_layer_norm",
    f"{DECODER_LAYER}.linear1": f"{HUB_DECODER_LAYER}.fc1",
    f"{DECODER_LAYER}.linear2": f"{HUB_DECODER_LAYER}.fc2",
    f"{DECODER_LAYER}.norm3": f"{HUB_DECODER_LAYER}.final_layer_norm",
    "transformer.decoder.norm": "model.decoder.layer_norm",
    "transformer.decoder.ref_point_head.layers.0": "model.decoder.reference_points_head.layers.0",
    "transformer.decoder.ref_point_head.layers.1": "model.decoder.reference_points_head.layers.1",
    "transformer.decoder.bbox_embed.{decoder_layer}.layers.{box_layer}": (
        "model.decoder.bbox_embed.{decoder_layer}.layers.{box_layer}"
    ),
    "transformer.enc_output": "model.enc_output",
    "transformer.enc_output_norm": "model.enc_output_norm",
    "transformer.enc_out_bbox_embed.layers.{box_layer}": "model.encoder_output_bbox_embed.layers.{box_layer}",
    "bbox_embed.{decoder_layer}.layers.{box_layer}": "bbox_embed.{decoder_layer}.layers.{box_layer}",
}
# Single tensors.
TENSORS = {
    f"{SWIN_BLOCK}.attn.relative_position_bias_table": f"{HUB_SWIN_BLOCK}.attention.self.relative_position_bias_table",
    "backbone.0.layers.{halving}.downsample.reduction.weight": (
        SWIN + ".encoder.layers.{halving}.downsample.reduction.weight"
    ),
    "bert.embeddings.word_embeddings.weight": "model.text_backbone.embeddings.word_embeddings.weight",
    "bert.embeddings.position_embeddings.weight": "model.text_backbone.embeddings.position_embeddings.weight",
    "bert.embeddings.token_type_embeddings.weight": "model.text_backbone.embeddings.token_type_embeddings.weight",
    f"{FUSION_LAYER}.gamma_v": f"{HUB_FUSION_LAYER}.vision_param",
    f"{FUSION_LAYER}.gamma_l": f"{HUB_FUSION_LAYER}.text_param",
    "transformer.level_embed": "model.level_embed",
    "transformer.tgt_embed.weight": "model.query_position_embeddings.weight",
}
# One tensor there, a third of it each for query, key and value here. A dot or an underscore before "weight" and "bias".
THIRDS = {
    f"{SWIN_BLOCK}.attn.qkv.": f"{HUB_SWIN_BLOCK}.attention.self",
    f"{TEXT_LAYER}.self_attn.in_proj_": f"{HUB_TEXT_LAYER}.self_attn",
    f"{DECODER_LAYER}.self_attn.in_proj_": f"{HUB_DECODER_LAYER}.self_attn",
    f"{DECODER_LAYER}.ca_text.in_proj_": f"{HUB_DECODER_LAYER}.encoder_attn_text",
}


def tensor_names(architecture: Architecture) -> dict[str, tuple[str, ...]]:
    """All tensors of a network: from the original name to that at Hugging Face, or to those of query, key and value."""
    rules = {original: (hub,) for original, hub in TENSORS.items()}
    for kind in ("weight", "bias"):
        rules |= {f"{original}.{kind}": (f"{hub}.{kind}",) for original, hub in PARTS.items()}
        rules |= {
            f"{original}{kind}": tuple(f"{hub}.{third}.{kind}" for third in QUERY_KEY_VALUE)
            for original, hub in THIRDS.items()
        }
    return {
        original.format(**place): tuple(hub.format(**place) for hub in hubs)
        for original, hubs in rules.items()
        for place in _places(original, architecture)
    }


def hub_weights(weights: dict[str, Tensor], architecture: Architecture) -> dict[str, Tensor]:
    """The same tensors under Hugging Face's names; those of query, key and value one by one."""
    converted = {}
    for original, hubs in tensor_names(architecture).items():
        parts = weights[original].tensor_split(len(hubs))
        converted |= {hub: part.contiguous() for hub, part in zip(hubs, parts, strict=True)}
    return converted


def _places(template: str, architecture: Architecture) -> list[dict[str, int]]:
    """Every set of numbers that the names in braces stand for."""
    runs = {
        "stage": range(len(architecture.depths)),
        "halving": range(len(architecture.depths) - 1),
        "output": architecture.outputs,
        "level": range(architecture.levels),
        "text_layer": range(architecture.text_layers),
        "encoder_layer": range(architecture.encoder_layers),
        "decoder_layer": range(architecture.decoder_layers),
        "box_layer": range(3),
    }
    places: list[dict[str, int]] = [{}]
    for _, name, _, _ in string.Formatter().parse(template):
        if name == "block":
            places = [
                {**place, name: block} for place in places for block in range(architecture.depths[place["stage"]])
            ]
        elif name == "output":
            places = [{name: output, "output_from_1": output + 1} for output in runs[name]]
        elif name:
            places = [{**place, name: number} for place in places for number in runs[name]]
    return places
