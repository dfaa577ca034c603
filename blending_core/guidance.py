"""Guidance fields v for the Poisson equation: the differences that the pasted pixels should keep."""

import torch
from torch import Tensor

from .differences import Pairs, forward_differences, pairwise
from .distance import distance_to_outside

# A cut-out lies on one flat colour: this share of the pixels around it departs from their median by at most
# FLAT_TOLERANCE per channel. The ring starts a few pixels away because resampling mixes the object's own colour
# into its nearest surroundings.
FLAT_SHARE = 0.98
FLAT_TOLERANCE = 1.5 / 255
RING_START, RING_END = 3, 8


def monochrome_differences(image: Tensor) -> Pairs:
    """Differences of the luma in every channel, so that only light and shade are carried over.

    Pérez et al. 2003, section 3 ("monochrome transfer"). `image`: `[B, 3, H, W]`.
    """
    return forward_differences(luma(image).expand_as(image))


def luma(image: Tensor) -> Tensor:
    """Rec. 709 luma of `[B, 3, H, W]` sRGB values: `[B, 1, H, W]`."""
    weights = torch.tensor([0.2126, 0.7152, 0.0722], dtype=image.dtype, device=image.device)
    return (image * weights[:, None, None]).sum(1, keepdim=True)


def stronger_differences(source: Pairs, target: Pairs) -> Pairs:
    """Mixed guidance: of each pair the difference whose norm over the channels is larger (Pérez et al. 2003, eq. 13)."""
    return tuple(
        torch.where(t.norm(dim=1, keepdim=True) > s.norm(dim=1, keepdim=True), t, s)
        for s, t in zip(source, target, strict=True)
    )


def without_surroundings(guidance: Pairs, inside: Tensor) -> Pairs:
    """Guidance 0 on the pairs that join the object to its surroundings.

    For an object cut out on a flat colour the step across its contour says nothing about a scene, and keeping it
    would tint the whole object. `inside`: bool `[B, 1, H, W]`.
    """
    crossing = pairwise(torch.logical_xor, inside)
    return tuple(torch.where(c, torch.zeros_like(v), v) for v, c in zip(guidance, crossing, strict=True))


def on_flat_surroundings(image: Tensor, inside: Tensor) -> Tensor:
    """Whether the pixels around the object all have one colour: bool `[B]`.

    Looks at the ring 4 to 8 pixels away from the object. False when no such pixel lies in the frame.
    `image`: `[B, C, H, W]`; `inside`: bool `[B, 1, H, W]`.
    """
    distance = distance_to_outside(~inside, RING_END + 1)
    ring = ~inside & (distance > RING_START) & (distance <= RING_END)
    flat = []
    for picture, where in zip(image, ring[:, 0], strict=True):
        pixels = picture[:, where]
        if pixels.shape[1] == 0:
            flat.append(False)
            continue
        departure = (pixels - pixels.median(1, keepdim=True).values).abs().amax(0)
        flat.append(bool((departure <= FLAT_TOLERANCE).float().mean() >= FLAT_SHARE))
    return torch.tensor(flat, device=image.device)
