"""Finds the rate weight whose tables meet a target, by real files."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from common.errors import DataError
from compression.optimize import Ladder, Learn

# Beyond these weights tables hardly change any more: all steps are near 1 or near 255.
_LOWEST, _HIGHEST = 0.02, 1e5
_FIRST, _FACTOR = 20.0, 4.0
_HALVINGS = 14


class Found(NamedTuple):
    """Tables that meet a target, and the rate weight they are for."""

    rate_weight: float
    tables: np.ndarray


class Target(NamedTuple):
    """At most so many bits per pixel, or at least so many decibels.

    Attributes:
      kind: `"bpp"` or `"psnr"`.
      value: the limit.
    """

    kind: str
    value: float

    def met(self, value: float) -> bool:
        """Whether a result is good enough."""
        return value <= self.value if self.kind == "bpp" else value >= self.value


Measure = Callable[[np.ndarray], float]


def search(target: Target, learn: Learn, measure: Measure) -> Found:
    """Returns the tables that just meet a target.

    Weights are tried by factors of four until two enclose the target, and one between
    them; then the interpolated tables are halved in on.

    Args:
      target: to meet.
      learn: from a rate weight and steps to begin with, if any, to logarithms of steps
        `[2, 8, 8]`.
      measure: from integer tables to what the target limits.

    Raises:
      DataError: no tables meet it; the message says what can be reached.
    """
    _check_reachable(target, measure)
    known: dict[float, np.ndarray] = {}

    def met(weight: float) -> bool:
        if weight not in known:
            start = _ladder(known).start(weight) if known else None
            known[weight] = learn(weight, start)
        return target.met(measure(_ladder(known).at(weight)))

    # A larger weight makes files smaller: good for one target, bad for the other.
    better = _FACTOR if target.kind == "bpp" else 1 / _FACTOR
    weight = _FIRST
    first = met(weight)
    direction = 1 / better if first else better
    other = weight
    while _LOWEST <= other <= _HIGHEST:
        weight, other = other, other * direction
        if met(other) != first:
            break
    else:
        return _extreme(target, known, measure, first, other)
    good, bad = (weight, other) if first else (other, weight)
    middle = math.sqrt(good * bad)
    good, bad = (middle, bad) if met(middle) else (good, middle)
    ladder = _ladder(known)
    for _ in range(_HALVINGS):
        middle = math.sqrt(good * bad)
        if target.met(measure(ladder.at(middle))):
            good = middle
        else:
            bad = middle
    return Found(good, ladder.at(good))


def _ladder(known: dict[float, np.ndarray]) -> Ladder:
    weights = sorted(known)
    return Ladder(tuple(weights), np.stack([known[weight] for weight in weights]))


def _check_reachable(target: Target, measure: Measure) -> None:
    easiest = 255 if target.kind == "bpp" else 1
    reached = measure(np.full((2, 8, 8), easiest, np.int32))
    if not target.met(reached):
        limit = "the smallest" if target.kind == "bpp" else "the highest"
        raise DataError(
            f"--target_{target.kind}={target.value:g} cannot be reached: {limit} "
            f"possible is {reached:.4g}"
        )


def _extreme(
    target: Target,
    known: dict[float, np.ndarray],
    measure: Measure,
    met: bool,
    weight: float,
) -> Found:
    """Returns the end of the ladder, where a target lies beyond it."""
    weight = min(max(known), weight) if weight > 1 else max(min(known), weight)
    if met:
        return Found(weight, _ladder(known).at(weight))
    easiest = np.full((2, 8, 8), 255 if target.kind == "bpp" else 1, np.int32)
    return Found(weight, easiest)
