"""Segment Anything from its authors' files, through the package segment-anything."""

import re
from functools import partial

import torch
from torch import Tensor, nn

from .sam import Segmenter

ACCEPTED = "the original sam_vit_b, sam_vit_l and sam_vit_h files and others with their names are accepted"
# Of the original network, what no shape tells.
DECODER_HEADS = 8
ENCODER_EPSILON = 1e-6
# Constants that some files carry and all networks share.
LEFT_ASIDE = {"pixel_mean", "pixel_std"}
# By what their names begin with: networks that descend from SAM, and what to do. The first that fits is told, so that
# those come first which share names with others.
RELATIVES = (
    (("mask_decoder.hf_token", "mask_decoder.hf_mlp"), "SAM-HQ weights, which need a decoder of their own"),
    (
        ("image_encoder.patch_embed.seq.", "image_encoder.layers."),
        "MobileSAM weights, which need an image encoder of their own",
    ),
    (
        ("detector.backbone.vision_backbone.", "detector_model."),
        "SAM 3 weights, for which ComfyUI has nodes of its own: load them with Load Checkpoint and take SAM3 Detect",
    ),
    (
        ("image_encoder.trunk.", "memory_attention.", "sam_mask_decoder.", "vision_encoder.backbone."),
        "SAM 2 weights, which need a network of their own",
    ),
    (
        ("vision_encoder.",),
        "Segment Anything weights with Hugging Face's names: keep the file in a folder together with its config.json "
        "and choose the folder",
    ),
)


class OriginalSegmenter(Segmenter):
    """The parts of the original network; see `segmenter_from_weights`."""

    # Products of queries and keys, their sum with the relative positions of the rows, and that with those of the columns.
    attention_copies = 3

    def __init__(self, image_encoder: nn.Module, prompt_encoder: nn.Module, mask_decoder: nn.Module):
        projection = image_encoder.patch_embed.proj
        super().__init__(
            side=image_encoder.img_size,
            patch=projection.kernel_size[0],
            heads=image_encoder.blocks[0].attn.num_heads,
            width=projection.out_channels,
            channels=mask_decoder.transformer_dim,
        )
        self.image_encoder, self.prompt_encoder, self.mask_decoder = image_encoder, prompt_encoder, mask_decoder
        self.eval().requires_grad_(False)

    @property
    def encoder(self) -> nn.Module:
        return self.image_encoder

    def _features(self, pixels):
        return self.image_encoder(pixels)

    def _logits(self, features, boxes, points, labels, several):
        sparse, dense = self.prompt_encoder(None if points is None else (points, labels), boxes, None)
        return self.mask_decoder(features, self.prompt_encoder.get_dense_pe(), sparse, dense, several)


def segmenter_from_weights(weights: dict[str, Tensor]) -> Segmenter:
    """The network whose weights these are, in float32: ViT-B, ViT-L, ViT-H or any other size; the shapes decide.

    Weights that are float32 already are used as they are, not copied. The number of the decoder's heads shows in no
    shape; it is that of the published networks.

    Raises:
        ValueError: if these are not the weights of such a network, or some are missing or belong to another one.
        ImportError: if segment-anything is not installed.
    """
    for beginnings, description in RELATIVES:
        if any(name.startswith(beginnings) for name in weights):
            raise ValueError(f"these are {description}; {ACCEPTED}")
    weights = {name: value for name, value in weights.items() if name not in LEFT_ASIDE}
    network = _network(weights)
    expected = network.state_dict()
    for name in sorted(expected.keys() | weights.keys()):
        if name not in expected:
            raise ValueError(f"{name} belongs to another network than Segment Anything; {ACCEPTED}")
        if name not in weights:
            raise ValueError(f"{name} is missing; {ACCEPTED}")
        if weights[name].shape != expected[name].shape:
            raise ValueError(
                f"{name} is {list(weights[name].shape)} where {list(expected[name].shape)} belongs; {ACCEPTED}"
            )
    network.load_state_dict({name: value.float() for name, value in weights.items()}, assign=True)
    return network


