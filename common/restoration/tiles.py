"""Overlapping tiles for images that do not fit into memory."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from common.errors import ConfigError

Function = Callable[[np.ndarray], np.ndarray]
# Rows and columns of an image to its pixels there, `[h, w, C]`.
Read = Callable[[slice, slice], np.ndarray]


class _Cut(NamedTuple):
    """One tile along one axis, in pixels of the image.

    What is used of it is `[first, last)`, what it is made of `[start, stop)`.
    """

    start: int
    stop: int
    first: int
    last: int


@dataclasses.dataclass(frozen=True)
class Tiling:
    """Cuts an image into tiles and blends what is made of them.

    Neighbours share at least `overlap` pixels, over which one fades linearly into the
    other: where they agree the result is what both say, to the last bit. The tiles
    are spread evenly, so the last one ends at the border and none is a small rest.

    A network whose result depends on pixels up to `r` away is wrong within `r` of a
    border where the image goes on. With `margin >= r` those pixels are not used, and
    the result is that of the whole image, but for rounding.

    Attributes:
      size: side of the square tiles.
      overlap: of neighbours, at least; less than `size`.
      margin: pixels of a tile that are thrown away along the borders that are not the
        image's, at most half of `overlap`. The fade is over the shared rest; where
        nothing is left, one tile ends where the next begins.
      multiple: at which rows and columns tiles may begin, for networks that treat
        these unlike others. `size` must be one. The last tiles can be larger by less
        than this.

    Raises:
      ConfigError: sizes that cannot be.
    """

    size: int
    overlap: int
    margin: int = 0
    multiple: int = 1

    def __post_init__(self):
        if self.size < 1:
            raise ConfigError(f"tile={self.size} must be at least 1")
        if not 0 <= self.overlap < self.size:
            raise ConfigError(
                f"tile_overlap={self.overlap} must be in [0, {self.size}), below tile"
            )
        if not 0 <= 2 * self.margin <= self.overlap:
            raise ConfigError(
                f"tile_margin={self.margin} must be in [0, {self.overlap // 2}], half "
                "of tile_overlap at most"
            )
        if self.multiple < 1 or self.size % self.multiple:
            raise ConfigError(f"tile={self.size} must be a multiple of {self.multiple}")
        if self.overlap + self.multiple > self.size:
            raise ConfigError(
                f"tile_overlap={self.overlap} must be {self.multiple} less than "
                f"tile={self.size}"
            )

    def cuts(self, height: int, width: int) -> bool:
        """Whether an image of this size is more than one tile."""
        return max(height, width) > self.size

    def count(self, height: int, width: int) -> int:
        """Returns how many tiles an image of this size becomes."""
        return len(self._along(height)) * len(self._along(width))

    def map(self, function: Function, image: np.ndarray, scale: int = 1) -> np.ndarray:
        """Applies a function to every tile and joins the results.

        Args:
          function: `[h, w, C]` -> floats `[h * scale, w * scale, D]`, for sides up to
            `size`.
          image: `[H, W, C]`.
          scale: of the function, a whole number.

        Returns:
          `[H * scale, W * scale, D]`. Besides it, one row of tiles is in memory at a
          time.

        Raises:
          ValueError: the function gave another size.
        """
        height, width = image.shape[:2]
        joined = np.empty(0)

        def read(rows: slice, columns: slice) -> np.ndarray:
            return image[rows, columns]

        for row, block in self.stream(read, function, height, width, scale):
            if not row:
                shape = (height * scale, width * scale, *block.shape[2:])
                joined = np.empty(shape, block.dtype)
            joined[row : row + len(block)] = block
            del block  # or it would be in memory beside the next row of tiles
        return joined

    def stream(
        self,
        read: Read,
        function: Function,
        height: int,
        width: int,
        scale: int = 1,
    ) -> Iterator[tuple[int, np.ndarray]]:
        """Makes a result from top to bottom, for images that nothing holds whole.

        About one row of tiles of the result is in memory at a time, as long as the
        caller keeps no block while it asks for the next.

        Args:
          read: rows and columns of the image -> its pixels there, `[h, w, C]`, with
            sides up to `size`. Each tile is read once, row by row.
          function: as that of `map`.
          height: of the image.
          width: of the image.
          scale: of the function, a whole number.

        Yields:
          First row and rows `[n, width * scale, D]` of the result: without gaps, from
          top to bottom, and of a number of rows that is a multiple of `scale`.

        Raises:
          ValueError: the function gave another size.
        """
        columns, rows = self._along(width), self._along(height)

        def tile(down: _Cut, across: _Cut) -> np.ndarray:
            part = read(slice(down.start, down.stop), slice(across.start, across.stop))
            made = function(part)
            _check_size(part, made, scale)
            return _used(_used(made, down, scale, 0), across, scale, 1)

        def strip(down: _Cut) -> np.ndarray:
            joined, tiles = np.empty(0), (tile(down, across) for across in columns)
            for column, piece in _blend(tiles, columns, scale, axis=1):
                if not column:
                    shape = (len(piece), width * scale, *piece.shape[2:])
                    joined = np.empty(shape, piece.dtype)
                joined[:, column : column + piece.shape[1]] = piece
            return joined

        yield from _blend(map(strip, rows), rows, scale, axis=0)

    def _along(self, length: int) -> list[_Cut]:
        unit = self.multiple
        last = (length - self.size) // unit
        if last <= 0:
            return [_Cut(0, length, 0, length)]
        # In units, so that what is rounded down takes nothing of the overlap.
        steps = -(-last // ((self.size - self.overlap) // unit))
        cuts = []
        for index in range(steps + 1):
            start = index * last // steps * unit
            stop = start + self.size if index < steps else length
            before = self.margin if index else 0
            behind = self.margin if index < steps else 0
            cuts.append(_Cut(start, stop, start + before, stop - behind))
        return cuts


def _check_size(part: np.ndarray, made: np.ndarray, scale: int) -> None:
    expected = [side * scale for side in part.shape[:2]]
    if list(made.shape[:2]) != expected:
        raise ValueError(
            f"a tile {list(part.shape)} became {list(made.shape)}; at scale {scale} "
            f"its sides are {expected}"
        )


def _used(made: np.ndarray, cut: _Cut, scale: int, axis: int) -> np.ndarray:
    """Takes the margins off along an axis."""
    first, last = (side - cut.start for side in (cut.first, cut.last))
    sides = slice(first * scale, last * scale)
    return made[sides] if axis == 0 else made[:, sides]


def _blend(
    parts: Iterable[np.ndarray], cuts: Sequence[_Cut], scale: int, axis: int
) -> Iterator[tuple[int, np.ndarray]]:
    """Yields where along the axis it begins, and what no later part will change.

    The parts may be made one by one; none is changed, none is held while the next is
    made.
    """
    parts, held = iter(parts), None
    after = [*(cut.first * scale for cut in cuts[1:]), cuts[-1].last * scale]
    for cut, next_start in zip(cuts, after, strict=True):
        start, part = cut.first * scale, next(parts)  # zip would hold the last one
        if held is not None and held.shape[axis]:
            faded = _fade(held, part, axis)
            shared = faded.shape[axis]
            rest = _between(part, shared, None, axis)
            if next_start < start + shared:  # three parts or more share pixels
                part = np.concatenate([faded, rest], axis)
            else:
                yield start, faded
                start, part = start + shared, rest
            del faded, rest
        done = next_start - start
        held = _between(part, done, None, axis).copy()  # or it would hold the part
        if done:
            yield start, _between(part, 0, done, axis)
        del part


def _fade(old: np.ndarray, new: np.ndarray, axis: int) -> np.ndarray:
    """Returns the pixels that `old` shares with the beginning of `new`."""
    shared = old.shape[axis]
    fade = (np.arange(shared, dtype=new.dtype) + 0.5) / shared
    fade = fade[:, None, None] if axis == 0 else fade[:, None]
    return old + fade * (_between(new, 0, shared, axis) - old)


def _between(part: np.ndarray, first: int, last: int | None, axis: int) -> np.ndarray:
    return part[first:last] if axis == 0 else part[:, first:last]
