"""What every degradation is, and how its ranges are given, checked and drawn."""

from __future__ import annotations

import abc
import dataclasses
import math
import numbers
from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np

from common.errors import ConfigError

# A number, or the pair (low, high) from which every example draws its own.
Range = float | Sequence[float]


@dataclasses.dataclass(frozen=True)
class Degradation(abc.ABC):
    """Makes a degraded photograph of a clean one; a frozen dataclass of its physics.

    Attributes:
      LIMITS: for each field that is a `Range` the smallest and largest value.
    """

    LIMITS: ClassVar[Mapping[str, tuple[float, float]]]

    @property
    def scale(self) -> int:
        """How many times the sides of the degraded image the clean one has."""
        return 1

    @property
    def multiple(self) -> int:
        """What the clean image's sides are made multiples of, by leaving pixels out."""
        return self.scale

    def __post_init__(self):
        for name, limits in self.LIMITS.items():
            _check(f"{type(self).__name__}.{name}", getattr(self, name), limits)

    @abc.abstractmethod
    def __call__(self, clean: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Returns the degraded image, a new array.

        Args:
          clean: float32 `[H, W, 3]`, sRGB values on the scale [0, 1].
          rng: all randomness comes from it.

        Returns:
          float32 `[H / scale, W / scale, 3]` on the same scale; only noise leaves
          [0, 1].
        """

    def pair(
        self, clean: np.ndarray, rng: np.random.Generator
    ) -> Mapping[str, np.ndarray]:
        """Returns the degraded image, and what a network should make of it.

        Args:
          clean: uint8 `[H, W, 3]`.
          rng: all randomness comes from it.

        Returns:
          `"image"`, float32 `[h, w, 3]` in [0, 1] but for noise, and `"target"`, uint8
          `[h * scale, w * scale, 3]`.
        """
        height, width = (side - side % self.multiple for side in clean.shape[:2])
        target = clean[:height, :width]
        image = self(target.astype(np.float32) / np.float32(255), rng)
        return {"image": image, "target": target}


def draw(value: Range, rng: np.random.Generator, *, log: bool = False) -> float:
    """Returns the number, or one of its range.

    Args:
      value: a number or (low, high).
      rng: draws, if there is something to draw.
      log: uniform in the logarithm, for what spans orders of magnitude.
    """
    low, high = ends(value)
    if low == high:
        return low
    if log:
        return math.exp(rng.uniform(math.log(low), math.log(high)))
    return float(rng.uniform(low, high))


def ends(value: Range) -> tuple[float, float]:
    """Returns (low, high); of a single number twice that."""
    if isinstance(value, Sequence):
        return float(value[0]), float(value[1])
    return float(value), float(value)


def _check(name: str, value: Range, limits: tuple[float, float]) -> None:
    """Refuses what is not a range between the limits."""
    pair = value if isinstance(value, Sequence) else (value, value)
    numeric = len(pair) == 2 and all(
        isinstance(x, numbers.Real) and not isinstance(x, bool) for x in pair
    )
    # Written so that a NaN fails.
    if not (numeric and limits[0] <= pair[0] <= pair[1] <= limits[1]):
        raise ConfigError(
            f"{name}={value!r} must be a number or a pair (low, high) in "
            f"[{limits[0]:g}, {limits[1]:g}]"
        )
