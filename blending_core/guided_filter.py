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
    # Variances are differences of large numbers: around the overall mean the numbers are smaller.
    offset = guide.mean((-1, -2), keepdim=True)
    guide = guide - offset
    guide_mean, signal_mean = box_mean(guide, radius), box_mean(signal, radius)
    covariance = box_mean(guide * signal, radius) - guide_mean * signal_mean
    matrix = {
        (i, j): box_mean(guide[:, i : i + 1] * guide[:, j : j + 1], radius)
        - guide_mean[:, i : i + 1] * guide_mean[:, j : j + 1]
        for i in range(3)
        for j in range(i + 1)
    }
    a = torch.cat(_solve(matrix, covariance.split(1, 1), epsilon), 1)
    b = signal_mean - (a * guide_mean).sum(1, keepdim=True)
    a, b = box_mean(a, radius), box_mean(b, radius)
    return a, b - (a * offset).sum(1, keepdim=True)


def _solve(matrix: dict[tuple[int, int], Tensor], right: tuple[Tensor, ...], epsilon: float) -> list[Tensor]:
    """Solve (S + epsilon I) x = right pixel by pixel, S symmetric 3 x 3, given by its lower triangle.

    L D L^T factorisation, whose pivots are at least epsilon. Cramer's rule would not do: in a grey picture S has rank 1,
    and the determinant is nothing but rounding errors.
    """
    pivot, lower = [], {}
    for i in range(3):
        for j in range(i):
            inner = sum(lower[i, k] * lower[j, k] * pivot[k] for k in range(j))
            lower[i, j] = (matrix[i, j] - inner) / pivot[j]
        inner = sum(lower[i, k] ** 2 * pivot[k] for k in range(i))
        pivot.append(matrix[i, i] + epsilon - inner)
    x = list(right)
    for i in range(3):
        x[i] = x[i] - sum(lower[i, k] * x[k] for k in range(i))
    x = [value / pivot[i] for i, value in enumerate(x)]
    for i in (1, 0):
        x[i] = x[i] - sum(lower[k, i] * x[k] for k in range(i + 1, 3))
    return x


def box_mean(image: Tensor, radius: int) -> Tensor:
    """Mean over the part of a (2 radius + 1)^2 window that lies in the frame. `[B, C, H, W]`."""
    width = 2 * radius + 1
    image = F.avg_pool2d(image, (width, 1), 1, (radius, 0), count_include_pad=False)
    return F.avg_pool2d(image, (1, width), 1, (0, radius), count_include_pad=False)
