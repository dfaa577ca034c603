"""Deep blending: the object's pixels are optimised until gradient, content and style agree with both pictures.

Zhang, Wen and Shi 2020, "Deep Image Blending". Stage 1 minimises gradient, content and style loss (algorithm 1), stage 2
refines the style and holds the content of stage 1's picture (algorithm 2), with the saturation loss of Xue et al. 2023.
"""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from .color import oklab_to_srgb, srgb_to_oklab
from .composite import composite
from .differences import adjoint_differences, forward_differences, laplacian
from .feature_model import TILE, FeatureModel, Features, aligned_region
from .guidance import RING_END, is_cut_out, without_surroundings
from .histogram import SAMPLES, histogram_loss
from .lbfgs import minimize
from .losses import content_loss, gradient_loss, gram_matrix, style_loss, total_variation
from .poisson import OnStep
from .recipes import Weights
from .region import Region, spanned_region
from .saturation import SaturationLoss, SaturationSettings
from .spectral_hessian import SpectralHessian
from .target_statistics import target_statistics
from .warm_start import WarmStart, change_of

LEAST_SIDE = 16  # pixels; smaller pictures have no deep features and are continued by their border

SAME_COLOR = 1 / 255  # a picture that went through a file differs by as much
# Memory, measured, with room to spare for VGG-19. Around the object: copies of the activations that a pass through the
# network and back holds, of the picture that the optimiser does, and bytes per pixel of the histogram loss. Of the whole
# picture: copies of its colours; bytes of each value that its distributions are known by; and copies of the activations that
# a pass through the network alone holds, over one tile.
ACTIVATION_COPIES, PICTURE_COPIES, HISTOGRAM_BYTES, WHOLE_COPIES, SAMPLE_BYTES, TILE_COPIES = 1.2, 95, 500, 5, 10, 1

STATISTICS_OF_OBJECT, STATISTICS_OF_PICTURE = "object", "picture"
History = dict[str, list[float]]


class Settings(NamedTuple):
    """weights: of the loss terms. evaluations: the most that are made of them. statistics: whether the style is that of the
    "object" (its Gram matrices under the mask) or of the whole "picture" (as in the papers), against the whole target's.
    keep_color 0..1: the part of the object's own chroma that is given back at the end. saturation: its form and region;
    its weight is among the weights. precision: with torch.bfloat16 a model that takes it computes in it, in all evaluations
    but the last; otherwise models compute in the pictures' type."""

    weights: Weights
    evaluations: int
    keep_color: float = 0.0
    statistics: str = STATISTICS_OF_OBJECT
    saturation: SaturationSettings = SaturationSettings()
    precision: torch.dtype = torch.float32


def deep_blend(
    reference: Tensor,
    mask: Tensor,
    target: Tensor,
    start: Tensor,
    model: FeatureModel,
    settings: Settings,
    on_step: OnStep | None = None,
    *,
    blended: bool | None = None,
) -> tuple[Tensor, History]:
    """Optimise the pixels where the mask is above 0.

    reference: `[1, 3, H, W]`, whose gradients and content are kept: the object on the target's canvas with its surroundings,
    or a picture in which it is blended already. mask: `[1, 1, H, W]` in 0..1, not empty. target: `[1, 3 or 4, H, W]`. start:
    `[1, 3, H, W]`, the composite to begin with. model: on the pictures' device. blended: whether the reference is blended
    already, so that around the mask it counts as the target; None finds out by comparing the two there.

    Returns the picture, bit-equal to the target where the mask is 0, and the weighted loss terms of every evaluation, "total"
    first. With bfloat16 the last are those of the point found, not rounded. Deterministic. To be called with gradients
    enabled and outside of inference mode.
    """
    image, history, _ = deep_blend_frame(reference, mask, target, start, model, settings, on_step, blended=blended)
    return image, history


