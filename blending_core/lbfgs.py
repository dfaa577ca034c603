"""L-BFGS in a box: Nocedal and Wright 2006, algorithm 7.4, with projected steps (Bertsekas 1982).

The algorithm corrects an estimate of the Hessian by the last steps and how the gradient turned along them. What it begins
with, and how well that fits, decides how few evaluations are needed.
"""

import math
from collections import deque
from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

HISTORY = 10
FIRST_CHANGE = 0.02  # largest change of a value in the first step, when nothing is known of the curvature
DECREASE = 1e-4  # of what the slope promises, that a step must keep (Armijo)
CURVATURE = 1e-8  # least cosine between a step and the change of the gradient that is remembered
WINDOW, PROGRESS = 5, 3e-4  # stop when so many evaluations lowered the value by less than this part of it

Evaluate = Callable[[Tensor], tuple[float, Tensor]]
Pair = tuple[Tensor, Tensor, Tensor]  # a step, the change of the gradient along it, and their inner product


class HessianEstimate(Protocol):
    """What L-BFGS begins with. Until it has learnt something only the direction of what it gives counts."""

    def learn(self, change: Tensor, turn: Tensor) -> None:
        """Take in how much the gradient turned along a step."""

    def solve(self, vector: Tensor) -> Tensor:
        """The estimate's inverse, symmetric and positive definite, times a vector."""


def minimize(
    evaluate: Evaluate,
    start: Tensor,
    evaluations: int,
    hessian: HessianEstimate,
    known: tuple[float, Tensor] | None = None,
    enough: float = -math.inf,
) -> Tensor:
    """The best point found in the box 0..1, never worse than the start, which lies in it.

    evaluate: gives a point's value and its gradient; it may raise to stop. start: any shape. evaluations: the most that are
    made; fewer are, when further progress is small. known: what evaluate gave for the start, if that has been asked; it
    counts as one of the evaluations. enough: a value that is low enough to stop at.
    """
    point = start
    value, gradient = known or evaluate(point)
    pairs: deque[Pair] = deque(maxlen=HISTORY)
    values = [value]
    while len(values) < evaluations and value > enough and not _has_settled(values):
        direction = _direction(point, gradient, pairs, hessian)
        slope = float(_dot(direction, gradient))
        if not slope < 0 and pairs:
            pairs.clear()
            continue
        if not slope < 0:
            break  # no way leads down inside the box
        step = 1.0 if pairs else min(FIRST_CHANGE / float(direction.abs().max()), 1.0)
        while len(values) < evaluations:
            moved = (point + step * direction).clamp(0, 1)
            change = moved - point
            promised = float(_dot(change, gradient))
            if not promised < 0:  # the box has turned the step away from where it leads down
                if not pairs:
                    return point
                pairs.clear()
                break
            new_value, new_gradient = evaluate(moved)
            values.append(min(values[-1], new_value))  # the former where the latter is undefined
            if new_value <= value + DECREASE * promised:
                turn = new_gradient - gradient
                hessian.learn(change, turn)
                _remember(pairs, change, turn)
                point, value, gradient = moved, new_value, new_gradient
                break
            step *= _shorter(value, promised, new_value)
            if step * float(direction.abs().max()) < 1e-7:
                if not pairs:
                    return point
                pairs.clear()
                break
    return point


def _has_settled(values: list[float]) -> bool:
    return len(values) > WINDOW and values[-1 - WINDOW] - values[-1] <= PROGRESS * abs(values[-1])


def _direction(point: Tensor, gradient: Tensor, pairs: deque[Pair], hessian: HessianEstimate) -> Tensor:
    """Minus the inverse Hessian's estimate times the gradient, along what is free to move."""
    held = ((point <= 0) & (gradient > 0)) | ((point >= 1) & (gradient < 0))
    direction = torch.where(held, torch.zeros_like(gradient), -gradient)
    scales = []
    for change, turn, product in reversed(pairs):
        scale = _dot(change, direction) / product
        scales.append(scale)
        direction = direction - scale * turn
    direction = hessian.solve(direction)
    for (change, turn, product), scale in zip(pairs, reversed(scales), strict=True):
        direction = direction + (scale - _dot(turn, direction) / product) * change
    return torch.where(held, torch.zeros_like(direction), direction)


def _remember(pairs: deque[Pair], change: Tensor, turn: Tensor) -> None:
    product = _dot(change, turn)
    if product > CURVATURE * (_dot(change, change) * _dot(turn, turn)).sqrt():
        pairs.append((change, turn, product))


def _shorter(value: float, promised: float, new_value: float) -> float:
    """Where the parabola through both values and the slope is lowest, between a tenth and a half of the step."""
    bend = new_value - value - promised
    if not 0 < bend < float("inf"):  # infinite and undefined values too
        return 0.1
    return min(max(-promised / (2 * bend), 0.1), 0.5)


def _dot(a: Tensor, b: Tensor) -> Tensor:
    """Not as a number: a graphics card would be waited for."""
    return (a * b).sum()
