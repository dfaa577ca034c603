"""An estimate of the Hessian of deep blending's loss, whose inverse turns gradients into steps (preconditioning).

A picture of the object is taken apart into the Laplacian's eigenvectors over the object's box (sines and cosines) and into
luminance, red-green and yellow-blue. There the Hessian is nearly diagonal: the gradient term squares the Laplacian, and what
features respond to depends on frequency and hue far more than on the place.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from .color import opponent_axes
from .laplacian_spectrum import laplacian_eigenvectors
from .region import spanned_region

# Eigenvalues 0..8 of the Laplacian are divided here into bands: periods of about 36, 11 and 4 pixels. Fine texture, of which
# features see little, lies above; the mean colour, which they see weakly but all over the object, below.
# These numbers were chosen by the losses after 5 to 25 evaluations of stage 1: two sets with the built-in model, one with VGG-19.
BAND_EDGES = (0.03, 0.3, 3.0)
FORGETTING = 0.8  # what is left of an observation when the next one is made
CAUTION = 1.5  # times as stiff as was seen: a step that is too long costs an evaluation
LEAST_EFFECT = 0.1  # values that count for less are treated as if they did not
TRUST = 1e-3  # share of a change that a band must have for its own curvature to outweigh that of all


class SpectralHessian:
    """Per eigenvalue l, band and colour axis: `stiffness` l^2 + r.

    r is learnt from every step s and the change y of the gradient along it, less what the stiffness explains: |y| / |s| in
    its band, the geometric mean of the two estimates of Barzilai and Borwein 1988, which is positive wherever the loss
    is not convex.
    """

    def __init__(
        self,
        inside: Tensor,
        effect: Tensor,
        stiffness: float = 0.0,
        stiff_product: Callable[[Tensor], Tensor] | None = None,
    ):
        """inside: bool `[1, 1, H, W]`, the pixels whose three channels are the values (`[3 n]`, as `picture[inside]` gives
        them). effect: `[3 n]` in 0..1, how much of a change of a value is seen in the picture, which the eigenvectors are
        for. stiffness: factor of the squared Laplacian in the Hessian. stiff_product: gives that part of it, exactly,
        times a change of the values; needed if the stiffness is above 0."""
        region = spanned_region(inside[0, 0])
        self.inside = inside[0, :, region[0], region[1]].expand(3, -1, -1)
        self.effect = effect.clamp_min(LEAST_EFFECT)
        self.stiffness, self.stiff_product = stiffness, stiff_product
        axes = [
            laplacian_eigenvectors(span, length, inside.device)
            for span, length in zip(region, inside.shape[-2:], strict=True)
        ]
        (rows, self.vertical), (columns, self.horizontal) = axes
        self.eigenvalues = rows[:, None] + columns
        edges = torch.tensor(BAND_EDGES, device=inside.device)
        # As a matrix of 0 and 1: sums by products are the same every time, those of index_add_ on a graphics card are not.
        self.bands = F.one_hot(torch.bucketize(self.eigenvalues.flatten(), edges), len(BAND_EDGES) + 1).float()
        self.colors = opponent_axes().float().to(inside.device)
        # Sums of squares by colour axis and band: of the steps, and of the changes of the gradient.
        self.steps = torch.zeros(3, len(BAND_EDGES) + 1, device=inside.device)
        self.turns = torch.zeros_like(self.steps)
        # Before anything is known both parts count alike. Without stiffness the number is of no account: the length of the
        # first step is set by other means.
        self.rest = torch.full_like(self.steps, stiffness or 1.0)

    def learn(self, change: Tensor, turn: Tensor) -> None:
        """Take in how the gradient turned along a change of the values."""
        if self.stiffness:
            turn = turn - self.stiff_product(change)
        length = (change * self.effect).square().sum()
        for sums, vector in ((self.steps, change * self.effect), (self.turns, turn / self.effect)):
            sums *= FORGETTING
            sums += self._spectrum(vector).square().flatten(1) @ self.bands / length
        overall = self.turns.sum() / self.steps.sum()
        rest = CAUTION * ((self.turns + TRUST * overall) / (self.steps + TRUST)).sqrt()
        # 0 if the gradient did not turn at all, and no number if it is none somewhere.
        self.rest = torch.where((rest > 0) & rest.isfinite(), rest, self.rest)

    def solve(self, vector: Tensor) -> Tensor:
        """The inverse, which is symmetric and positive definite, times a vector of values."""
        rest = (self.rest @ self.bands.T).view(3, *self.eigenvalues.shape)
        spectrum = self._spectrum(vector / self.effect) / (self.stiffness * self.eigenvalues.square() + rest)
        picture = self.vertical @ self._turned(self.colors.T, spectrum) @ self.horizontal.T
        return picture[self.inside].to(vector) / self.effect

    def _spectrum(self, vector: Tensor) -> Tensor:
        picture = torch.zeros(self.inside.shape, device=vector.device).masked_scatter_(self.inside, vector.float())
        return self._turned(self.colors, self.vertical.T @ picture @ self.horizontal)

    @staticmethod
    def _turned(matrix: Tensor, picture: Tensor) -> Tensor:
        return (matrix @ picture.flatten(1)).view(picture.shape)
