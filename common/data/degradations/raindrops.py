"""Raindrops on the lens or on a window in front of it."""

from __future__ import annotations

import dataclasses
import math
from typing import ClassVar

import numpy as np

from common.data.degradations import filters
from common.data.degradations.base import Degradation, Range, draw, ends
from common.data.degradations.srgb import to_linear, to_srgb

# Our choices for the look of a drop: how much longer than wide it may be, the
# amplitude of the waves of its outline, and the light that its rim loses.
_STRETCH = 1.3
_WAVES = {2: 0.10, 3: 0.06}
_RIM = 0.4


@dataclasses.dataclass(frozen=True)
class Raindrops(Degradation):
    """Drops out of focus that show the scene small, wide and upside down.

    The composition of Qian et al. 2018 (arXiv 1711.10098): outside drops the scene,
    inside what they refract, a soft mask between. A drop is a lens of short focal
    length and inverts what is around it (Roser and Geiger 2009, doi
    10.1109/ICCVW.2009.5457650); the lens itself is approximated. In linear light.

    Attributes:
      coverage: share of the picture that drops cover, 0 to 0.9, overlaps counted
        twice; the number of drops is Poisson distributed.
      radius: of a drop in pixels, 1 to 500; drawn for each drop.
      view: how many times its own size a drop shows of the scene, 1 to 20.
      defocus: standard deviation of the blur of drops in pixels, 0 to 50.
    """

    coverage: Range = (0.05, 0.25)
    radius: Range = (6.0, 24.0)
    view: Range = (3.0, 6.0)
    defocus: Range = (1.0, 3.0)

    LIMITS: ClassVar = {
        "coverage": (0, 0.9),
        "radius": (1, 500),
        "view": (1, 20),
        "defocus": (0, 50),
    }

    def __call__(self, clean: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Returns the image seen through drops."""
        view, defocus = draw(self.view, rng), draw(self.defocus, rng)
        x, y, passed, mask = self._optics(clean.shape[0], clean.shape[1], view, rng)
        light = to_linear(clean)
        # What is shown smaller is smoothed before it is sampled.
        shown = filters.sample(filters.gaussian(light, 0.4 * view), x, y)
        shown = filters.gaussian(shown * passed[:, :, None], defocus)
        mask = filters.gaussian(mask, defocus)[:, :, None]
        mixed = light + mask * (shown - light)
        # Where there is no drop the picture is untouched to the last bit.
        return np.where(mask > 0, to_srgb(np.clip(mixed, 0, 1)), clean)

    def _optics(
        self, height: int, width: int, view: float, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Returns for each pixel where it looks (x, y), the light passed, the mask."""
        y, x = np.mgrid[:height, :width].astype(np.float32)
        passed, mask = np.ones_like(x), np.zeros_like(x)
        low, high = ends(self.radius)
        area = math.pi * (low**2 + low * high + high**2) / 3
        number = rng.poisson(draw(self.coverage, rng) * height * width / area)
        for _ in range(number):
            radius = draw(self.radius, rng)
            center = rng.uniform(0, width), rng.uniform(0, height)
            self._add_drop((x, y, passed, mask), center, radius, view, rng)
        return x, y, passed, mask

    def _add_drop(
        self,
        optics: tuple[np.ndarray, ...],
        center: tuple[float, float],
        radius: float,
        view: float,
        rng: np.random.Generator,
    ) -> None:
        """Writes one drop into the maps of its surroundings."""
        stretch = math.sqrt(rng.uniform(1, _STRETCH))
        phases = {waves: rng.uniform(0, 2 * math.pi) for waves in _WAVES}
        box = _box(center, radius * stretch * 1.2, optics[0].shape)
        rows, columns = np.mgrid[box].astype(np.float32)
        # The area stays that of a disc of this radius.
        u = (columns - center[0]) / (radius / stretch)
        v = (rows - center[1]) / (radius * stretch)
        angle = np.arctan2(v, u)
        outline = 1 + sum(
            size * np.cos(waves * angle + phases[waves])
            for waves, size in _WAVES.items()
        )
        distance = np.hypot(u, v) / outline
        inside = distance < 1
        # A lens distorts: the rim shows what is far to the other side.
        reach = view * radius * (1 + distance**2) / 2
        x, y, passed, mask = (plane[box] for plane in optics)
        x[inside] = (center[0] - reach * u)[inside]
        y[inside] = (center[1] - reach * v)[inside]
        passed[inside] = (1 - _RIM * distance**4)[inside]
        mask[inside] = 1


def _box(
    center: tuple[float, float], reach: float, shape: tuple[int, ...]
) -> tuple[slice, slice]:
    """Returns the pixels within `reach` of the center (x, y)."""
    left, right = math.floor(center[0] - reach), math.ceil(center[0] + reach) + 1
    top, low = math.floor(center[1] - reach), math.ceil(center[1] + reach) + 1
    return (
        slice(max(top, 0), min(low, shape[0])),
        slice(max(left, 0), min(right, shape[1])),
    )
