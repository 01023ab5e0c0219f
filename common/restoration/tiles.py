"""Overlapping tiles for images that do not fit into memory."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from common.errors import ConfigError


@dataclasses.dataclass(frozen=True)
class Tiling:
    """Cuts an image into tiles and blends what is made of them.

    Neighbours share at least `overlap` pixels, over which one fades linearly into the
    other: where they agree the result is what both say, to the last bit. The tiles
    are spread evenly, so the last one ends at the border and none is a small rest.

    Attributes:
      size: side of the square tiles.
      overlap: of neighbours, at least; less than `size`.

    Raises:
      ConfigError: sizes that cannot be.
    """

    size: int
    overlap: int

    def __post_init__(self):
        if self.size < 1:
            raise ConfigError(f"tile={self.size} must be at least 1")
        if not 0 <= self.overlap < self.size:
            raise ConfigError(
                f"tile_overlap={self.overlap} must be in [0, {self.size}), below tile"
            )

    def cuts(self, height: int, width: int) -> bool:
        """Whether an image of this size is more than one tile."""
        return max(height, width) > self.size

    def map(
        self, function: Callable[[np.ndarray], np.ndarray], image: np.ndarray
    ) -> np.ndarray:
        """Applies a function to every tile and joins the results.

        Args:
          function: `[h, w, C]` -> the same shape, with sides up to `size`.
          image: `[H, W, C]`.

        Returns:
          `[H, W, C]`. Besides it, one row of tiles is in memory at a time.
        """
        height, width = image.shape[:2]
        rows, columns = self._starts(height), self._starts(width)
        side = self.size

        def strip(row: int) -> np.ndarray:
            tiles = (
                function(image[row : row + side, column : column + side])
                for column in columns
            )
            return _join(tiles, columns, width, axis=1)

        return _join(map(strip, rows), rows, height, axis=0)

    def _starts(self, length: int) -> list[int]:
        if length <= self.size:
            return [0]
        last = length - self.size
        steps = -(-last // (self.size - self.overlap))
        return [index * last // steps for index in range(steps + 1)]


def _join(
    parts: Iterable[np.ndarray], starts: Sequence[int], length: int, axis: int
) -> np.ndarray:
    """Puts parts along an axis; `parts` may be made one by one."""
    joined, end = np.empty(0), 0
    for start, part in zip(starts, parts, strict=True):
        part = np.moveaxis(part, axis, 0)
        if not end:
            joined = np.empty((length, *part.shape[1:]), part.dtype)
        shared = end - start
        fade = (np.arange(shared, dtype=part.dtype) + 0.5) / max(shared, 1)
        old = joined[start:end]
        old += fade[:, None, None] * (part[:shared] - old)
        end = start + len(part)
        joined[start + shared : end] = part[shared:]
    return np.moveaxis(joined, 0, axis)
