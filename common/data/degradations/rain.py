"""Rain: streaks of light in front of the scene."""

from __future__ import annotations

import dataclasses
import math
from typing import ClassVar

import numpy as np

from common.data.degradations import filters
from common.data.degradations.base import Degradation, Range, draw
from common.data.degradations.srgb import to_linear, to_srgb

# Our choice: drops fall at three distances. Size on the picture goes with the
# inverse of the distance, the number of drops in view with its square.
_DISTANCES = (1.0, 1.6, 2.6)
# Our choice: a streak has between this share of the brightness and all of it.
_DIMMEST = 0.4
# How far layers deviate from the common direction: standard deviation in degrees.
_TURN = 2.0


@dataclasses.dataclass(frozen=True)
class Rain(Degradation):
    """Streaks of falling drops, which add light and saturate at white.

    A drop shows the bright sky and the shutter draws it out to a streak (Garg and
    Nayar 2007, doi 10.1007/s11263-006-0028-6); the additive model of deraining
    papers (arXiv 1609.07769), in linear light.

    Attributes:
      density: streaks for each million pixels, 0 to 100,000; drawn per example, the
        number of streaks then being Poisson distributed.
      length: of the nearest streaks in pixels, 1 to 200.
      width: of the nearest streaks, at half their brightness, in pixels, 0.5 to 20.
      angle: from the vertical in degrees, -80 to 80; above 0 drops fall to the right.
      intensity: linear light added at the centre of the brightest streaks, 0 to 1,
        where 1 is white.
    """

    density: Range = (2000.0, 12000.0)
    length: Range = (15.0, 45.0)
    width: Range = (1.0, 2.5)
    angle: Range = (-30.0, 30.0)
    intensity: Range = (0.1, 0.5)

    LIMITS: ClassVar = {
        "density": (0, 100_000),
        "length": (1, 200),
        "width": (0.5, 20),
        "angle": (-80, 80),
        "intensity": (0, 1),
    }

    def __call__(self, clean: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Returns the image behind rain."""
        streaks = self.layer(clean.shape[0], clean.shape[1], rng)
        light = to_linear(clean) + streaks[:, :, None]
        return np.maximum(to_srgb(np.minimum(light, 1)), clean)

    def layer(self, height: int, width: int, rng: np.random.Generator) -> np.ndarray:
        """Returns the light that streaks add, float32 `[height, width]`."""
        density, angle = draw(self.density, rng), draw(self.angle, rng)
        length, thickness = draw(self.length, rng), draw(self.width, rng)
        intensity = draw(self.intensity, rng)
        total = np.zeros((height, width), np.float32)
        share = density / sum(distance**2 for distance in _DISTANCES)
        for distance in _DISTANCES:
            shape = streak(
                length / distance,
                max(thickness / distance, 0.5),
                angle + _TURN * rng.standard_normal(),
            )
            drops = _drops(height, width, share * distance**2, shape, rng)
            total += np.float32(intensity / distance) * drops
        return total


def streak(length: float, width: float, angle: float) -> np.ndarray:
    """Returns the picture of one streak: float32, odd square, at most 1.

    Its profile is Gaussian across and flat along, with ends as soft as its sides.

    Args:
      length: in pixels.
      width: at half the brightness, in pixels.
      angle: in degrees from the vertical; above 0 the lower end is to the right.
    """
    from scipy import special

    sigma = width / math.sqrt(8 * math.log(2))
    reach = math.ceil(length / 2 + 3 * sigma)
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1].astype(np.float32)
    sin, cos = math.sin(math.radians(angle)), math.cos(math.radians(angle))
    along, across = x * sin + y * cos, x * cos - y * sin
    scale = math.sqrt(2) * sigma
    flat = special.erf((along + length / 2) / scale)
    flat = (flat - special.erf((along - length / 2) / scale)) / 2
    return (flat * np.exp(-((across / scale) ** 2))).astype(np.float32)


def _drops(
    height: int,
    width: int,
    density: float,
    shape: np.ndarray,
    rng: np.random.Generator,
) -> np.ndarray:
    """Returns streaks at random places, also those that reach in from outside."""
    margin = len(shape) // 2
    field = np.zeros((height + 2 * margin, width + 2 * margin), np.float32)
    number = rng.poisson(density * field.size / 1e6)
    places = rng.integers(field.size, size=number)
    np.add.at(field.ravel(), places, rng.uniform(_DIMMEST, 1, number))
    drawn = filters.convolve(field, shape)
    inside = drawn[margin : margin + height, margin : margin + width]
    # What is left of a rounding error of the convolution.
    return np.maximum(inside, 0)
