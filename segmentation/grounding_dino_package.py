"""GroundingDINO as its authors implement it, in the package groundingdino-py, which this file adapts.

The package cannot be used as it stands: building its network fetches BERT, its wrapper of BERT calls methods that newer
transformers no longer have, and it reads configurations by running them. Here its classes get what they need as arguments.
"""

import contextlib
import re
import warnings
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from .grounding_dino_architecture import LEFT_ASIDE, Architecture, original_weights
from .vocabulary import SPECIAL_IDS

TEXT_LENGTH = 256  # the package's own limit
CHANNELS = 256  # of its position encoding


class PackageDetector(nn.Module):
    """Behaves as `grounding_dino.Detector`."""

    def __init__(self, network: nn.Module, architecture: Architecture):
        super().__init__()
        self.network = network
        self.architecture = architecture
        self.text_length = min(TEXT_LENGTH, architecture.text_positions)

    def forward(self, pixels: Tensor, token_ids: Tensor) -> tuple[Tensor, Tensor]:
        self.architecture.require_enough_places(*pixels.shape[-2:])
        with _without_warnings():
            found = self.network(pixels, captions=token_ids)
        return found["pred_logits"][..., : token_ids.shape[1]], found["pred_boxes"]


def from_weights(weights: dict[str, Tensor]) -> PackageDetector:
    """The network of an original checkpoint; see `grounding_dino.detector_from_weights`."""
    named, architecture = original_weights(weights)
    if architecture.channels != CHANNELS:
        raise ValueError(
            f"groundingdino-py computes with {CHANNELS} channels; these weights have {architecture.channels}"
        )
    try:
        with _without_warnings():
            network = _network(architecture)
    except ImportError as error:
        raise ImportError(
            f"this backend needs groundingdino-py, which cannot be imported ({error}); install it with "
            "`python -m pip install --no-deps groundingdino-py` and "
            "`python -m pip install addict yapf timm matplotlib pycocotools`"
        ) from error
    own = network.state_dict()
    for name, value in named.items():
        if name not in own:
            raise ValueError(f"{name} is not part of the network that groundingdino-py builds")
        if own[name].shape != value.shape:
            raise ValueError(
                f"{name} has the shape {list(value.shape)} where {list(own[name].shape)} belongs; "
                "weights that fit each other are accepted"
            )
    left = [name for name in own if name not in named and not re.fullmatch("|".join(LEFT_ASIDE), name)]
    if left:
        raise ValueError(f"the network that groundingdino-py builds needs {left[0]} too, which no published file has")
    network.load_state_dict(named, strict=False)
    return PackageDetector(network.requires_grad_(False), architecture).eval()


def _network(architecture: Architecture) -> nn.Module:
    """The package's network with sizes as given, its weights still random."""
    from groundingdino.models.GroundingDINO import groundingdino as package
    from groundingdino.models.GroundingDINO.backbone.backbone import Joiner
    from groundingdino.models.GroundingDINO.backbone.position_encoding import PositionEmbeddingSineHW
    from groundingdino.models.GroundingDINO.backbone.swin_transformer import SwinTransformer
    from groundingdino.models.GroundingDINO.transformer import Transformer
    from groundingdino.util import get_tokenlizer

    # Filled with random numbers that are then replaced, without moving on the process's generator.
    with torch.random.fork_rng(devices=[]):
        swin = SwinTransformer(
            patch_size=architecture.patch,
            embed_dim=architecture.embed,
            depths=architecture.depths,
            num_heads=architecture.heads,
            window_size=architecture.window,
            mlp_ratio=architecture.mlp_ratio,
            out_indices=architecture.outputs,
        )
        positions = PositionEmbeddingSineHW(
            architecture.channels // 2, temperatureH=20, temperatureW=20, normalize=True
        )
        backbone = Joiner(swin, positions)
        backbone.num_channels = [swin.num_features[output] for output in architecture.outputs]
        transformer = Transformer(
            d_model=architecture.channels,
            nhead=architecture.attention_heads,
            num_queries=architecture.queries,
            num_encoder_layers=architecture.encoder_layers,
            num_decoder_layers=architecture.decoder_layers,
            dim_feedforward=architecture.feed_forward,
            return_intermediate_dec=True,
            num_feature_levels=architecture.levels,
            enc_n_points=architecture.encoder_points,
            dec_n_points=architecture.decoder_points,
            learnable_tgt_init=True,
            two_stage_type="standard",
            embed_init_tgt=True,
            use_text_enhancer=True,
            use_fusion_layer=True,
            use_text_cross_attention=True,
        )
        with _own_text_parts(package, get_tokenlizer, architecture):
            return package.GroundingDINO(
                backbone,
                transformer,
                num_queries=architecture.queries,
                iter_update=True,
                query_dim=4,
                num_feature_levels=architecture.levels,
                nheads=architecture.attention_heads,
                two_stage_type="standard",
                dec_pred_bbox_embed_share=True,
                two_stage_class_embed_share=False,
                two_stage_bbox_embed_share=False,
            )