def _network(weights: dict[str, Tensor]) -> OriginalSegmenter:
    """A network of the sizes of the weights, without values."""
    encoder_sizes, decoder_sizes, transformer_sizes = _encoder(weights), _decoder(weights), _transformer(weights)
    prompt_sizes = _prompt_encoder(weights, encoder_sizes)
    try:
        from segment_anything.modeling import ImageEncoderViT, MaskDecoder, PromptEncoder, TwoWayTransformer
    except ImportError as error:
        raise ImportError(
            f"Segment Anything from an original file needs segment-anything, which cannot be imported ({error}); "
            "install segment-anything"
        ) from error
    try:
        with torch.device("meta"):
            parts = (
                ImageEncoderViT(**encoder_sizes, norm_layer=partial(nn.LayerNorm, eps=ENCODER_EPSILON)),
                PromptEncoder(**prompt_sizes),
                MaskDecoder(transformer=TwoWayTransformer(**transformer_sizes), **decoder_sizes),
            )
    except (AssertionError, RuntimeError) as error:
        raise ValueError(f"the shapes of the weights fit no Segment Anything network ({error}); {ACCEPTED}") from error
    return OriginalSegmenter(*parts)


def _encoder(weights: dict[str, Tensor]) -> dict:
    width, colours, patch, _ = _shape(weights, "image_encoder.patch_embed.proj.weight", 4)
    grid = _shape(weights, "image_encoder.pos_embed", 4)[1]
    depth = _count(weights, r"image_encoder\.blocks\.(\d+)\.")
    # A block knows the relative positions -n..n of what its tokens attend to: of the whole picture or of a window.
    lengths = [_shape(weights, f"image_encoder.blocks.{block}.attn.rel_pos_h", 2)[0] for block in range(depth)]
    whole = 2 * grid - 1
    head = _shape(weights, "image_encoder.blocks.0.attn.rel_pos_h", 2)[1]
    if width % head:
        raise ValueError(
            f"the {width} channels of the image encoder cannot be shared among heads of {head}; {ACCEPTED}"
        )
    return {
        "img_size": grid * patch,
        "patch_size": patch,
        "in_chans": colours,
        "embed_dim": width,
        "depth": depth,
        "num_heads": width // head,
        "mlp_ratio": _shape(weights, "image_encoder.blocks.0.mlp.lin1.weight", 2)[0] / width,
        "out_chans": _shape(weights, "image_encoder.neck.0.weight", 4)[0],
        "qkv_bias": "image_encoder.blocks.0.attn.qkv.bias" in weights,
        "use_rel_pos": True,
        "window_size": (min(lengths) + 1) // 2,
        "global_attn_indexes": [block for block in range(depth) if lengths[block] == whole],
    }


def _prompt_encoder(weights: dict[str, Tensor], encoder: dict) -> dict:
    grid = encoder["img_size"] // encoder["patch_size"]
    return {
        "embed_dim": _shape(weights, "prompt_encoder.no_mask_embed.weight", 2)[1],
        "image_embedding_size": (grid, grid),
        "input_image_size": (encoder["img_size"], encoder["img_size"]),
        "mask_in_chans": _shape(weights, "prompt_encoder.mask_downscaling.3.weight", 4)[0],
    }


def _decoder(weights: dict[str, Tensor]) -> dict:
    tokens, width = _shape(weights, "mask_decoder.mask_tokens.weight", 2)
    return {
        "transformer_dim": width,
        "num_multimask_outputs": tokens - 1,
        "iou_head_depth": _count(weights, r"mask_decoder\.iou_prediction_head\.layers\.(\d+)\."),
        "iou_head_hidden_dim": _shape(weights, "mask_decoder.iou_prediction_head.layers.0.weight", 2)[0],
    }


def _transformer(weights: dict[str, Tensor]) -> dict:
    layer = "mask_decoder.transformer.layers.0"
    inner, width = _shape(weights, f"{layer}.cross_attn_token_to_image.q_proj.weight", 2)
    return {
        "depth": _count(weights, r"mask_decoder\.transformer\.layers\.(\d+)\."),
        "embedding_dim": width,
        "num_heads": DECODER_HEADS,
        "mlp_dim": _shape(weights, f"{layer}.mlp.lin1.weight", 2)[0],
        "attention_downsample_rate": width // inner,
    }


def _shape(weights: dict[str, Tensor], name: str, dimensions: int) -> tuple[int, ...]:
    """Shape of a tensor that must be there, with so many dimensions of at least 1."""
    if name not in weights:
        there = ", ".join(sorted(weights)[:3]) or "nothing"
        raise ValueError(f"this is not a Segment Anything checkpoint: {name} is missing (there is {there}); {ACCEPTED}")
    shape = tuple(weights[name].shape)
    if len(shape) != dimensions or 0 in shape:
        raise ValueError(f"{name} is {list(shape)} where {dimensions} dimensions belong; {ACCEPTED}")
    return shape


def _count(weights: dict[str, Tensor], pattern: str) -> int:
    """How many layers there are whose number the pattern finds in the names."""
    return len({match[1] for name in weights if (match := re.match(pattern, name))})
