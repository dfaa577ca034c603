"""Connected components of a mask: closing holes and keeping the largest piece."""

import numpy as np
from scipy import ndimage

# Levels at which holes of a soft mask are closed; a mask of 0 and 1 needs only the last.
SOFT_LEVELS = np.arange(1, 9) / 8


def fill_holes(mask: np.ndarray) -> np.ndarray:
    """Raise every hole to the level of the object around it.

    A hole is a region from which no path of 4-neighbours leads to the frame without crossing the object. On a soft mask
    this is the morphological reconstruction by erosion (Soille 2003, section 6.3.7) at eight levels. mask: `[H, W]` in
    0..1.
    """
    filled = mask.copy()
    levels = SOFT_LEVELS if ((mask > 0) & (mask < 1)).any() else SOFT_LEVELS[-1:]
    for level in levels:
        below, _ = ndimage.label(mask < level)
        border = np.concatenate([below[0], below[-1], below[:, 0], below[:, -1]])
        enclosed = (below > 0) & ~np.isin(below, border)
        filled[enclosed] = np.maximum(filled[enclosed], level)
    return filled


def keep_largest(mask: np.ndarray) -> np.ndarray:
    """Keep the piece (4-connected pixels above 0) with the largest sum, the first one of equals. mask: `[H, W]`."""
    pieces, count = ndimage.label(mask > 0)
    if count < 2:
        return mask.copy()
    sizes = ndimage.sum_labels(mask, pieces, np.arange(1, count + 1))
    return np.where(pieces == 1 + sizes.argmax(), mask, 0)
