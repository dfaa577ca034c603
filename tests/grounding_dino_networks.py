"""Small GroundingDINO networks with random weights that are always the same, and a vocabulary to go with them.

They find nothing in pictures, but compute as the published ones do: every layer has a say in boxes and logits.
"""

import string
from pathlib import Path

import pytest
import torch

from deepblend.segmentation import grounding_dino_package
from deepblend.segmentation.grounding_dino import TRANSFORMERS, detector_from_weights
from deepblend.segmentation.grounding_dino_architecture import Architecture

WORDS = (
    "a the red green blue dark car bird dog cat cup boat person tree house rocket left big small with on and run"
).split()
PLACES = {"[PAD]": 0, "[UNK]": 100, "[CLS]": 101, "[SEP]": 102, "[MASK]": 103, ".": 1012, "?": 1029}

# The transformer has 256 channels because the package groundingdino-py knows no other number.
TINY = Architecture(
    patch=4,
    embed=16,
    depths=(1, 2, 1),
    heads=(1, 2, 4),
    window=4,
    mlp_ratio=2.0,
    outputs=(1, 2),
    channels=256,
    levels=3,
    queries=12,
    attention_heads=8,
    feed_forward=64,
    encoder_layers=2,
    decoder_layers=2,
    encoder_points=2,
    decoder_points=3,
    text_tokens=1030,
    text_positions=256,
    text_types=2,
    text_channels=128,
    text_heads=2,
    text_layers=2,
    text_feed_forward=96,
)
SWIN_T = Architecture(
    patch=4,
    embed=96,
    depths=(2, 2, 6, 2),
    heads=(3, 6, 12, 24),
    window=7,
    mlp_ratio=4.0,
    outputs=(1, 2, 3),
    channels=256,
    levels=4,
    queries=900,
    attention_heads=8,
    feed_forward=2048,
    encoder_layers=6,
    decoder_layers=6,
    encoder_points=4,
    decoder_points=4,
    text_tokens=30522,
    text_positions=512,
    text_types=2,
    text_channels=768,
    text_heads=12,
    text_layers=12,
    text_feed_forward=3072,
)


def tiny_weights(seed=0, architecture=TINY):
    """The state dict of an original checkpoint, by the package's own classes; skips the test where they are absent."""
    pytest.importorskip("groundingdino", reason="groundingdino-py is not installed", exc_type=ImportError)
    with grounding_dino_package._without_warnings():
        network = grounding_dino_package._network(architecture)
    generator, drawn, weights = torch.Generator().manual_seed(seed), {}, {}
    for name, value in network.state_dict().items():
        if not value.is_floating_point():
            weights[name] = value  # a computed table
            continue
        # A part that is used twice is in the file twice, with the same values.
        if value.data_ptr() not in drawn:
            drawn[value.data_ptr()] = _random(name, value.shape, generator)
        weights[name] = drawn[value.data_ptr()]
    return weights


def tiny_vocabulary(folder):
    """Write vocab.txt into the folder: a few words, and letters to spell others from; its path."""
    tokens = [f"[unused{number}]" for number in range(TINY.text_tokens)]
    pieces = [*WORDS, *string.ascii_lowercase, *(f"##{letter}" for letter in string.ascii_lowercase), *string.digits]
    tokens[200 : 200 + len(pieces)] = pieces
    tokens[500:507] = list(",:;!-'/")
    for token, number in PLACES.items():
        tokens[number] = token
    path = Path(folder) / "vocab.txt"
    path.write_bytes("".join(f"{token}\n" for token in tokens).encode())
    return path


def tiny_folder(folder, seed=0):
    """Write a Hugging Face folder with the network of `tiny_weights` and the vocabulary; its path."""
    detector_from_weights(tiny_weights(seed), TRANSFORMERS).network.save_pretrained(folder)
    tiny_vocabulary(folder)
    return Path(folder)


def _random(name, shape, generator):
    values = torch.randn(shape, generator=generator)
    if ("norm" in name.lower() and name.endswith("weight")) or (
        name.startswith("input_proj") and name.endswith("1.weight")
    ):
        return 1 + 0.1 * values
    if name.endswith("sampling_offsets.bias"):
        return 2 * values
    if "gamma_" in name:
        return 0.5 + 0.1 * values
    if name.endswith("bias") or "position_embeddings" in name:
        return 0.1 * values
    if "embeddings" in name or name.endswith(("level_embed", "tgt_embed.weight", "relative_position_bias_table")):
        return values
    values = values / shape[1:].numel() ** 0.5
    if name.endswith("sampling_offsets.weight"):
        return 0.5 * values
    return 0.5 * values if "bbox_embed" in name and "layers.2" in name else 0.8 * values
