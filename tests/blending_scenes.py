"""Small pictures with an object to blend, and masks of every kind."""

import numpy as np
import torch

from deepblend.blending_core.composite import composite
from pictures import smooth_picture, to_torch

HEIGHT, WIDTH = 48, 64


def disk(height=HEIGHT, width=WIDTH, y=22, x=30, radius=10, softness=0.0):
    """`[H, W]`; a soft edge is so many pixels wide."""
    distance = radius - np.hypot(*(np.mgrid[:height, :width] - np.array([y, x])[:, None, None]))
    return np.clip(distance / softness, 0, 1) if softness else (distance > 0).astype(float)


def masks():
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    one = np.zeros((HEIGHT, WIDTH))
    one[17, 40] = 1
    ring = disk(radius=16) - disk(radius=6)
    return {
        "disk": disk(),
        "soft disk": disk(radius=14, softness=6),
        "ring": ring,
        "whole frame": np.ones((HEIGHT, WIDTH)),
        "softly the whole frame": np.full((HEIGHT, WIDTH), 0.4),
        "one pixel": one,
        "the corner pixel": np.roll(one, (HEIGHT - 1 - 17, WIDTH - 1 - 40), (0, 1)),
        "at the border": ((x < 15) & (y > 30)).astype(float),
        "traces": np.where(disk(radius=14) > 0, 10.0 ** -((x + y) % 37), 0),
    }


MASKS = masks()


def scene(mask="disk", size=(HEIGHT, WIDTH), channels=3):
    """Reference, mask, target, and the plain paste to start from."""
    mask = to_torch(MASKS[mask] if isinstance(mask, str) else mask)
    generator = np.random.default_rng(7)
    noise = 0.15 * generator.uniform(-1, 1, (*size, 3))
    own = to_torch((0.2 + 0.6 * smooth_picture(*size, 1) + noise).clip(0, 1))
    target = to_torch((0.1 + 0.8 * smooth_picture(*size, 2)).clip(0, 1))
    if channels == 4:
        alpha = to_torch(np.round(2 * generator.random(size)) / 2)
        target = torch.cat([target, alpha], 1)
    return own, mask, target, composite(own, mask, target)[:, :3]