def deep_blend_frame(
    reference: Tensor,
    mask: Tensor,
    target: Tensor,
    start: Tensor,
    model: FeatureModel,
    settings: Settings,
    on_step: OnStep | None = None,
    *,
    blended: bool | None = None,
    before: WarmStart | None = None,
) -> tuple[Tensor, History, WarmStart]:
    """`deep_blend` for a frame of a video, which begins with what the frame before was changed by.

    before: what the last call for the frame before gave; None for the first. The loss of the start is evaluated with and
    without that change, and the lower one is where it begins: so a cut begins anew. Where the change alone lowers the loss
    nearly as far as it came in the frame that began anew, nothing is optimised, and the change stays as it is. Returns
    also what the next frame begins with.
    """
    size = target.shape[-2:]
    padding = (0, max(LEAST_SIDE - size[1], 0), 0, max(LEAST_SIDE - size[0], 0))
    if any(padding):
        reference, target, start = (F.pad(image, padding, mode="replicate") for image in (reference, target, start))
        mask = F.pad(mask, padding)
    problem = Problem(reference, mask, target, start, model, settings, blended)
    history: History = {}
    rounds = problem.rounding_pass is not None and settings.evaluations > 1

    def losses_of(values: Tensor, rounding: bool) -> tuple[Tensor, dict[str, Tensor]]:
        image = problem.composite_of(values)
        terms = problem.terms(image, rounding)
        total = sum(terms.values(), 0 * values.sum())  # where all weights are 0 there is nothing to do, and no error
        return image.detach(), {"total": total, **terms}

    def record(image: Tensor, terms: dict[str, Tensor]) -> None:
        _record(history, terms)
        if on_step is not None:
            latest = {name: values[-1] for name, values in history.items()}
            on_step(len(history["total"]), settings.evaluations, latest, image)

    def evaluate(values: Tensor) -> tuple[float, Tensor]:
        values = values.detach().requires_grad_()
        image, terms = losses_of(values, rounds)
        (gradient,) = torch.autograd.grad(terms["total"], values)
        record(image, terms)
        return history["total"][-1], gradient

    values, evaluations, known, enough = problem.start, settings.evaluations - rounds, None, -math.inf
    if before is not None and evaluations > 2:
        changed = problem.values_of(before.added_to(problem.picture_of(values), problem.inside))
        known, of_changed = evaluate(values), evaluate(changed)
        evaluations -= 1
        if of_changed[0] < known[0]:
            enough = before.enough_from(known[0])
            values, known = changed, of_changed
    left = before
    if known is None or known[0] > enough:
        values = minimize(evaluate, values, evaluations, problem.hessian(), known, enough)
        first, best = history["total"][0], min(history["total"])
        share = before.share if best <= enough else best / (first or 1.0)
        left = WarmStart(
            change_of(problem.picture_of(problem.start), problem.picture_of(values), problem.inside), share
        )
    if rounds:
        with torch.no_grad():
            record(*losses_of(values, rounding=False))
    pixels = problem.picture_of(values)
    if settings.keep_color:
        pixels = _give_back_chroma(pixels, problem.own_color, settings.keep_color)
    result = target.clone()
    result[(..., *problem.part)] = composite(pixels, *problem.mask_and_target)
    return result[..., : size[0], : size[1]], history, left


