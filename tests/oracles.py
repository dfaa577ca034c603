"""Independent float64 answers to compare the mathematics with: SciPy and plain formulas, nothing of the pack."""

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.linalg import spsolve

NEIGHBOURS = ((0, 1), (0, -1), (1, 0), (-1, 0))


def exact_poisson(image, inside, guidance, screening=0.0, reference=None, conductance=None):
    """Solve the masked Poisson equation with a sparse direct solver, one equation per pixel written out.

    image, reference: `[H, W, C]`; inside: bool `[H, W]`; screening: number or `[H, W]`. guidance and conductance are functions
    of two pixels (y, x), (v, u): the wanted f_p - f_q (per channel), and the weight of the pair.
    """
    height, width = inside.shape
    number = -np.ones(inside.shape, int)
    number[inside] = np.arange(inside.sum())
    screening = np.broadcast_to(screening, inside.shape)
    rows, columns, values = [], [], []
    right_side = np.zeros((int(inside.sum()), image.shape[2]))
    for y, x in np.argwhere(inside):
        row = number[y, x]
        diagonal = screening[y, x]
        if reference is not None:
            right_side[row] += screening[y, x] * reference[y, x]
        for dy, dx in NEIGHBOURS:
            v, u = y + dy, x + dx
            if not (0 <= v < height and 0 <= u < width):
                continue
            weight = 1.0 if conductance is None else conductance((y, x), (v, u))
            diagonal += weight
            right_side[row] += weight * guidance((y, x), (v, u))
            if inside[v, u]:
                rows.append(row), columns.append(number[v, u]), values.append(-weight)
            else:
                right_side[row] += weight * image[v, u]
        rows.append(row), columns.append(row), values.append(diagonal)
    matrix = coo_matrix((values, (rows, columns))).tocsc()
    result = image.astype(np.float64).copy()
    result[inside] = spsolve(matrix, right_side).reshape(right_side.shape)
    return result


def keys_cubic(x, a):
    """Cubic convolution kernel (Keys 1981)."""
    x = np.abs(x)
    return np.where(x < 1, (a + 2) * x**3 - (a + 3) * x**2 + 1, np.where(x < 2, a * (x**3 - 5 * x**2 + 8 * x - 4), 0.0))


def resize_matrix(length, size):
    """`[size, length]` weights of the antialiased bicubic resize (a = -1/2), normalised at the border."""
    scale = length / size
    stretch = max(scale, 1)
    distance = np.arange(length)[None] + 0.5 - (np.arange(size)[:, None] + 0.5) * scale
    weights = keys_cubic(distance / stretch, -0.5)
    return weights / weights.sum(1, keepdims=True)


def resized(picture, size):
    """`[H, W]` or `[H, W, C]` in another size (height, width), antialiased bicubic, cut to 0..1."""
    rows, columns = (resize_matrix(length, side) for length, side in zip(picture.shape, size, strict=False))
    picture = np.tensordot(rows, picture, 1)
    return np.moveaxis(np.tensordot(columns, picture, (1, 1)), 0, 1).clip(0, 1)


def sample_cubic(image, y, x, outside):
    """Bicubic interpolation (a = -3/4) of `[H, W, C]` at one point; pixel (i, j) has its centre at (i + 1/2, j + 1/2).

    outside: "zero" or "repeat", what lies beyond the picture.
    """
    height, width = image.shape[:2]
    y, x = y - 0.5, x - 0.5
    total = np.zeros(image.shape[2])
    for i in range(int(np.floor(y)) - 1, int(np.floor(y)) + 3):
        for j in range(int(np.floor(x)) - 1, int(np.floor(x)) + 3):
            within = 0 <= i < height and 0 <= j < width
            if within or outside == "repeat":
                pixel = image[min(max(i, 0), height - 1), min(max(j, 0), width - 1)]
                total += keys_cubic(y - i, -0.75) * keys_cubic(x - j, -0.75) * pixel
    return total
