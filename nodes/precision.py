"""The `precision` of the deep stages: the type in which a network computes while the object is optimised."""

import logging

import torch
from comfy_api.latest import io

from ..blending_core.feature_model import FeatureModel
from .host import compute_device, is_quick_with_bfloat16

logger = logging.getLogger(__name__)

AUTO, SINGLE, BFLOAT16 = "auto", "fp32", "bf16"


def precision_input() -> io.Input:
    """Comes last among a node's inputs."""
    return io.Combo.Input(
        "precision",
        options=[AUTO, SINGLE, BFLOAT16],
        default=AUTO,
        optional=True,
        advanced=True,
        tooltip="How finely VGG computes while it searches: fp32, or bf16, which takes half of the time or less on hardware that "
        "has it (processors with AVX512-BF16 or AMX, newer graphics cards) and gives nearly the same picture. The last "
        "evaluation is always fp32. Auto takes bf16 where it is quick. The built-in model always computes in fp32.",
    )


def precision_for(node: str, choice: str, model: FeatureModel) -> torch.dtype:
    """What a choice means for a model on this machine; `node` names the node in the log."""
    if choice == SINGLE or not model.takes_bfloat16:
        return torch.float32
    if is_quick_with_bfloat16():
        return torch.bfloat16
    if choice == AUTO:
        return torch.float32
    logger.warning("%s: precision is bf16, in which %s is slow; auto would take fp32 here", node, compute_device())
    return torch.bfloat16
