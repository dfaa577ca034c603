"""The losses of an optimisation as lines of a chart."""

import math

from torch import Tensor

from . import chart

ROUNDING = 1e-3  # of a term's second value
FEWEST_EVALUATIONS = 4  # that an axis is drawn for, so that its ticks are whole numbers
TERMS = ("total", "gradient", "content", "style", "histogram", "total variation", "saturation")

Terms = dict[str, list[float]]


def loss_chart(title: str, terms: Terms) -> Tensor:
    """Chart of weighted loss terms, each with one value per evaluation; `[1, 3, 512, 768]` in 0..1."""
    values = [value for line in terms.values() for value in line]
    if not values:
        return chart.sentence_chart(title, "nothing was optimised")
    lines = loss_lines(terms)
    if not lines:
        return chart.sentence_chart(title, "every loss is 0")
    return chart.line_chart(
        title, lines, "evaluation", "weighted loss", evaluation_range(terms), loss_range(terms), logarithmic=True
    )


def loss_lines(terms: Terms) -> list[chart.Line]:
    """A line for each term that a logarithmic axis can show, in an order of their own."""
    order = [*TERMS, *(name for name in terms if name not in TERMS)]  # a term has the same colour in every chart
    lines = []
    for place, name in enumerate(order):
        line = terms.get(name, [])
        if any(math.isfinite(value) and value > 0 for value in line):
            color, dashed = chart.COLORS[place % len(chart.COLORS)], place >= len(chart.COLORS)
            lines.append(chart.Line(name, list(range(1, len(line) + 1)), line, color, dashed=dashed))
    return lines


def evaluation_range(terms: Terms) -> tuple[float, float]:
    return 0, max(*(len(line) for line in terms.values()), FEWEST_EVALUATIONS)


def loss_range(terms: Terms) -> tuple[float, float]:
    """Range of a logarithmic axis for terms of which one at least is above 0."""
    return chart.logarithmic_range([value for line in terms.values() for value in line[_first_of_note(line) :]])


def _first_of_note(line):
    """1 where a term begins at its optimum, because its first value is then nothing but rounding error; otherwise 0."""
    return int(len(line) > 1 and 0 <= line[0] < ROUNDING * line[1] < math.inf)
