"""What one frame of a video leaves to the next, so that an optimised object does not flicker and little is optimised twice.

An optimisation that ends before it has converged leaves the object a little different after every small change of the
target, such as grain. Beginning with the frame before is not enough against that: going on from there, the object creeps
on. So a frame takes over the change that was made to the object before, and keeps it while it serves. It is the change that
is taken over, and not the object, so that a frame's own light, and its grain along the mask's edge, stay in it. The change
moves and grows with the box of the object.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from .region import spanned_region
from .resample import resize

# The part of the loss's fall that may be missing before a change is optimised further. Half of it makes jumps no smaller.
SLACK = 0.1


class WarmStart(NamedTuple):
    """change: what was added to the object's colours, over the mask's box `[1, 3, h, w]`, 0 where the mask is. share: the part
    of the loss at the start that was left in the end."""

    change: Tensor
    share: float

    def added_to(self, picture: Tensor, inside: Tensor) -> Tensor:
        """A picture `[1, 3, H, W]` with the change, stretched from its own box to the box of what is inside."""
        part = (..., *spanned_region(inside[0, 0]))
        changed = picture.clone()
        changed[part] += resize(self.change, inside[part].shape[-2:])
        return torch.where(inside, changed.clamp(0, 1), picture)

    def enough_from(self, loss: float) -> float:
        """The loss at which a frame is done whose start has this one."""
        return loss * (1 - (1 - SLACK) * (1 - self.share))


def change_of(start: Tensor, end: Tensor, inside: Tensor) -> Tensor:
    """The `change` that leads from one picture `[1, 3, H, W]` to another."""
    part = (..., *spanned_region(inside[0, 0]))
    return torch.where(inside, end - start, torch.zeros_like(start))[part]
