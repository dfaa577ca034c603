"""The methods that are compared: each a function of the placed object, its mask and the target that gives a picture."""

from collections.abc import Callable
from fnmatch import fnmatchcase
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

from deepblend.blending_core import auto_blend
from deepblend.blending_core.composite import composite
from deepblend.blending_core.deep_blend import STATISTICS_OF_PICTURE, Settings, deep_blend
from deepblend.blending_core.differences import forward_differences
from deepblend.blending_core.feature_model import FeatureModel
from deepblend.blending_core.gaussian_poisson import gaussian_poisson_blend, margin
from deepblend.blending_core.guidance import RING_END, is_cut_out, without_surroundings
from deepblend.blending_core.multiband import automatic_levels, multiband_blend
from deepblend.blending_core.opponent_edge_bank import OpponentEdgeBank
from deepblend.blending_core.pan import PAN
from deepblend.blending_core.poisson_blend import poisson_blend
from deepblend.blending_core.recipes import PAINTING, PHOTOGRAPH, PUBLISHED_LOOK, RECIPES
from deepblend.blending_core.region import spanned_region
from deepblend.blending_core.screening import depth_rising_screening
from deepblend.blending_core.vgg import VGG
from ground_truth import seamless_clone
from pictures import to_numpy, to_torch
from transfer_sets import SHARED

EVALUATIONS = 30  # of the losses in each deep stage at most, the nodes' default
SCREENING = 16.0  # the mild color_fidelity of Poisson Blend
PAN_REACH = 48  # pixels; more than any pixel of the picture has an effect on PAN's result
CLONE_BORDER = 2  # pixels around the picture that cv2.seamlessClone needs outside of the mask

Blend = Callable[[Tensor, Tensor, Tensor], Tensor]


class Method(NamedTuple):
    """words: what it does. make: gives the function of object `[1, 3, H, W]`, mask `[1, 1, H, W]` and target, the size of the
    object, that returns the picture."""

    label: str
    words: str
    make: Callable[["Networks"], Blend]
    needs_pan: bool = False


class Networks(NamedTuple):
    """features: what the deep stages see with. pan: None where its weights are absent or not needed."""

    features: FeatureModel
    pan: nn.Module | None


def load_networks(model: Path | None, keys: list[str]) -> Networks:
    """Those that some methods need. model: a file with weights of VGG; None for the built-in feature model."""
    features = OpponentEdgeBank() if model is None else VGG(read_weights(model))
    return Networks(features, _find_pan() if any(METHODS[key].needs_pan for key in keys) else None)


def _find_pan() -> nn.Module | None:
    path = SHARED / "models" / "pan" / "PANx2_DF2K.pth"
    if not path.is_file():
        return None
    return PAN(read_weights(path))


def read_weights(path: Path) -> dict[str, Tensor]:
    """Raises ValueError if it is no file of weights."""
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except OSError:
        raise
    except Exception as error:  # each format has errors of its own
        raise ValueError(f"{path} cannot be read as a file of weights ({type(error).__name__})") from error


def paste(object_: Tensor, mask: Tensor, target: Tensor) -> Tensor:
    return composite(object_, mask, target)


def opencv_seamless_clone(object_: Tensor, mask: Tensor, target: Tensor) -> Tensor:
    """Its mask must not touch the frame, and it takes 8-bit pictures and hard masks."""
    border = (CLONE_BORDER,) * 4
    object_, target = (F.pad(image, border, mode="replicate") for image in (object_, target))
    inside = F.pad(mask, border)[0, 0].numpy() >= 0.5
    cloned = seamless_clone(SimpleNamespace(source=to_numpy(object_), mask=inside, target=to_numpy(target)))
    return to_torch(cloned)[..., CLONE_BORDER:-CLONE_BORDER, CLONE_BORDER:-CLONE_BORDER]


def poisson(mixed: bool = False, screening: float = 0.0) -> Blend:
    """The node Poisson Blend."""

    def blend(object_, mask, target):
        inside, differences = mask > 0, forward_differences(object_)
        if is_cut_out(object_, inside).item():
            differences = without_surroundings(differences, inside)
        held = depth_rising_screening(inside, screening) if screening else 0.0
        blended = poisson_blend(object_, inside, target, differences, mixed=mixed, screening=held)
        return composite(blended, mask, target)

    return blend


def multiband(object_: Tensor, mask: Tensor, target: Tensor) -> Tensor:
    levels = automatic_levels(object_, mask, target)
    return composite(multiband_blend(object_, mask > 0, target, levels), mask, target)


def gaussian_poisson(object_: Tensor, mask: Tensor, target: Tensor) -> Tensor:
    """Within the box that its node computes, since it looks no farther."""
    inside = mask > 0
    region = (..., *spanned_region(inside[0, 0], max(RING_END, margin(inside))))
    blended = gaussian_poisson_blend(object_[region], inside[region], target[region])
    result = target.clone()
    result[region] = composite(blended, mask[region], target[region])
    return result


