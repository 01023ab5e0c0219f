"""Bits saved at equal quality, and quality gained at equal bits, between two codecs.

A codec is a curve: the rates and scores of one image, or their means over a corpus, at
several settings. They are compared over the logarithm of the rate, as Bjontegaard does
(VCEG-M33, 2001), but through monotone cubic pieces (PCHIP) in place of his one cubic:
these take any number of points and do not swing between them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from common.errors import DataError


def bd_rate(
    reference_rates: ArrayLike,
    reference_scores: ArrayLike,
    rates: ArrayLike,
    scores: ArrayLike,
) -> float:
    """Returns the mean difference of rates at equal score, in percent.

    The mean is that of the logarithms over the scores that both curves reach, however
    few: -20 means four bits where the reference needs five.

    Args:
      reference_rates: `[N]`, N at least 2, in any order: positive, of any unit.
      reference_scores: `[N]`, such as PSNR in dB: higher is better, and a higher rate
        has a higher score.
      rates: `[M]`, M at least 2, of the unit of `reference_rates`.
      scores: `[M]`, likewise.

    Raises:
      DataError: a curve has fewer than 2 points, values that are not finite, a rate
        that is not positive or comes twice, or scores that do not rise with the rate;
        or the two reach no common scores.
      ValueError: rates and scores differ in number.
    """
    reference = _curve("reference", reference_rates, reference_scores, rising=True)
    compared = _curve("compared", rates, scores, rising=True)
    logarithms = _mean_difference(reference[::-1], compared[::-1], "scores")
    return 100 * (10**logarithms - 1)


def bd_psnr(
    reference_rates: ArrayLike,
    reference_scores: ArrayLike,
    rates: ArrayLike,
    scores: ArrayLike,
) -> float:
    """Returns the mean difference of scores at equal rate: dB, if they are PSNR.

    The mean is over the logarithms of the rates that both curves have, however few.
    Positive is better than the reference. Other than for `bd_rate`, scores may fall.

    Args:
      reference_rates: `[N]`, N at least 2, in any order: positive, of any unit.
      reference_scores: `[N]`, higher is better.
      rates: `[M]`, M at least 2, of the unit of `reference_rates`.
      scores: `[M]`.

    Raises:
      DataError: a curve has fewer than 2 points, values that are not finite, or a rate
        that is not positive or comes twice; or the two have no common rates.
      ValueError: rates and scores differ in number.
    """
    reference = _curve("reference", reference_rates, reference_scores)
    return _mean_difference(reference, _curve("compared", rates, scores), "rates")


def saving_at(
    reference_rates: ArrayLike, reference_scores: ArrayLike, rate: float, score: float
) -> tuple[float, float]:
    """Returns what one point gains over a reference curve.

    Args:
      reference_rates: `[N]`, N at least 2, in any order: positive, of any unit.
      reference_scores: `[N]`, rising with the rate.
      rate: positive, of the unit of `reference_rates`.
      score: of the kind of `reference_scores`.

    Returns:
      The gain in score at equal rate, in dB for PSNR, and the share of the reference's
      rate that is saved at equal score: 0.2 for four bits instead of five. Each is NaN
      where the reference has no such rate, or no such score: nothing is extrapolated.

    Raises:
      DataError: as of `bd_rate`, for the reference; or `rate` is not positive.
      ValueError: rates and scores differ in number.
    """
    if not rate > 0:
        raise DataError(f"rate {rate} is not positive")
    log_rates, known = _curve(
        "reference", reference_rates, reference_scores, rising=True
    )
    gain = score - _pchip(log_rates, known)(np.log10(rate))
    saving = 1 - rate / 10 ** _pchip(known, log_rates)(score)
    return float(gain), float(saving)


def _curve(
    name: str, rates: ArrayLike, scores: ArrayLike, rising: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Returns log10 of the rates, and the scores, both in order of the rates."""
    rates, scores = np.asarray(rates, np.float64), np.asarray(scores, np.float64)
    if rates.ndim != 1 or rates.shape != scores.shape:
        raise ValueError(
            f"{name} curve: rates {rates.shape} and scores {scores.shape} must be two "
            "lists of one length"
        )
    if len(rates) < 2:
        raise DataError(f"{name} curve: {len(rates)} points given, 2 are needed")
    if not (np.isfinite(rates).all() and np.isfinite(scores).all()):
        raise DataError(f"{name} curve: rates or scores that are not finite")
    order = np.argsort(rates)
    rates, scores = rates[order], scores[order]
    if rates[0] <= 0:
        raise DataError(f"{name} curve: rate {rates[0]:g} is not positive")
    logarithms = np.log10(rates)
    for i in np.flatnonzero(np.diff(logarithms) == 0):
        raise DataError(f"{name} curve: two points have the rate {rates[i]:g}")
    for i in np.flatnonzero(np.diff(scores) <= 0) if rising else ():
        raise DataError(
            f"{name} curve: scores must rise with the rate, given {scores[i]:g} at "
            f"{rates[i]:g} and {scores[i + 1]:g} at {rates[i + 1]:g}"
        )
    return logarithms, scores


def _pchip(x: np.ndarray, y: np.ndarray) -> Any:
    from scipy.interpolate import PchipInterpolator

    return PchipInterpolator(x, y, extrapolate=False)


def _mean_difference(
    reference: tuple[np.ndarray, np.ndarray],
    compared: tuple[np.ndarray, np.ndarray],
    axis: str,
) -> float:
    """Returns the mean height of a curve over another where both are."""
    low = max(reference[0][0], compared[0][0])
    high = min(reference[0][-1], compared[0][-1])
    if low >= high:
        raise DataError(f"the two curves have no {axis} in common")
    area = _pchip(*compared).integrate(low, high)
    return float((area - _pchip(*reference).integrate(low, high)) / (high - low))
