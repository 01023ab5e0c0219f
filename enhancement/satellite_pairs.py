"""Pairs of a satellite's product and its scene, made as photographs are read."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from common.data.degradations.base import Degradation
from common.errors import ConfigError
from enhancement import satellite
from enhancement.satellite_draws import Meta
from enhancement.satellite_sensor import noise_variance

# What a network can be told of a degradation, and what it is told where nothing is
# known: the middle of what the preset `full` draws. Standard deviations along the rows
# and columns are in LR pixels, noise is in 255 levels at half of full scale.
CONDITIONS: Mapping[str, float] = {
    "sigma_across": 0.65,
    "sigma_along": 0.65,
    "noise": 1.0,
    "sharpening": 0.6,
}


@dataclasses.dataclass(frozen=True)
class Satellite(Degradation):
    """`satellite.degrade` as a degradation of an input pipeline.

    Attributes:
      preset: a key of `satellite.PRESETS`.
      factor: HR pixels in an LR pixel.
      mix: share of images that `ideal_bicubic` makes instead, for robustness.
      fields: of the preset's class, in place of its own.
    """

    preset: str = "full"
    factor: int = 2
    mix: float = 0.0
    fields: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    LIMITS: ClassVar = {}

    def __post_init__(self):
        super().__post_init__()
        if not 0 <= self.mix <= 1:
            raise ConfigError(f"Satellite.mix={self.mix} must be in [0, 1]")
        # Refuses what cannot be, before anything is read.
        self._configs  # noqa: B018

    @functools.cached_property
    def _configs(self) -> tuple[Any, Any]:
        fields = {name: x for name, x in self.fields.items() if x is not None}
        ours = satellite.preset(self.preset, self.factor, **fields)
        return ours, satellite.preset("ideal_bicubic", self.factor)

    @property
    def scale(self) -> int:
        """The factor."""
        return self.factor

    def __call__(self, clean: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Returns the LR image alone."""
        values = np.rint(np.clip(clean, 0, 1) * 255).astype(np.uint8)
        return self.pair(values, rng)["image"]

    def pair(
        self, clean: np.ndarray, rng: np.random.Generator
    ) -> Mapping[str, np.ndarray]:
        """Returns the product, its target, and what can be told of the product.

        Returns:
          As `Degradation.pair`, and `"condition"`, float32 `[4]`, see `CONDITIONS`.
        """
        ours, ideal = self._configs
        config = ideal if rng.random() < self.mix else ours
        key = int(rng.integers(2**63))
        image, target, meta = satellite.degrade(key, clean, config)
        return {
            "image": image,
            "target": np.rint(target * 255).astype(np.uint8),
            "condition": condition(meta),
        }


def condition(meta: Meta) -> np.ndarray:
    """Returns what a network is told of a degradation, float32 `[4]`.

    Divided by `CONDITIONS`, so that 1 is usual for each.

    Args:
      meta: of `satellite.degrade`. What it does not have counts as usual for the lens
        and as none for what did not run.
    """
    told = {
        "sigma_across": _sigma(meta, "lens.mtf_across"),
        "sigma_along": _sigma(meta, "lens.mtf_along"),
        "noise": _noise(meta) if meta.get("noise") else 0.0,
        "sharpening": float(meta.get("sharpen.amount", 0.0)),
    }
    values = [told[name] / usual for name, usual in CONDITIONS.items()]
    return np.asarray(values, np.float32)


def _sigma(meta: Meta, name: str) -> float:
    """Standard deviation in LR pixels of the Gaussian with an MTF at Nyquist."""
    if name not in meta:
        return CONDITIONS["sigma_across"]
    return float(np.sqrt(-2 * np.log(float(meta[name]))) / np.pi)


def _noise(meta: Meta) -> float:
    """Standard deviation at half of full scale, in 255 levels."""
    well, read = (float(meta[f"sensor.{x}"]) for x in ("full_well", "read_noise"))
    return 255 * float(np.sqrt(noise_variance(0.5, well, read)))