@contextlib.contextmanager
def _own_text_parts(package: Any, factory: Any, architecture: Architecture) -> Iterator[None]:
    """Let the package's constructor take our tokeniser and BERT for its own; afterwards it is as it was."""
    replaced = (
        (factory, "get_tokenlizer", lambda name: Tokens()),
        (factory, "get_pretrained_language_model", lambda name: _text_network(architecture)),
        (package, "BertModelWarper", lambda bert_model: bert_model),
    )
    before = [getattr(owner, name) for owner, name, _ in replaced]
    try:
        for owner, name, replacement in replaced:
            setattr(owner, name, replacement)
        yield
    finally:
        for (owner, name, _), original in zip(replaced, before, strict=True):
            setattr(owner, name, original)


class Tokens:
    """Stands where the package expects a tokeniser; its captions are token ids already, `[1, T]`."""

    def convert_tokens_to_ids(self, tokens: list[str]) -> list[int]:
        return [SPECIAL_IDS[token] for token in tokens]

    def __call__(self, token_ids: Tensor, padding: str, return_tensors: str) -> Any:
        from transformers import BatchEncoding

        return BatchEncoding(
            {
                "input_ids": token_ids,
                "token_type_ids": torch.zeros_like(token_ids),
                "attention_mask": torch.ones_like(token_ids),
            }
        )


def _text_network(architecture: Architecture) -> nn.Module:
    from transformers import BertConfig, BertModel

    class TextNetwork(BertModel):
        """BERT under a mask that says for each token which others it sees; it uses no method that comes and goes."""

        def forward(self, input_ids, attention_mask, token_type_ids, position_ids):
            """attention_mask: bool `[1, T, T]`."""
            hidden = self.embeddings(input_ids=input_ids, position_ids=position_ids, token_type_ids=token_type_ids)
            unseen = torch.zeros(attention_mask.shape, dtype=hidden.dtype, device=hidden.device)
            unseen = unseen.masked_fill(~attention_mask, torch.finfo(hidden.dtype).min)[:, None]
            return {"last_hidden_state": self.encoder(hidden, attention_mask=unseen)[0]}

    return TextNetwork(
        BertConfig(
            vocab_size=architecture.text_tokens,
            max_position_embeddings=architecture.text_positions,
            type_vocab_size=architecture.text_types,
            hidden_size=architecture.text_channels,
            num_attention_heads=architecture.text_heads,
            num_hidden_layers=architecture.text_layers,
            intermediate_size=architecture.text_feed_forward,
            attn_implementation="eager",
        )
    )


@contextlib.contextmanager
def _without_warnings() -> Iterator[None]:
    """Leave out what the package's use of older interfaces makes timm, torch and the package itself warn of."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=FutureWarning, message=r"Importing from timm\.models\.layers")
        warnings.filterwarnings("ignore", category=FutureWarning, message=r".*torch\.cuda\.amp\.autocast")
        warnings.filterwarnings("ignore", category=UserWarning, message=r"Failed to load custom C\+\+ ops")
        warnings.filterwarnings("ignore", category=UserWarning, message=r"torch\.meshgrid")
        yield
