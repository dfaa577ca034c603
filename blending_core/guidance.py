"""Guidance fields v for the Poisson equation: the differences that the pasted pixels should keep."""

import torch
from torch import Tensor

from .differences import Pairs, forward_differences, pairwise
from .distance import distance_to_outside

# A cut-out lies on one flat colour: FLAT_SHARE of the pixels in a ring around it depart from their median by at most
# FLAT_TOLERANCE per channel. The share leaves room for streaks where the source ended and its border was repeated, the
# tolerance for JPEG ringing (measured: cut-outs saved at quality 80 to 98 reach 0.84, disks on photographs 0.70 in 1 %).
# The ring starts a few pixels away because resampling mixes the object's own colour into its nearest surroundings.
FLAT_SHARE = 0.7
FLAT_TOLERANCE = 6 / 255
RING_START, RING_END = 3, 8
LEAST_RING = 64  # pixels; fewer say nothing


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


def opaque_pairs(alpha: Tensor, inside: Tensor) -> Pairs:
    """Weight of every pair by what there is to see of the target: 1 within the object, 0 to a transparent pixel.

    As conductances of the Poisson equation they keep the hidden colours of transparent pixels out of the object.
    alpha: `[B, 1, H, W]` of the target; inside: bool of the same shape.
    """
    return pairwise(torch.mul, torch.where(inside, torch.ones_like(alpha), alpha))


def is_cut_out(image: Tensor, inside: Tensor) -> Tensor:
    """Whether the object was cut out along its outline and lies on one flat colour: bool `[B]`.

    Two things tell: the ring 4 to 8 pixels away from the object has nearly one colour, and the pixels along the object's
    edge have another. Without the second it could be a clear sky with a wide mask. False when fewer than 64 pixels of the
    ring lie in the frame.

    image: `[B, C, H, W]`; inside: bool `[B, 1, H, W]`.
    """
    distance = distance_to_outside(~inside, RING_END + 1)
    ring = ~inside & (distance > RING_START) & (distance <= RING_END)
    rim = distance_to_outside(inside, 2) == 1
    return torch.tensor(
        [_stands_out(*sample) for sample in zip(image, ring[:, 0], rim[:, 0], strict=True)], device=image.device
    )


def _stands_out(image: Tensor, ring: Tensor, rim: Tensor) -> bool:
    surroundings = image[:, ring]
    if surroundings.shape[1] < LEAST_RING:
        return False
    color = surroundings.median(1, keepdim=True).values

    def share_near(pixels: Tensor) -> float:
        return float(((pixels - color).abs().amax(0) <= FLAT_TOLERANCE).float().mean())

    return share_near(surroundings) >= FLAT_SHARE and share_near(image[:, rim]) <= 1 - FLAT_SHARE
