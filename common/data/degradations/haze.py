"""Haze: light that the air takes away and light that it adds."""

from __future__ import annotations

import dataclasses
import math
from typing import ClassVar

import numpy as np

from common.data.degradations import filters
from common.data.degradations.base import Degradation, Range, draw
from common.data.degradations.srgb import to_linear, to_srgb

# Independent values of the depth's variation along each side: our choice.
_CELLS = 5


@dataclasses.dataclass(frozen=True)
class Haze(Degradation):
    """Homogeneous haze over a scene whose depth rises from bottom to top.

    Koschmieder's law as in RESIDE (arXiv 1712.04143): `I = J t + A (1 - t)` with the
    transmission `t = exp(-beta d)`. Photographs have no depth: a ramp with a smooth
    random variation stands in. In linear light; RESIDE itself mixes stored values,
    which makes more haze of the same `beta`.

    Attributes:
      beta: scattering of the air for each metre, 0 to 1. Visibility is 3.9 / beta.
      airlight: sRGB value of the air at infinite depth, grey, 0 to 1.
      near: depth at the lower border in metres, 0 to 10,000.
      far: depth at the upper border in metres, 0 to 10,000; below `near` the ramp
        falls.
      variation: of the depth, as a share of what the ramp has there, 0 to 1.
      tilt: of the ramp in degrees, -90 to 90.
    """

    beta: Range = (0.01, 0.04)
    airlight: Range = (0.75, 0.98)
    near: Range = (3.0, 10.0)
    far: Range = (40.0, 80.0)
    variation: Range = (0.0, 0.4)
    tilt: Range = (-20.0, 20.0)

    LIMITS: ClassVar = {
        "beta": (0, 1),
        "airlight": (0, 1),
        "near": (0, 10_000),
        "far": (0, 10_000),
        "variation": (0, 1),
        "tilt": (-90, 90),
    }

    def __call__(self, clean: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Returns the image seen through haze."""
        transmission, airlight = self.air(clean.shape[0], clean.shape[1], rng)
        light, air = to_linear(clean), to_linear(np.full(1, airlight, np.float32))
        return to_srgb(air + transmission[:, :, None] * (light - air))

    def air(
        self, height: int, width: int, rng: np.random.Generator
    ) -> tuple[np.ndarray, float]:
        """Returns the transmission, float32 `[height, width]`, and the airlight."""
        beta, airlight = draw(self.beta, rng), draw(self.airlight, rng)
        return np.exp(-np.float32(beta) * self._depth(height, width, rng)), airlight

    def _depth(self, height: int, width: int, rng: np.random.Generator) -> np.ndarray:
        """Returns metres, float32 `[height, width]`."""
        near, far = draw(self.near, rng), draw(self.far, rng)
        tilt = math.radians(draw(self.tilt, rng))
        y = np.linspace(0.5, -0.5, height, dtype=np.float32)[:, None]
        x = np.linspace(-0.5, 0.5, width, dtype=np.float32)[None]
        # 0 at the lowest corner and 1 at the highest, whatever the tilt.
        climb = x * math.sin(tilt) + y * math.cos(tilt)
        climb = climb / (abs(math.sin(tilt)) + math.cos(tilt)) + 0.5
        ramp = near + (far - near) * climb
        variation = np.float32(draw(self.variation, rng))
        return ramp * (1 + variation * filters.smooth_field(height, width, _CELLS, rng))
