"""Small pictures and masks for tests, and conversions."""

import numpy as np
import torch


def smooth_picture(height, width, seed, channels=3):
    """Sums of random waves: `[H, W, C]` float64 in 0..1."""
    generator = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    picture = np.zeros((height, width, channels))
    for _ in range(6):
        fy, fx, phase = generator.uniform(-0.3, 0.3), generator.uniform(-0.3, 0.3), generator.uniform(0, 6, channels)
        picture += np.cos(fy * y[..., None] + fx * x[..., None] + phase)
    return (picture - picture.min()) / np.ptp(picture)


def random_picture(height, width, batch=1, channels=3, seed=0):
    """IMAGE of noise."""
    return torch.rand(batch, height, width, channels, generator=torch.Generator().manual_seed(seed))


def soft_mask(height, width, batch=1):
    """MASK of blobs with soft edges that touch the frame, and much empty ground."""
    mask = torch.rand(batch, 1, height, width, generator=torch.Generator().manual_seed(7))
    mask = torch.nn.functional.avg_pool2d(mask, 9, 1, 4)[:, 0] if min(height, width) > 9 else mask[:, 0]
    return ((mask - 0.5) * 8).clamp(0, 1)


def to_torch(image, dtype=torch.float32):
    """`[H, W, C]` or `[H, W]` to `[1, C, H, W]`."""
    tensor = torch.from_numpy(np.ascontiguousarray(image))
    tensor = tensor[None, None] if tensor.dim() == 2 else tensor.movedim(-1, 0)[None]
    return tensor if tensor.dtype == torch.bool else tensor.to(dtype)


def to_numpy(tensor):
    """`[1, C, H, W]` to `[H, W, C]` float64."""
    return tensor[0].movedim(0, -1).double().numpy()


def _ring(height, width):
    y, x = np.mgrid[:height, :width]
    radius = np.hypot(y - height / 2, x - width / 2) / min(height, width)
    return (radius < 0.42) & (radius > 0.2)


def masks():
    """Regions of every kind that an object can have: name -> bool `[37, 53]`."""
    height, width = 37, 53
    y, x = np.mgrid[:height, :width]
    empty = np.zeros((height, width), bool)
    result = {}
    result["inside"] = (y > 5) & (y < height - 6) & (x > 8) & (x < width - 9)
    result["ellipse"] = ((y - 18) / 14) ** 2 + ((x - 25) / 20) ** 2 < 1
    result["ring with a hole"] = _ring(height, width)
    result["at the left edge"] = (x < 20) & (y > 8) & (y < 30)
    result["across the lower right corner"] = (x > 30) & (y > 15)
    result["across all but one pixel"] = ~empty
    result["across all but one pixel"][12, 20] = False
    result["three pieces"] = empty.copy()
    for top, left in ((2, 3), (20, 10), (8, 35)):
        result["three pieces"][top : top + 10, left : left + 12] = True
    result["lines one pixel wide"] = empty.copy()
    result["lines one pixel wide"][4:33, 11] = True
    result["lines one pixel wide"][18, 3:50] = True
    result["lines one pixel wide"][0, 20:40] = True
    result["single pixels"] = (y % 7 == 3) & (x % 5 == 2)
    result["random"] = np.random.default_rng(5).random((height, width)) < 0.6
    return result
