"""Guided filter: a smooth signal gets the edges of a picture."""

import torch
import torch.nn.functional as F
from torch import Tensor


def guided_filter(guide: Tensor, signal: Tensor, radius: int, epsilon: float) -> tuple[Tensor, Tensor]:
    """Coefficients (a, b) with which a . guide + b is the signal smoothed along the edges of the guide.

    In every window of (2 radius + 1)^2 pixels the signal is fitted by a linear function of the guide's three channels;
    a pixel has the mean of the functions of all windows around it (He, Sun and Tang 2010, "Guided Image Filtering",
    eqs. 19-21). The coefficients vary slowly: computed on a reduced picture and enlarged, they can be applied to the full
    one (He and Sun 2015, "Fast Guided Filter").

    guide: `[B, 3, H, W]`; signal: `[B, 1, H, W]`; epsilon: squared contrast, of guides in 0..1, below which an edge is
    smoothed over. Returns `[B, 3, H, W]` and `[B, 1, H, W]`.
    """
    guide_mean, signal_mean = box_mean(guide, radius), box_mean(signal, radius)
    covariance = box_mean(guide * signal, radius) - guide_mean * signal_mean
    rows = []  # of the guide's covariance matrix, epsilon on its diagonal
    for channel in range(3):
        row = (
            box_mean(guide * guide[:, channel : channel + 1], radius)
            - guide_mean * guide_mean[:, channel : channel + 1]
        )
        row[:, channel] += epsilon
        rows.append(row)
    # The columns of the inverse of a symmetric 3 x 3 matrix are the cross products of its rows, over the determinant.
    columns = [torch.linalg.cross(rows[i - 2], rows[i - 1], dim=1) for i in range(3)]
    determinant = (rows[0] * columns[0]).sum(1, keepdim=True)
    a = sum(columns[i] * covariance[:, i : i + 1] for i in range(3)) / determinant
    b = signal_mean - (a * guide_mean).sum(1, keepdim=True)
    return box_mean(a, radius), box_mean(b, radius)


def box_mean(image: Tensor, radius: int) -> Tensor:
    """Mean over the part of a (2 radius + 1)^2 window that lies in the frame. `[B, C, H, W]`."""
    width = 2 * radius + 1
    image = F.avg_pool2d(image, (width, 1), 1, (radius, 0), count_include_pad=False)
    return F.avg_pool2d(image, (1, width), 1, (0, radius), count_include_pad=False)
