"""The eigenvectors of the Laplacian of a rectangle of pixels are products of those of a row and a column: sines and cosines."""

import math

import torch
from torch import Tensor


def laplacian_eigenvectors(span: slice, length: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Eigenvalues and, in columns, orthonormal eigenvectors of the Laplacian of a span of a line of pixels.

    Where the span ends inside the line the next pixel is 0 (Dirichlet), at the end of the line there is none (natural).
    """
    count = span.stop - span.start
    fixed = span.start > 0, span.stop < length
    ends = sum(fixed) / 2
    frequencies = math.pi * (torch.arange(count, dtype=torch.float64) + ends) / (count + ends)
    places = torch.arange(count, dtype=torch.float64)[:, None]
    vectors = torch.sin((places + 1) * frequencies) if fixed[0] else torch.cos((places + 0.5) * frequencies)
    vectors = vectors / vectors.norm(dim=0)
    return (2 - 2 * torch.cos(frequencies)).float().to(device), vectors.float().to(device)