def seated(object_: Tensor, mask: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Auto Blend's picture and its mask."""
    plan = auto_blend.plan_seating(object_, mask, target)
    return auto_blend.seat(object_, mask, target, plan, auto_blend.Settings())


def photograph_recipe(networks: Networks) -> Blend:
    recipe = RECIPES[PHOTOGRAPH]

    def blend(object_, mask, target):
        image, mask = seated(object_, mask, target)
        return stage(recipe.stage_1, recipe.keep_color_1, image, image, mask, target, networks.features)

    return blend


def deep(networks: Networks, *, saturation: bool = False, pan: bool = False) -> Blend:
    """Both stages with the painting recipe, from Auto Blend's picture; with PAN each is followed by it."""
    recipe = RECIPES[PAINTING]

    def refined(image, mask, target):
        return sharpened(networks.pan, image, mask, target) if pan else image

    def blend(object_, mask, target):
        image, mask = seated(object_, mask, target)
        image = stage(recipe.stage_1, recipe.keep_color_1, image, image, mask, target, networks.features)
        image = refined(image, mask, target)
        weights = recipe.stage_2.scaled(saturation=float(saturation))
        image = stage(weights, recipe.keep_color_2, image, image, mask, target, networks.features)
        return refined(image, mask, target)

    return blend


def as_published(networks: Networks) -> Blend:
    """Both stages as Zhang et al. 2020 have them: from a paste, its style that of whole pictures."""
    recipe = RECIPES[PUBLISHED_LOOK]

    def blend(object_, mask, target):
        image = paste(object_, mask, target)
        more = {"statistics": STATISTICS_OF_PICTURE}
        image = stage(recipe.stage_1, recipe.keep_color_1, object_, image, mask, target, networks.features, **more)
        weights = recipe.stage_2.scaled(saturation=0)
        return stage(weights, recipe.keep_color_2, image, image, mask, target, networks.features, **more)

    return blend


def stage(weights, keep_color, reference, start, mask, target, features, **more) -> Tensor:
    """One stage as its node runs it, histogram loss and total variation off."""
    weights = weights.scaled(histogram=0, total_variation=0)
    settings = Settings(weights, EVALUATIONS, keep_color, **more)
    return deep_blend(reference, mask, target, start, features, settings)[0]


def sharpened(pan: nn.Module, image: Tensor, mask: Tensor, target: Tensor) -> Tensor:
    """The object enlarged by PAN and brought back to its size by the mean of each block of pixels."""
    region = (..., *spanned_region(mask[0, 0] > 0, PAN_REACH))
    with torch.no_grad():
        enlarged = pan(image[region].contiguous(memory_format=torch.channels_last)).clamp(0, 1)
    result = target.clone()
    result[region] = composite(F.avg_pool2d(enlarged, pan.scale), mask[region], target[region])
    return result


METHODS = {
    "paste": Method("copy-paste", "the placed object over the target", lambda _: paste),
    "seamless_clone": Method(
        "cv2.seamlessClone", "OpenCV's Poisson blending, normal clone", lambda _: opencv_seamless_clone
    ),
    "poisson": Method("Poisson, source", "Poisson Blend, exact, the object's gradients", lambda _: poisson()),
    "poisson_mixed": Method(
        "Poisson, mixed", "Poisson Blend, the stronger gradients of both", lambda _: poisson(mixed=True)
    ),
    "poisson_screened": Method(
        "Poisson, screened",
        f"Poisson Blend with color_fidelity {SCREENING:.0f}",
        lambda _: poisson(screening=SCREENING),
    ),
    "multiband": Method(
        "multiband",
        "Laplacian pyramids (Burt and Adelson 1983), the number of levels chosen automatically",
        lambda _: multiband,
    ),
    "gaussian_poisson": Method(
        "Gaussian-Poisson",
        "the Gaussian-Poisson equation of GP-GAN (Wu et al. 2019), with the copy-paste in place of the network's picture",
        lambda _: gaussian_poisson,
    ),
    "auto": Method("Auto Blend", "Auto Blend with its defaults", lambda _: lambda *inputs: seated(*inputs)[0]),
    "photograph": Method(
        "+ photograph recipe",
        "Auto Blend, then stage 1 with the recipe photograph: the default for photographs",
        photograph_recipe,
    ),
    "deep": Method(
        "deep", "Auto Blend, then stage 1 and 2 with the recipe painting, without saturation loss and PAN", deep
    ),
    "deep_saturation": Method(
        "deep + saturation",
        "the same with the saturation loss in stage 2",
        lambda networks: deep(networks, saturation=True),
    ),
    "deep_pan": Method(
        "deep + PAN",
        "deep, and after each stage PAN x2 with the mean of its blocks of 2 × 2 pixels, inside the mask",
        lambda networks: deep(networks, pan=True),
        needs_pan=True,
    ),
    "deep_pan_saturation": Method(
        "deep + PAN + saturation",
        "both of them",
        lambda networks: deep(networks, saturation=True, pan=True),
        needs_pan=True,
    ),
    "as_published": Method(
        "deep, as published",
        "stage 1 and 2 from a paste, statistics of the whole picture, the recipe published look, without saturation loss and "
        "PAN: Deep Image Blending as its paper has it, but for our optimiser and our feature model",
        as_published,
    ),
}


def chosen_methods(patterns: list[str]) -> list[str]:
    """Keys of METHODS in their order; a pattern is a key, perhaps with the wildcards * and ?.

    Raises:
        ValueError: if a pattern means none.
    """
    unused = [pattern for pattern in patterns if not any(fnmatchcase(key, pattern) for key in METHODS)]
    if unused:
        raise ValueError(
            f"--methods: {', '.join(unused)} means no method; {', '.join(METHODS)} are accepted, or wildcards"
        )
    return [key for key in METHODS if any(fnmatchcase(key, pattern) for pattern in patterns)]
