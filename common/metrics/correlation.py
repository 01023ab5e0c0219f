"""How well scores agree with those of people, as the quality literature measures it.

Everything here is NumPy float64 on the host.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from common.errors import ConfigError, DataError


def plcc(prediction: Any, target: Any, *, logistic: bool = False) -> float:
    """Returns Pearson's linear correlation coefficient.

    Args:
      prediction: `[N]`.
      target: `[N]`.
      logistic: map the predictions to the targets first, by a logistic function of four
        parameters fitted to them (VQEG 2000), for scores on another scale. For AVA
        people take the raw means.

    Returns:
      In [-1, 1]; NaN for fewer than two values, and where all of one kind are equal.

    Raises:
      DataError: lengths differ, or a value is not finite.
    """
    x, y = _pair(prediction, target)
    if _constant(x, y):
        return math.nan
    if logistic:
        x = _logistic(x, y)
        if _constant(x, y):
            return math.nan
    from scipy import stats

    return float(stats.pearsonr(x, y).statistic)


def srcc(prediction: Any, target: Any) -> float:
    """Returns Spearman's rank correlation, ties by their mean rank; see `plcc`."""
    x, y = _pair(prediction, target)
    if _constant(x, y):
        return math.nan
    from scipy import stats

    return float(stats.spearmanr(x, y).statistic)


def krcc(prediction: Any, target: Any) -> float:
    """Returns Kendall's rank correlation, tau-b, which counts ties; see `plcc`."""
    x, y = _pair(prediction, target)
    if _constant(x, y):
        return math.nan
    from scipy import stats

    return float(stats.kendalltau(x, y).statistic)


def cluster_bootstrap(
    statistic: Callable[..., float],
    arrays: Sequence[Any],
    clusters: Any,
    *,
    resamples: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> tuple[float, float]:
    """Returns a percentile interval of a statistic, clusters being drawn as wholes.

    What comes from one reference image is not independent. The difference of two
    methods is paired when `statistic` is the difference.

    Args:
      statistic: of arrays, each a selection of rows.
      arrays: `[N, ...]` each.
      clusters: `[N]`, what each row belongs to, such as the name of a reference.
      resamples: how often they are drawn.
      confidence: share of the resamples inside.
      seed: of the draws.

    Returns:
      Low and high end; resamples without a value (NaN) are left out, and both are NaN
      where none has one.

    Raises:
      DataError: lengths differ, or there are no rows.
      ConfigError: `resamples` or `confidence` cannot be.
    """
    if resamples < 1 or not 0 < confidence < 1:
        raise ConfigError(
            "a bootstrap needs resamples of at least 1 and a confidence in (0, 1), "
            f"given {resamples} and {confidence}"
        )
    values = [np.asarray(array) for array in arrays]
    names, numbers = np.unique(np.asarray(clusters), return_inverse=True)
    if not len(numbers) or any(len(value) != len(numbers) for value in values):
        raise DataError(
            f"a bootstrap needs rows, and as many in all: {len(numbers)} clusters "
            f"given, arrays of {[len(value) for value in values]}"
        )
    order = np.argsort(numbers, kind="stable")
    rows = np.split(order, np.cumsum(np.bincount(numbers))[:-1])
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(resamples):
        drawn = rng.integers(len(names), size=len(names))
        chosen = np.concatenate([rows[cluster] for cluster in drawn])
        found.append(statistic(*(value[chosen] for value in values)))
    known = np.array(found)[~np.isnan(found)]
    if not len(known):
        return math.nan, math.nan
    tail = 50 * (1 - confidence)
    low, high = np.percentile(known, [tail, 100 - tail])
    return float(low), float(high)


def _pair(prediction: Any, target: Any) -> tuple[np.ndarray, np.ndarray]:
    x, y = (np.asarray(values, np.float64) for values in (prediction, target))
    if x.ndim != 1 or x.shape != y.shape:
        raise DataError(
            f"a correlation is of two [N], given {list(x.shape)} and {list(y.shape)}"
        )
    for name, values in (("prediction", x), ("target", y)):
        wrong = np.flatnonzero(~np.isfinite(values))
        if len(wrong):
            raise DataError(
                f"{len(wrong)} values are not finite, the first is {name} "
                f"{wrong[0]}: {values[wrong[0]]}"
            )
    return x, y


def _constant(x: np.ndarray, y: np.ndarray) -> bool:
    """Whether there is nothing to correlate."""
    return len(x) < 2 or np.ptp(x) == 0 or np.ptp(y) == 0


def _logistic(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Returns the values of a logistic function of `x`, fitted to `y`."""
    from scipy import optimize, special

    # Rising and on one scale, so that one start serves all scores.
    z = np.sign(np.cov(x, y)[0, 1] or 1) * (x - x.mean()) / x.std()

    def curve(parameters: np.ndarray) -> np.ndarray:
        bottom, height, middle, log_width = parameters
        return bottom + height * special.expit((z - middle) / np.exp(log_width))

    start = np.array([y.min(), np.ptp(y), 0.0, 0.0])
    found = optimize.least_squares(lambda p: curve(p) - y, start)
    if not found.success:
        raise DataError(f"no logistic function fits the scores: {found.message}")
    return curve(found.x)
