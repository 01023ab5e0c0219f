"""Noise: additive Gaussian, and that of photons and their readout."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import numpy as np

from common.data.degradations.base import Degradation, Range, draw
from common.data.degradations.srgb import to_linear, to_srgb

# A full well of the largest sensors holds fewer electrons.
MAX_PHOTONS = 1e7


@dataclasses.dataclass(frozen=True)
class GaussianNoise(Degradation):
    """White Gaussian noise added to the stored sRGB values, not clipped.

    The convention of denoising papers (DnCNN, arXiv 1608.03981, and before).

    Attributes:
      sigma: standard deviation in levels of 8 bits, 0 to 255.
    """

    sigma: Range = 25.0

    LIMITS: ClassVar = {"sigma": (0, 255)}

    def __call__(self, clean: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Returns the image with noise added."""
        noise = rng.standard_normal(clean.shape, np.float32)
        return clean + np.float32(draw(self.sigma, rng) / 255) * noise


@dataclasses.dataclass(frozen=True)
class PoissonNoise(Degradation):
    """Photons counted in linear light, and Gaussian noise of their readout.

    The signal-dependent model of Foi et al. 2008 (doi 10.1109/TIP.2008.2001399): in
    linear light, with `p` photons at white, a value `x` has the variance
    `x / p + (read_noise / p)**2`. The result is stored in sRGB, not clipped.

    Attributes:
      photons: that white is on average worth, 1 to 1e7; drawn uniformly in the
        logarithm. 100 is a noisy night picture, 10,000 hardly visible.
      read_noise: standard deviation in electrons, one for each photon, 0 to 1000.
    """

    photons: Range = (50.0, 2000.0)
    read_noise: Range = (0.0, 5.0)

    LIMITS: ClassVar = {"photons": (1, MAX_PHOTONS), "read_noise": (0, 1000)}

    def __call__(self, clean: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Returns the image as a sensor counts it."""
        photons = draw(self.photons, rng, log=True)
        read_noise = draw(self.read_noise, rng)
        return to_srgb(count(to_linear(clean), photons, read_noise, rng))


def count(
    light: np.ndarray, photons: float, read_noise: float, rng: np.random.Generator
) -> np.ndarray:
    """Returns what a sensor reads of linear light, float32, in the light's units.

    Args:
      light: at least 0; 1 is white.
      photons: expected number of photons at 1.
      read_noise: standard deviation in photons.
      rng: draws counts and readout.
    """
    counts = rng.poisson(light * photons).astype(np.float32)
    counts += np.float32(read_noise) * rng.standard_normal(light.shape, np.float32)
    return counts / np.float32(photons)
