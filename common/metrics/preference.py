"""How well a metric tells which of two images people prefer.

`share` is the share of people who prefer the second of two images, `gap` the score of
the second less that of the first, higher being better. NumPy float64 on the host.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from common.errors import ConfigError, DataError

# |share - 1/2|: nearly undecided, leaning, clear.
MARGINS = ((0.0, 0.1), (0.1, 0.25), (0.25, 0.5))


def two_alternative_score(gap: Any, share: Any) -> float:
    """Returns the mean share of people that a metric agrees with; ties count half.

    Of distances, where lower is better, the gap is the first less the second: so
    defined, it is the 2AFC score of LPIPS (arXiv 1801.03924).

    Args:
      gap: `[N]`.
      share: `[N]`, in [0, 1].

    Raises:
      DataError: lengths differ, there are none, or a value cannot be.
    """
    gap, share = _check(gap, share)
    agreed = np.where(gap > 0, share, np.where(gap < 0, 1 - share, 0.5))
    return float(agreed.mean())


def two_alternative_ceiling(share: Any) -> float:
    """Returns the score of one who always sides with the majority: no metric has more.

    Raises:
      DataError: see `two_alternative_score`.
    """
    _, share = _check(np.zeros_like(np.asarray(share, np.float64)), share)
    return float(np.maximum(share, 1 - share).mean())


def majority_accuracy(
    gap: Any, share: Any, margin: tuple[float, float] = (0.0, 0.5)
) -> float:
    """Returns how often the majority is met, among pairs that have one.

    Args:
      gap: `[N]`; a gap of 0 meets no majority.
      share: `[N]`, in [0, 1].
      margin: pairs with `low < |share - 1/2| <= high`, such as one of `MARGINS`.

    Returns:
      NaN when there are no such pairs.

    Raises:
      DataError: see `two_alternative_score`.
    """
    gap, share = _check(gap, share)
    distance = np.abs(share - 0.5)
    chosen = (distance > margin[0]) & (distance <= margin[1])
    if not chosen.any():
        return math.nan
    return float(np.mean(np.sign(gap[chosen]) == np.sign(share[chosen] - 0.5)))


def cross_entropy(probability: Any, share: Any) -> float:
    """Returns the mean of `-t log p - (1 - t) log(1 - p)` in nats.

    Its least value is not 0 but `label_entropy`.

    Raises:
      DataError: see `two_alternative_score`.
    """
    p, t = _check(probability, share, probability=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        parts = (
            np.where(t > 0, -t * np.log(p), 0),
            np.where(t < 1, -(1 - t) * np.log1p(-p), 0),
        )
    return float(np.mean(parts[0] + parts[1]))


def label_entropy(share: Any) -> float:
    """Returns the mean entropy of the shares, the least cross-entropy there is."""
    return cross_entropy(share, share)


def brier(probability: Any, share: Any) -> float:
    """Returns the mean squared error of the probabilities (Brier 1950)."""
    p, t = _check(probability, share, probability=True)
    return float(np.mean((p - t) ** 2))


def expected_calibration_error(probability: Any, share: Any, bins: int = 15) -> float:
    """Returns how far probabilities are from the shares they stand for, on average.

    Pairs are put into bins of equal width by their probability; the error of a bin is
    the gap of its two means, weighted by its pairs (Naeini et al. 2015).

    Raises:
      ConfigError: fewer than one bin.
      DataError: see `two_alternative_score`.
    """
    if bins < 1:
        raise ConfigError(f"calibration needs at least one bin, given {bins}")
    p, t = _check(probability, share, probability=True)
    bin_of = np.minimum((p * bins).astype(int), bins - 1)
    gaps = np.bincount(bin_of, p - t, bins)
    return float(np.abs(gaps).sum() / len(p))


def _check(
    given: Any, share: Any, probability: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    x, t = (np.asarray(values, np.float64) for values in (given, share))
    if x.ndim != 1 or x.shape != t.shape or not len(x):
        raise DataError(
            f"pairs come as two [N], given {list(x.shape)} and {list(t.shape)}"
        )
    ranges: Sequence[tuple[str, np.ndarray, bool]] = (
        ("probability" if probability else "gap", x, probability),
        ("share", t, True),
    )
    for name, values, unit in ranges:
        wrong = ~np.isfinite(values)
        if unit:
            wrong |= (values < 0) | (values > 1)
        if wrong.any():
            first = int(np.argmax(wrong))
            allowed = "in [0, 1]" if unit else "finite"
            raise DataError(
                f"{wrong.sum()} pairs have a {name} that is not {allowed}, the first "
                f"is pair {first}: {values[first]}"
            )
    return x, t
