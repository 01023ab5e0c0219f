"""Asymmetric generalised Gaussian distributions, fitted to patches by their moments.

Lasmar, Stitou and Berthoumieu 2009, as Mittal et al. have it in NIQE (doi
10.1109/LSP.2012.2227726), section II-C, and in their MATLAB release.
"""

from __future__ import annotations

import functools

import numpy as np

# Of each patch, see `describe`.
FEATURES = 18
# Down, right: neighbours whose products count. They wrap around, as in the release.
_SHIFTS = ((0, 1), (1, 0), (1, 1), (1, -1))
# The shapes that the release tries.
_FIRST_SHAPE, _STEP, _SHAPES = 0.2, 0.001, 9801


def describe(patches: np.ndarray) -> np.ndarray:
    """Returns the 18 features of each patch.

    Args:
      patches: float64 `[N, h, w]`, normalised to a local mean of 0.

    Returns:
      float64 `[N, 18]`: shape and mean scale; then for the products of neighbours in
      each of four directions the shape, the mean, the left and the right scale. What
      takes values on a side of 0 where a patch has none is NaN.
    """
    shape, left, right = fit(patches)
    columns = [shape, (left + right) / 2]
    for shift in _SHIFTS:
        shape, left, right = fit(patches * np.roll(patches, shift, (1, 2)))
        columns += [shape, (right - left) * _ratio(shape), left, right]
    return np.stack(columns, axis=1)


def fit(values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Fits a distribution to each of N sets of numbers.

    Args:
      values: float64 `[N, ...]`.

    Returns:
      shape, in [0.2, 10] in steps of 0.001, and the scales at the left and at the right
      of 0, each float64 `[N]`. Of a set without numbers on one side the scale there is
      NaN and the shape 0.2, which is what the release makes of it.
    """
    from scipy import special

    values = values.reshape(len(values), -1)
    squares = np.square(values)
    with np.errstate(invalid="ignore", divide="ignore"):
        below, above = values < 0, values > 0
        left = np.sqrt(np.sum(squares, 1, where=below) / below.sum(1))
        right = np.sqrt(np.sum(squares, 1, where=above) / above.sum(1))
        side = left / right
        moment = np.square(np.abs(values).mean(1)) / squares.mean(1)
        moment *= (side**3 + 1) * (side + 1) / np.square(np.square(side) + 1)
    shape = _shape(moment)
    spread = np.sqrt(special.gamma(1 / shape) / special.gamma(3 / shape))
    return shape, left * spread, right * spread


def _shape(moment: np.ndarray) -> np.ndarray:
    """Returns the shape whose ratio of moments comes closest; 0.2 for NaN."""
    shapes, ratios = _table()
    after = np.clip(np.searchsorted(ratios, moment), 1, len(ratios) - 1)
    nearer = moment - ratios[after - 1] <= ratios[after] - moment
    return shapes[np.where(np.isnan(moment), 0, after - nearer)]


@functools.cache
def _table() -> tuple[np.ndarray, np.ndarray]:
    """Returns shapes and their ratios of moments, both growing."""
    from scipy import special

    shapes = _FIRST_SHAPE + _STEP * np.arange(_SHAPES)
    gammas = special.gamma(np.arange(1, 4)[:, None] / shapes)
    return shapes, np.square(gammas[1]) / (gammas[0] * gammas[2])


def _ratio(shape: np.ndarray) -> np.ndarray:
    """Returns the mean of one side over its scale; equation 8 of NIQE."""
    from scipy import special

    return special.gamma(2 / shape) / special.gamma(1 / shape)
