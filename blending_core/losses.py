"""The terms that deep blending minimises, on a composite B = m Z + (1 - m) T (Zhang et al. 2020, "Deep Image Blending").

Pictures are `[1, 3, H, W]` in 0..1, masks `[1, 1, H, W]`, features `[1, N_l, H_l, W_l]`. Sums over the object are divided by
the sum of the mask, so that a weight means the same for a small object in a large picture as for a large one.
"""

import torch
from torch import Tensor

from .differences import forward_differences, laplacian, pairwise
from .feature_model import Features


def gradient_loss(image: Tensor, guidance: Tensor, mask: Tensor) -> Tensor:
    """Half the mean square, weighted by the mask, of the Laplacian's deviation from the guidance (eq. 6).

    guidance: m Laplacian(O) + (1 - m) Laplacian(T).
    """
    deviation = (laplacian(image) - guidance).square().sum(1, keepdim=True)
    return _per_pixel(mask * deviation, mask) / (2 * image.shape[1])


def content_loss(features: Features, references: Features, masks: Features) -> Tensor:
    """Mean over the layers of half the masked mean square of the features' deviation from the references (eqs. 7, 9)."""
    terms = [
        _per_pixel(masks[layer] * (features[layer] - reference).square().sum(1, keepdim=True), masks[layer])
        / (2 * reference.shape[1])
        for layer, reference in references.items()
    ]
    return sum(terms) / len(terms)


def gram_matrix(features: Tensor, weights: Tensor) -> Tensor:
    """Mean of f f^T over the positions, weighted: `[1, N, N]`; 0 where all weights are 0."""
    weights = weights / weights.sum().clamp_min(torch.finfo(weights.dtype).tiny)
    if features.dtype == weights.dtype:
        return _GramMatrix.apply(features, weights)
    # Rounding moves all weights of a plain mask by the same, which would show as a bias. Their sum is about 1, or 0.
    rounded = weights.to(features.dtype)
    total = rounded.sum(dtype=weights.dtype).clamp_min(0.5)
    return _GramMatrix.apply(features, rounded).to(weights.dtype) / total


class _GramMatrix(torch.autograd.Function):
    """F W F^T; its derivative in the direction G is (G + G^T) F W, one product where autograd would take two."""

    @staticmethod
    def forward(ctx, features, weights):
        ctx.save_for_backward(features, weights)
        flat = features[0].flatten(1)
        return ((flat * weights[0].flatten(1)) @ flat.mT)[None]

    @staticmethod
    def backward(ctx, gradient):
        features, weights = ctx.saved_tensors
        # In the order of features whose channels are last in memory.
        product = features[0].flatten(1).mT @ (gradient + gradient.mT)[0]
        return product.mT.unflatten(1, features.shape[2:])[None].mul_(weights), None


def style_loss(grams: Features, targets: Features, starts: Features) -> Tensor:
    """Mean over the layers of ||G - G_T||^2 / (||G_T||^2 + ||G_start||^2) (eqs. 8, 10, made relative).

    By the denominator one weight fits all pictures; without its second part thin objects on smooth targets would dissolve.
    """
    terms = [
        (grams[layer] - target).square().sum()
        / (target.square().sum() + starts[layer].square().sum()).clamp_min(torch.finfo(target.dtype).tiny)
        for layer, target in targets.items()
    ]
    return sum(terms) / len(terms)


def total_variation(image: Tensor, mask: Tensor) -> Tensor:
    """Sum of the absolute differences of all pairs of neighbours that touch the object, per pixel of it (eq. 12)."""
    touching = pairwise(torch.logical_or, mask > 0)
    total = sum(
        (difference.abs() * touch).sum() for difference, touch in zip(forward_differences(image), touching, strict=True)
    )
    return total / mask.sum().clamp_min(torch.finfo(mask.dtype).tiny)


def _per_pixel(values: Tensor, mask: Tensor) -> Tensor:
    return values.sum() / mask.sum().clamp_min(torch.finfo(mask.dtype).tiny)
