"""What a sensor behind a colour filter array sees of an image."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import numpy as np

from common.config import unknown
from common.data.degradations.base import Degradation, Range, draw
from common.errors import ConfigError

# Channels of the four pixels of a cell: upper left, upper right, lower left and right.
PATTERNS = {
    "RGGB": (0, 1, 1, 2),
    "BGGR": (2, 1, 1, 0),
    "GRBG": (1, 0, 2, 1),
    "GBRG": (1, 2, 0, 1),
}


@dataclasses.dataclass(frozen=True)
class Bayer(Degradation):
    """One colour for each pixel, shown as grey: a raw image.

    Attributes:
      pattern: a key of `PATTERNS`.
      sigma: standard deviation of noise, in 255 levels.
    """

    pattern: str = "RGGB"
    sigma: Range = 0.0

    LIMITS: ClassVar = {"sigma": (0, 255)}

    @property
    def multiple(self) -> int:
        """A cell's side."""
        return 2

    def __post_init__(self):
        super().__post_init__()
        if self.pattern not in PATTERNS:
            raise ConfigError(unknown("Bayer.pattern", self.pattern, PATTERNS))

    def __call__(self, clean: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Returns the mosaic `[H, W, 3]`, with three equal channels."""
        grey = mosaic(clean, self.pattern)
        sigma = draw(self.sigma, rng)
        if sigma:
            noise = rng.standard_normal(grey.shape, np.float32)
            grey = grey + np.float32(sigma / 255) * noise
        return np.repeat(grey[..., None], 3, axis=-1)


def mosaic(image: np.ndarray, pattern: str) -> np.ndarray:
    """`[H, W, 3]` -> `[H, W]`: of each pixel the channel that its filter passes."""
    result = np.empty(image.shape[:2], image.dtype)
    for number, channel in enumerate(PATTERNS[pattern]):
        row, column = divmod(number, 2)
        result[row::2, column::2] = image[row::2, column::2, channel]
    return result
