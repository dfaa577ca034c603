"""Small Segment Anything networks for tests, built by its authors' classes, with weights random but always the same."""

import json
import re
from functools import partial
from pathlib import Path

import torch
from safetensors.torch import save_file
from segment_anything.modeling import ImageEncoderViT, MaskDecoder, PromptEncoder, Sam, TwoWayTransformer
from torch import nn

SIDE, PATCH, CHANNELS = 256, 16, 64
# What transformers calls the parts, as the regular expressions and replacements that lead there.
RENAMES = (
    (r"^image_encoder\.", "vision_encoder."),
    (r"\.blocks\.", ".layers."),
    (r"(vision_encoder\.layers\.\d+\.|mask_decoder\.transformer\.layers\.\d+\.)norm", r"\1layer_norm"),
    (r"norm_final_attn", "layer_norm_final_attn"),
    (r"patch_embed\.proj\.", "patch_embed.projection."),
    (r"neck\.0\.", "neck.conv1."),
    (r"neck\.1\.", "neck.layer_norm1."),
    (r"neck\.2\.", "neck.conv2."),
    (r"neck\.3\.", "neck.layer_norm2."),
    (r"mask_downscaling\.0\.", "mask_embed.conv1."),
    (r"mask_downscaling\.1\.", "mask_embed.layer_norm1."),
    (r"mask_downscaling\.3\.", "mask_embed.conv2."),
    (r"mask_downscaling\.4\.", "mask_embed.layer_norm2."),
    (r"mask_downscaling\.6\.", "mask_embed.conv3."),
    (r"point_embeddings\.", "point_embed."),
    (r"(output_hypernetworks_mlps\.\d+|iou_prediction_head)\.layers\.0\.", r"\1.proj_in."),
    (r"(output_hypernetworks_mlps\.\d+|iou_prediction_head)\.layers\.1\.", r"\1.layers.0."),
    (r"(output_hypernetworks_mlps\.\d+|iou_prediction_head)\.layers\.2\.", r"\1.proj_out."),
    (r"output_upscaling\.0\.", "upscale_conv1."),
    (r"output_upscaling\.1\.", "upscale_layer_norm."),
    (r"output_upscaling\.3\.", "upscale_conv2."),
    (r"^prompt_encoder\.pe_layer\.positional_encoding_gaussian_matrix$", "shared_image_embedding.positional_embedding"),
)


def tiny_sam(seed=0, patch=PATCH) -> Sam:
    """A whole SAM for squares of 256 pixels, that looks at windows in its first block and at everything in its second."""
    grid = SIDE // patch
    network = Sam(
        ImageEncoderViT(
            img_size=SIDE,
            patch_size=patch,
            embed_dim=48,
            depth=2,
            num_heads=3,
            out_chans=CHANNELS,
            norm_layer=partial(nn.LayerNorm, eps=1e-6),
            use_rel_pos=True,
            window_size=6,
            global_attn_indexes=(1,),
        ),
        PromptEncoder(CHANNELS, (grid, grid), (SIDE, SIDE), mask_in_chans=8),
        MaskDecoder(
            transformer=TwoWayTransformer(depth=2, embedding_dim=CHANNELS, num_heads=8, mlp_dim=96),
            transformer_dim=CHANNELS,
            iou_head_hidden_dim=40,
        ),
    )
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, value in network.state_dict().items():
            noise = torch.randn(value.shape, generator=generator)
            if value.dim() == 1 and name.endswith("weight"):  # a normalisation
                value.copy_(1 + 0.2 * noise)
            elif value.dim() == 1:
                value.copy_(0.2 * noise)
            elif "gaussian_matrix" in name:
                value.copy_(noise)
            elif re.search(r"pos|embed|token", name) and "proj" not in name:
                value.copy_(0.5 * noise)
            else:
                value.copy_(1.5 * noise / value[0].numel() ** 0.5)
    return network.eval().requires_grad_(False)


def tiny_sam_weights(seed=0, patch=PATCH) -> dict[str, torch.Tensor]:
    """What a file of that network holds."""
    return tiny_sam(seed, patch).state_dict()


def hugging_face_names(weights) -> dict[str, torch.Tensor]:
    """The same weights by the names of transformers."""
    renamed = {}
    for name, value in weights.items():
        for pattern, replacement in RENAMES:
            name = re.sub(pattern, replacement, name)
        renamed[name] = value.clone().contiguous()
    return renamed


def tiny_sam_folder(path: Path, seed=0, patch=PATCH, weights=None, **changes) -> Path:
    """That network as a folder of Hugging Face; weights: others, by Hugging Face's names; changes: other entries of
    config.json."""
    config = {
        "architectures": ["SamModel"],
        "model_type": "sam",
        "vision_config": {
            "hidden_size": 48,
            "output_channels": CHANNELS,
            "num_hidden_layers": 2,
            "num_attention_heads": 3,
            "image_size": SIDE,
            "patch_size": patch,
            "window_size": 6,
            "global_attn_indexes": [1],
            "num_pos_feats": CHANNELS // 2,
            "mlp_dim": 192,
        },
        "prompt_encoder_config": {
            "hidden_size": CHANNELS,
            "image_size": SIDE,
            "patch_size": patch,
            "mask_input_channels": 8,
        },
        "mask_decoder_config": {"hidden_size": CHANNELS, "mlp_dim": 96, "iou_head_hidden_dim": 40},
    }
    path.mkdir(parents=True, exist_ok=True)
    (path / "config.json").write_text(json.dumps({**config, **changes}), encoding="utf-8")
    weights = hugging_face_names(tiny_sam_weights(seed, patch)) if weights is None else weights
    save_file(weights, path / "model.safetensors", {"format": "pt"})
    return path
