"""Base weights of deep blending: what each recipe does to the picture, in one table."""

from typing import NamedTuple


class Weights(NamedTuple):
    """Factors of the loss terms."""

    gradient: float = 0.0
    content: float = 0.0
    style: float = 0.0
    histogram: float = 0.0
    total_variation: float = 0.0
    saturation: float = 0.0

    def scaled(self, **multipliers: float) -> "Weights":
        """Each weight times its multiplier, 1 where none is given."""
        return self._replace(**{name: getattr(self, name) * multiplier for name, multiplier in multipliers.items()})


class Recipe(NamedTuple):
    """Weights of both stages, and the part 0..1 of the object's own chroma that each gives back."""

    stage_1: Weights
    stage_2: Weights
    keep_color_1: float
    keep_color_2: float


PHOTOGRAPH, PAINTING, PUBLISHED_LOOK = "photograph", "painting", "published look"

# Weights of the histogram loss and of total variation take effect with a multiplier only, which is 0 by default.
RECIPES = {
    PHOTOGRAPH: Recipe(
        Weights(gradient=2000, content=2, style=0.3, histogram=0.03, total_variation=0.03),
        Weights(content=2, style=0.3, histogram=0.03, total_variation=0.03, saturation=0.5),
        keep_color_1=0.5,
        keep_color_2=0.6,
    ),
    PAINTING: Recipe(
        Weights(gradient=2000, content=2, style=5, histogram=1, total_variation=0.1),
        Weights(content=3, style=5, histogram=1, total_variation=0.1, saturation=4),
        keep_color_1=0.0,
        keep_color_2=0.6,
    ),
    PUBLISHED_LOOK: Recipe(
        Weights(gradient=2000, content=0.2, style=12, histogram=3, total_variation=0.3),
        Weights(content=2, style=8, histogram=3, total_variation=0.3, saturation=10),
        keep_color_1=0.0,
        keep_color_2=0.0,
    ),
}
