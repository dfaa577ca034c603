"""Segment Anything from a Hugging Face folder, through the package transformers."""

import json
from pathlib import Path

from torch import nn

from .sam import Segmenter
from .transformers_logging import silenced

MODEL_TYPE = "sam"
ACCEPTED = (
    "a folder with config.json of model_type sam and model.safetensors is accepted, such as that of "
    "facebook/sam-vit-base, sam-vit-large or sam-vit-huge"
)


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
    found = _model_type(folder)
    if found != MODEL_TYPE:
        raise ValueError(f"the folder {folder.name} holds a network of model_type {found}; {ACCEPTED}")
    if not list(folder.glob("*.safetensors")):
        raise ValueError(f"the folder {folder.name} holds no safetensors file; {ACCEPTED}")
    try:
        from transformers import SamModel
    except ImportError as error:
        raise ImportError(
            f"Segment Anything from a folder needs transformers, which cannot be imported ({error}); install transformers"
        ) from error
    try:
        with silenced():
            network, report = SamModel.from_pretrained(
                folder,
                local_files_only=True,
                use_safetensors=True,
                attn_implementation="sdpa",
                output_loading_info=True,
            )
    except Exception as error:  # each version and format has errors of its own
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(f"the folder {folder.name} cannot be loaded ({reason}); {ACCEPTED}") from error
    _require_complete(folder, report)
    return TransformersSegmenter(network.float())


def _require_complete(folder: Path, report: dict) -> None:
    """Raise ValueError with a sentence if transformers found weights missing or left some over."""
    for problem, found in (
        ("lack", report["missing_keys"]),
        ("hold, beside the network's,", report["unexpected_keys"]),
    ):
        if found:
            raise ValueError(
                f"the weights in the folder {folder.name} {problem} {sorted(found)[0]} ({len(found)} such); {ACCEPTED}"
            )


def _model_type(folder: Path) -> str:
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ValueError(f"the folder {folder.name} holds no config.json; {ACCEPTED}") from error
    except (OSError, ValueError) as error:
        raise ValueError(f"config.json in the folder {folder.name} cannot be read ({error}); {ACCEPTED}") from error
    return str(config.get("model_type")) if isinstance(config, dict) else "none"
