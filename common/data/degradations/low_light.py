"""Low light: a picture taken with a fraction of the light it needs."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import numpy as np

from common.data.degradations.base import Degradation, Range, draw
from common.data.degradations.noise import MAX_PHOTONS, count
from common.data.degradations.srgb import to_linear, to_srgb


@dataclasses.dataclass(frozen=True)
class LowLight(Degradation):
    """Less light, the noise that comes with it, and a darker tone curve.

    In linear light the scene is multiplied by `gain` and its photons are counted
    (Foi et al. 2008, doi 10.1109/TIP.2008.2001399); the result is cut to what a
    sensor can hold, stored in sRGB and raised to the power `gamma`. With one photon
    count the picture is the noisier the darker it is.

    Attributes:
      gain: share of the light that is left, 0.001 to 1; drawn uniformly in the
        logarithm.
      gamma: exponent on the stored values, 0.2 to 5; above 1 darkens.
      photons: that white is worth before the gain, 1 to 1e7; drawn uniformly in the
        logarithm.
      read_noise: standard deviation in electrons, one for each photon, 0 to 1000.
    """

    gain: Range = (0.02, 0.2)
    gamma: Range = (1.0, 1.3)
    photons: Range = (2000.0, 20000.0)
    read_noise: Range = (1.0, 10.0)

    LIMITS: ClassVar = {
        "gain": (0.001, 1),
        "gamma": (0.2, 5),
        "photons": (1, MAX_PHOTONS),
        "read_noise": (0, 1000),
    }

    def __call__(self, clean: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Returns the dark image."""
        gain = np.float32(draw(self.gain, rng, log=True))
        gamma = np.float32(draw(self.gamma, rng))
        photons = draw(self.photons, rng, log=True)
        read_noise = draw(self.read_noise, rng)
        light = count(to_linear(clean) * gain, photons, read_noise, rng)
        return to_srgb(np.clip(light, 0, 1)) ** gamma
