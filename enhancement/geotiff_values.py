"""From the values of a scene to those of a network, and back."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from scipy import ndimage

from common.errors import ConfigError, DataError

# Of float32 scenes that are in [0, 1] but for noise and glare; our choice.
LOWEST, HIGHEST = -3.0, 4.0


class Range(NamedTuple):
    """Which values of a file are 0 and 1 for the network."""

    low: float
    high: float

    @classmethod
    def of(cls, given: tuple[float, float]) -> Range:
        """Checks what a user gives.

        Raises:
          ConfigError: it is no range.
        """
        low, high = (float(value) for value in given)
        if not (math.isfinite(low) and math.isfinite(high) and low < high):
            raise ConfigError(f"value_range={low:g},{high:g} must be low,high")
        return cls(low, high)

    def to_unit(self, values: np.ndarray, valid: np.ndarray) -> np.ndarray:
        """Returns `[h, w, C]` as float32, NaN where `valid` of that shape is not."""
        low, width = np.float32(self.low), np.float32(self.high - self.low)
        unit = (np.ascontiguousarray(values, np.float32) - low) / width
        unit[~valid] = np.nan
        return unit

    def to_levels(
        self,
        unit: np.ndarray,
        valid: np.ndarray,
        scale: int,
        dtype: np.dtype,
        nodata: float | None,
    ) -> np.ndarray:
        """Returns what a network made as values of the file's type.

        Integers are rounded and end where the type ends. None is `nodata`: where the
        network makes just that value, its neighbour is taken.

        Args:
          unit: float32 `[h * scale, w * scale, C]`.
          valid: `[h, w, C]`; elsewhere the result means nothing.
          scale: of both.
          dtype: of the file.
          nodata: of the file.

        Raises:
          DataError: some values that are valid are not finite.
        """
        finite = np.isfinite(unit)
        if not finite.all():
            bad = np.count_nonzero(valid.repeat(scale, 0).repeat(scale, 1) & ~finite)
            if bad:
                raise DataError(f"{bad} of {unit.size} restored values are not finite")
            unit = np.where(finite, unit, np.float32(0))
        values = unit * np.float32(self.high - self.low) + np.float32(self.low)
        if np.issubdtype(dtype, np.integer):
            limits = np.iinfo(dtype)
            values = np.clip(np.rint(values), limits.min, limits.max)
        values = values.astype(dtype)
        if nodata is not None and math.isfinite(nodata):
            values[values == dtype.type(nodata)] = _beside(nodata, dtype)
        return values


def _beside(nodata: float, dtype: np.dtype) -> float:
    """Returns a value near to one that must not be."""
    if np.issubdtype(dtype, np.integer):
        return nodata + 1 if nodata < np.iinfo(dtype).max else nodata - 1
    # GDAL takes neighbours of a number for the same; towards 0 there is always room.
    limits = np.finfo(dtype)
    return nodata * (1 - 16 * float(limits.eps)) if nodata else float(limits.tiny)


def fill(tile: np.ndarray) -> np.ndarray:
    """Puts something harmless where values are missing.

    Args:
      tile: float `[h, w, C]`; NaN where values are missing, not everywhere.

    Returns:
      The tile with the nearest value of the same band there, or, if a band has none,
      the mean of the others.
    """
    missing = np.isnan(tile)
    if not missing.any():
        return tile
    filled = tile.copy()
    for band in range(tile.shape[2]):
        gone = missing[..., band]
        if gone.all():
            filled[..., band] = np.nanmean(tile)
        elif gone.any():
            places = ndimage.distance_transform_edt(
                gone, return_distances=False, return_indices=True
            )
            filled[..., band] = tile[..., band][tuple(np.asarray(places))]
    return filled