def working_bytes(mask: Tensor, target: Tensor, model: FeatureModel, settings: Settings) -> int:
    """About the memory that `deep_blend` takes beside its inputs, on the pictures' device."""
    rows, columns = _part(mask > 0, model, settings)
    height, width = mask.shape[-2:]
    per_pixel = 4 * (ACTIVATION_COPIES * model.values_per_pixel + PICTURE_COPIES * 3)
    whole = 4 * WHOLE_COPIES * 3 * height * width
    if settings.weights.histogram:
        per_pixel += HISTOGRAM_BYTES
        for layer, channels in model.channels.items():
            whole += SAMPLE_BYTES * channels * min(height * width // model.strides[layer] ** 2, SAMPLES)
    around_object = per_pixel * (rows.stop - rows.start) * (columns.stop - columns.start)
    side = TILE + 2 * model.reach
    in_tile = 4 * TILE_COPIES * model.values_per_pixel * min(height, side) * min(width, side)
    return round(max(around_object, in_tile)) + whole


def _part(inside: Tensor, model: FeatureModel, settings: Settings) -> Region:
    """The part of the picture that the object has an effect on, and around it all that its features there depend on."""
    margin = max(settings.saturation.width, RING_END, model.reach)
    return aligned_region(spanned_region(inside[0, 0], margin), inside.shape[-2:], model)


class Problem:
    """What stays the same during the optimisation, for the part of the picture that the object has an effect on."""

    def __init__(self, reference, mask, target, start, model, settings, blended):
        inside = mask > 0
        self.part = _part(inside, model, settings)
        color, visible = target[:, :3], target[:, 3:]
        if not visible.shape[1]:
            visible = torch.ones_like(mask)
        # A transparent pixel's hidden colour says nothing; the object's own surroundings make no false edge there. Under the
        # object it is the target's colour that shows through, as much as the mixing lets it.
        color = torch.where(inside & (visible > 0), color, torch.lerp(reference, color, visible))

        def cut(image):
            return image[(..., *self.part)]

        self.model, self.weights = model, settings.weights
        if not all(share.any() for share in model.layer_masks(visible).values()):
            # There is nothing to take the style of; of the last rows and columns, which no feature covers, neither.
            self.weights = self.weights._replace(style=0.0, histogram=0.0, saturation=0.0)
        self.mask_and_target = cut(mask), cut(target)
        self.inside, self.mask, self.color = cut(inside), cut(mask), cut(color)
        # The weight that `composite` gives the object's colour; over an opaque target it is the mask.
        self.mixing = self.mask / (self.mask + (1 - self.mask) * cut(visible)).clamp_min(torch.finfo(mask.dtype).tiny)
        unmixed_start = self._unmixed(cut(start))
        self.start = self.values_of(unmixed_start)
        if blended is None:
            blended = _equals_around(reference, color, inside)
        self.own_color = self._unmixed(cut(reference)) if blended else cut(reference)
        if self.weights.gradient:
            self._prepare_gradient(cut(reference), blended)
        self.rounding_pass = None
        self.whole_picture = settings.statistics == STATISTICS_OF_PICTURE
        if self.weights.content or self.weights.style or self.weights.histogram:
            self._prepare_features(
                cut(reference), blended, self._composite(unmixed_start), color, visible, settings.precision
            )
        if self.weights.saturation:
            self.saturation_loss = SaturationLoss(mask, color, settings.saturation, self.part, visible > 0)

    def _prepare_gradient(self, reference, blended):
        """Guidance of the gradient loss."""
        if blended:
            self.guidance = laplacian(reference)
            return
        differences = forward_differences(reference)
        if is_cut_out(reference, self.inside).item():
            differences = without_surroundings(differences, self.inside)
        self.guidance = self.mask * adjoint_differences(differences) + (1 - self.mask) * laplacian(self.color)

    def _prepare_features(self, reference, blended, start, color, visible, precision):
        """What the losses on features compare with."""
        model, weights = self.model, self.weights
        self.region_pass = model.region_pass(self.color, spanned_region(self.inside[0, 0]), self.whole_picture)
        if precision == torch.bfloat16 and model.takes_bfloat16:
            self.rounding_pass = self.region_pass.in_bfloat16()
        self.masks = self._in_places(model.layer_masks(self.mask))
        with torch.no_grad():
            if weights.content:
                # A blended picture is the target's around the object.
                features = self.region_pass(reference) if blended else self._in_places(model(reference))
                self.references = {layer: features[layer].clone() for layer in model.content_layers}
                del features  # much memory
            if weights.style or weights.histogram:
                places = {
                    layer: tuple(
                        slice(part.start // stride + span.start, part.start // stride + span.stop)
                        for part, span in zip(self.part, self.region_pass.places[layer], strict=True)
                    )
                    for layer, stride in model.strides.items()
                }
                self.target = target_statistics(model, color, visible, places, bool(weights.histogram))
                self.start_grams = self._grams(self.region_pass(start))

    def _in_places(self, maps: Features) -> Features:
        """Of features of the part, those that the region pass gives."""
        return {layer: maps[layer][(..., *place)] for layer, place in self.region_pass.places.items()}

    def picture_of(self, values: Tensor) -> Tensor:
        """Colours Z of the object, the target's elsewhere: `[1, 3, h, w]`."""
        return self.color.masked_scatter(self.inside, values)

    def composite_of(self, values: Tensor) -> Tensor:
        """B = m Z + (1 - m) T."""
        return self._composite(self.picture_of(values))

    def terms(self, image: Tensor, rounding: bool = False) -> dict[str, Tensor]:
        """The loss terms of a composite, each with its weight; terms of weight 0 are left out. rounding: whether the features
        are computed in bfloat16. What they are compared with never is: rounding would move every run alike."""
        weights, terms = self.weights, {}
        if weights.gradient:
            terms["gradient"] = weights.gradient * gradient_loss(image, self.guidance, self.mask)
        if weights.content or weights.style or weights.histogram:
            features = (self.rounding_pass if rounding else self.region_pass)(image)
        if weights.content:
            terms["content"] = weights.content * content_loss(features, self.references, self.masks)
        if weights.style:
            terms["style"] = weights.style * style_loss(self._grams(features), self.target.grams, self.start_grams)
        if weights.histogram:
            terms["histogram"] = weights.histogram * histogram_loss(features, self.target.distributions, self.masks)
        if weights.total_variation:
            terms["total variation"] = weights.total_variation * total_variation(image, self.mask)
        if weights.saturation:
            terms["saturation"] = weights.saturation * self.saturation_loss(image)
        return terms

    def hessian(self) -> SpectralHessian:
        """What is known of the total's Hessian before it is evaluated: that of the gradient term, which is a square."""
        # Of masks that are traces only the sum is too small to divide by, but not the pixels' shares of it.
        share = self.mask / self.mask.sum().clamp_min(torch.finfo(self.mask.dtype).tiny)
        factor = self.weights.gradient / 3

        def stiff_product(change):
            image = self.mixing * torch.zeros_like(self.color).masked_scatter(self.inside, change)
            image = self.mixing * laplacian(share * laplacian(image))
            return factor * self.values_of(image)

        effect = self.values_of(self.mixing.expand_as(self.color))
        # The squared Laplacian, as strong as it is on average where it counts.
        return SpectralHessian(self.inside, effect, factor * float(share.square().sum()), stiff_product)

    def _grams(self, features: Features) -> Features:
        layers = self.model.style_layers
        if not self.whole_picture:
            return {layer: gram_matrix(features[layer], self.masks[layer]) for layer in layers}
        return {
            layer: self.target.around[layer]
            + self.target.shares[layer] * gram_matrix(features[layer], torch.ones_like(self.masks[layer]))
            for layer in layers
        }

    def _composite(self, pixels: Tensor) -> Tensor:
        return torch.where(self.inside, torch.lerp(self.color, pixels, self.mixing), self.color)

    def _unmixed(self, image: Tensor) -> Tensor:
        """The colours Z whose composite is the image, as far as there are such."""
        mixing = self.mixing.where(self.inside, torch.ones_like(self.mixing))
        return (self.color + (image - self.color) / mixing).clamp(0, 1)

    def values_of(self, pixels: Tensor) -> Tensor:
        return pixels[self.inside.expand_as(pixels)]


def _equals_around(reference: Tensor, color: Tensor, inside: Tensor) -> bool:
    """Whether two pictures are the same outside of the object, as far as there is an outside."""
    around = (~inside).expand_as(color)
    return bool(around.any()) and bool(((reference - color)[around].abs() <= SAME_COLOR).all())


def _give_back_chroma(pixels: Tensor, own_color: Tensor, share: float) -> Tensor:
    """`share` of the object's own chroma with the lightness of the optimised pixels."""
    optimised, own = srgb_to_oklab(pixels), srgb_to_oklab(own_color)
    return oklab_to_srgb(torch.cat([optimised[:, :1], torch.lerp(optimised[:, 1:], own[:, 1:], share)], 1))


def _record(history: History, terms: dict[str, Tensor]) -> None:
    for name, value in zip(terms, torch.stack(list(terms.values())).tolist(), strict=True):
        history.setdefault(name, []).append(value)
