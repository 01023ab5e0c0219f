"""The best tables for squared error, found by trying every step at every frequency.

Squared error and the zero-order entropy of levels are sums over the 64 frequencies, so
that each entry of a table can be chosen by itself, as Ratnakar and Livny's RD-OPT does
(Data Compression Conference, 1995). Nothing is learned: it is what gradients have to
reach. Everything but the transform is NumPy.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

import jax
import numpy as np

from common.errors import ConfigError, DataError
from compression import color, jpeg
from compression.huffman import in_coding_order

# Our choice: every step up to 63, then those that differ by 2 to 3 % and less.
STEPS = np.array([*range(1, 64), *range(64, 128, 2), *range(128, 256, 4), 255])
# Levels change at odd multiples of half a step, and steps are whole: all coefficients
# between two multiples of 1/2 share a level whatever the step, and a histogram of bins
# that wide answers for each step exactly. No orthonormal 8 x 8 transform of values in
# [-128, 128] leaves [-1024, 1024].
_BINS = 2 * 1024 + 1
# Table of Y, Cb and Cr.
_TABLE = (0, 1, 1)


def rd_opt(
    images: Sequence[np.ndarray], rate_weight: float, subsampling: str = "4:4:4"
) -> np.ndarray:
    """Returns the tables with the least squared error plus weighted rate.

    Args:
      images: uint8 `[H, W, 3]` each, of any sizes; one pair of tables for all.
      rate_weight: what a bit per pixel may cost in mean squared error of RGB in
        [0, 255].
      subsampling: of the chroma, one of `jpeg.SUBSAMPLINGS`.

    Returns:
      int32 `[2, 8, 8]`, for luma and chroma, entries in [1, 255].

    Raises:
      ConfigError: the weight is negative or not finite, or no such subsampling.
      DataError: no images, or one of another shape or type.
    """
    return choose(*candidates(images, subsampling), rate_weight)


def choose(
    distortions: np.ndarray, rates: np.ndarray, rate_weight: float
) -> np.ndarray:
    """Returns the tables of a weight, given what each step costs.

    Args:
      distortions: as `candidates` returns them.
      rates: as `candidates` returns them.
      rate_weight: as for `rd_opt`.

    Raises:
      ConfigError: the weight is negative or not finite.
    """
    if not (math.isfinite(rate_weight) and rate_weight >= 0):
        raise ConfigError(f"rate_weight={rate_weight} must be finite and not negative")
    best = np.argmin(distortions + rate_weight * rates, axis=-1)
    return STEPS[best].reshape(2, 8, 8).astype(np.int32)


def candidates(
    images: Sequence[np.ndarray], subsampling: str = "4:4:4"
) -> tuple[np.ndarray, np.ndarray]:
    """Returns what each step costs at each frequency.

    All images count as one source, each as much as the others whatever its size.

    Args:
      images: as for `rd_opt`.
      subsampling: as for `rd_opt`.

    Returns:
      Distortions, each frequency's part in the mean squared error of RGB in [0, 255],
      and rates in bits per pixel; both float64 `[2, 64, len(STEPS)]`. What subsampling
      itself loses is left out and taken to be uncorrelated: it is not quite, and the
      chroma's part comes out 10 to 25 % low with 4:2:0.

    Raises:
      ConfigError: no such subsampling.
      DataError: no images, or one of another shape or type.
    """
    if not len(images):
        raise DataError("no images to choose tables for")
    seen = [_Component() for _ in _TABLE]
    for image in images:
        _check(image)
        share = 1 / (len(images) * image.shape[0] * image.shape[1])
        transformed = jpeg.coefficients(image[None], subsampling)
        mcu = color.SUBSAMPLINGS[subsampling], (1, 1), (1, 1)
        for component, values, factors in zip(seen, transformed, mcu, strict=True):
            component.add(np.asarray(values[0]), factors, share)
    weights = error_weights(subsampling)
    distortions, rates = np.zeros((2, 2, 64, len(STEPS)))
    for table, component, weight in zip(_TABLE, seen, weights, strict=True):
        squared, bits = component.costs()
        distortions[table] += weight[:, None] * squared
        rates[table] += bits
    return distortions, rates


@functools.cache
def error_weights(subsampling: str) -> np.ndarray:
    """Returns what errors of coefficients cost in squared error of RGB.

    Decoding is linear but for clipping, and errors of different coefficients are taken
    to be uncorrelated: a squared error then costs as much as a coefficient alone
    decodes to, which is measured. Without subsampling that is a third of the squared
    column of the colour matrix, 1, 1.086 and 0.825. Chroma at half resolution is worth
    up to four times as much, which the interpolation takes from the high frequencies:
    with 4:2:0 their factor falls from 3.6 to 0.4.

    Args:
      subsampling: of the chroma, one of `jpeg.SUBSAMPLINGS`.

    Returns:
      float64 `[3, 64]`, for Y, Cb and Cr: sums over pixels, means over channels.
    """
    vertical, horizontal = color.SUBSAMPLINGS[subsampling]
    # Three by three blocks, since interpolation reaches into neighbours; far enough
    # from black and white, and large enough for float32.
    amplitude = 64.0
    units = amplitude * np.eye(3 * 64, dtype=np.float32).reshape(-1, 3, 64)
    components = []
    for number, (rows, columns) in enumerate([(vertical, horizontal), (1, 1), (1, 1)]):
        values = np.zeros((3 * 64, 3 * rows, 3 * columns, 64), np.float32)
        values[:, 1, 1] = units[:, number]
        components.append(values.reshape(*values.shape[:3], 8, 8))
    decode = functools.partial(
        jpeg.decode,
        size=(24 * vertical, 24 * horizontal),
        subsampling=subsampling,
        rounding="straight_through",
    )
    errors = np.asarray(jax.jit(decode)(tuple(components)), np.float64) - 128
    energy = np.square(errors / amplitude).sum((1, 2)).mean(-1)
    return energy.reshape(3, 64)


class _Component:
    """What is known of the coefficients of Y, Cb or Cr of all images.

    A coefficient's bin is twice its magnitude, rounded down.
    """

    def __init__(self):
        self._counts = np.zeros((64, 2, _BINS))  # by sign
        self._magnitudes = np.zeros((64, _BINS))
        self._energy = np.zeros(64)
        # Of differences of levels, for each step.
        self._dc_counts = np.zeros((len(STEPS), 2 * _BINS + 1))

    def add(self, values: np.ndarray, factors: tuple[int, int], share: float) -> None:
        """Adds the coefficients `[rows, columns, 8, 8]` of an image.

        Args:
          values: the coefficients.
          factors: rows and columns of blocks in an MCU, in whose order DC is coded.
          share: what one coefficient counts.
        """
        flat = values.reshape(-1, 64)
        size = np.abs(flat)
        bins = np.floor(2 * size).astype(np.int64) + _BINS * np.arange(64)
        signed = bins + _BINS * (np.arange(64) + (flat < 0))
        self._counts += share * _histogram(signed, self._counts.shape)
        self._magnitudes += share * _histogram(bins, self._magnitudes.shape, size)
        self._energy += share * np.square(size, dtype=np.float64).sum(0)
        dc = in_coding_order(values[..., 0, 0], factors)
        for counts, step in zip(self._dc_counts, STEPS, strict=True):
            differences = np.diff(_round(dc / step), prepend=0).astype(np.int64)
            counts += share * np.bincount(differences + _BINS, minlength=len(counts))

    def costs(self) -> tuple[np.ndarray, np.ndarray]:
        """Returns squared errors and bits, both `[64, len(STEPS)]`."""
        both = np.array([self._cost(int(step)) for step in STEPS])
        both[:, 1, 0] = _entropy(self._dc_counts)
        return both[:, 0].T, both[:, 1].T

    def _cost(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        # Level 0 has the bins below the step, level k the bins from 2k - 1 steps.
        starts = np.array([0, *range(step, _BINS, 2 * step)])
        counts = np.add.reduceat(self._counts, starts, axis=-1)
        magnitudes = np.add.reduceat(self._magnitudes, starts, axis=-1)
        decoded = step * np.arange(len(starts))
        squared = self._energy - 2 * magnitudes @ decoded
        squared += counts.sum(1) @ np.square(decoded)
        zeros, others = counts[..., :1].sum(1), counts[..., 1:].reshape(64, -1)
        return squared, _entropy(np.concatenate([zeros, others], axis=1))


def _histogram(
    positions: np.ndarray, shape: tuple[int, ...], weights: np.ndarray | None = None
) -> np.ndarray:
    weights = None if weights is None else weights.ravel()
    counts = np.bincount(positions.ravel(), weights, math.prod(shape))
    return counts.reshape(shape)


def _round(values: np.ndarray) -> np.ndarray:
    """Rounds halves away from zero, as `rounding.hard` does for device arrays."""
    return np.copysign(np.floor(np.abs(values) + 0.5), values)


def _entropy(counts: np.ndarray) -> np.ndarray:
    """Returns the bits of all symbols together when coded at their entropy."""
    return _plogp(counts.sum(-1)) - _plogp(counts).sum(-1)


def _plogp(counts: np.ndarray) -> np.ndarray:
    return counts * np.log2(np.where(counts > 0, counts, 1))


def _check(image: np.ndarray) -> None:
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[-1] != 3:
        raise DataError(
            f"an image is {image.dtype} {list(image.shape)}; expected uint8 [H, W, 3]"
        )
