"""Images of any size for networks that take multiples of a number."""

from __future__ import annotations

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class Padding:
    """What is added around an image, and taken off the result.

    As in MAXIM's official evaluation script: an odd side first gets one more row or
    column at its end, then half of what is missing comes before and half behind.
    Everything is reflected without repeating the border pixel, several times where
    the image is smaller than what it lacks; one single row or column is repeated.

    Attributes:
      size: `(height, width)` of the image.
      even: after the first step.
      padded: after the second; the multiple.
    """

    size: tuple[int, int]
    even: tuple[int, int]
    padded: tuple[int, int]

    @classmethod
    def to_multiple(cls, height: int, width: int, multiple: int) -> Padding:
        """Plans how an image gets sides that are multiples of `multiple`.

        Of 1 everything is a multiple: nothing is added.
        """
        odd = (height % 2, width % 2) if multiple > 1 else (0, 0)
        even = (height + odd[0], width + odd[1])
        rows, columns = (-(-side // multiple) * multiple for side in even)
        return cls((height, width), even, (rows, columns))

    @property
    def start(self) -> tuple[int, int]:
        """Row and column at which the image begins in the padded one."""
        rows, columns = (
            padded // 2 - even // 2
            for padded, even in zip(self.padded, self.even, strict=True)
        )
        return rows, columns

    def pad(self, image: np.ndarray) -> np.ndarray:
        """Pads `[H, W, C]`."""
        for axis in range(2):
            if self.padded[axis] != self.size[axis]:
                image = np.take(image, self._pixels(axis), axis)
        return image

    def crop(self, image: np.ndarray, scale: int = 1) -> np.ndarray:
        """Cuts the image out of a padded one, which may be `scale` times as large."""
        row, column, height, width = (scale * x for x in (*self.start, *self.size))
        return image[row : row + height, column : column + width]

    def _pixels(self, axis: int) -> np.ndarray:
        """Which pixel of the image stands where."""
        size, even, padded = self.size[axis], self.even[axis], self.padded[axis]
        before = self.start[axis]
        pixels = np.pad(np.arange(size), (0, even - size), "reflect")
        return np.pad(pixels, (before, padded - even - before), "reflect")
