"""Small images of large ones, as super-resolution benchmarks make them."""

from __future__ import annotations

import dataclasses
import functools
from typing import ClassVar

import numpy as np

from common.data.degradations.base import Degradation
from common.errors import ConfigError

# Keys 1981, "Cubic convolution interpolation", and MATLAB's imresize.
_A = -0.5


@dataclasses.dataclass(frozen=True)
class Bicubic(Degradation):
    """MATLAB's `imresize(image, 1 / factor)`, bicubic with antialiasing.

    The kernel is stretched by the factor, borders are mirrored with the border pixel
    repeated, and the result is rounded to 8 bits, as in the files of DIV2K and the
    other benchmarks.

    Attributes:
      factor: by which both sides become smaller, a whole number from 2.
    """

    factor: int = 4

    LIMITS: ClassVar = {}

    def __post_init__(self):
        super().__post_init__()
        if type(self.factor) is not int or not 2 <= self.factor <= 16:
            raise ConfigError(
                f"Bicubic.factor={self.factor!r} must be a whole number in [2, 16]"
            )

    @property
    def scale(self) -> int:
        """The factor."""
        return self.factor

    def __call__(self, clean: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Returns the image with sides 1 / factor as long, in steps of 1 / 255."""
        del rng
        small = shrink(clean, self.factor)
        return np.rint(np.clip(small, 0, 1) * 255).astype(np.float32) / np.float32(255)


def shrink(image: np.ndarray, factor: int) -> np.ndarray:
    """Returns `[H, W, C]` with sides H / factor and W / factor, not rounded.

    Args:
      image: floats; both sides must be multiples of the factor.
      factor: whole number.
    """
    height, width = image.shape[:2]
    rows, columns = _weights(height, factor), _weights(width, factor)
    tall = np.tensordot(rows, image.astype(np.float64), (1, 0))
    return np.tensordot(columns, tall, (1, 1)).swapaxes(0, 1)


@functools.lru_cache(maxsize=32)
def _weights(length: int, factor: int) -> np.ndarray:
    """Returns the matrix `[length / factor, length]` of one axis."""
    count = length // factor
    centre = (np.arange(count) + 0.5) * factor - 0.5
    first = np.ceil(centre - 2 * factor).astype(int)
    taps = first[:, None] + np.arange(4 * factor + 1)
    values = _cubic((centre[:, None] - taps) / factor)
    values /= values.sum(1, keepdims=True)
    # Mirrored about the border's edge, several times where the image is small.
    place = taps % (2 * length)
    place = np.where(place < length, place, 2 * length - 1 - place)
    matrix = np.zeros((count, length))
    np.add.at(matrix, (np.arange(count)[:, None], place), values)
    return matrix


def _cubic(x: np.ndarray) -> np.ndarray:
    x = np.abs(x)
    near = (_A + 2) * x**3 - (_A + 3) * x**2 + 1
    far = _A * (x**3 - 5 * x**2 + 8 * x - 4)
    return np.where(x <= 1, near, np.where(x < 2, far, 0.0))
