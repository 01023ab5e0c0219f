"""Degraded photographs made of clean ones, with physical parameters.

Each family has its file; `create` finds a degradation by name and `Degrade` puts one
into an input pipeline.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from common.config import unknown
from common.data.degradations.base import Degradation
from common.data.degradations.bayer import Bayer
from common.data.degradations.blur import CameraShake, MotionBlur
from common.data.degradations.downscale import Bicubic
from common.data.degradations.haze import Haze
from common.data.degradations.jpeg import Jpeg
from common.data.degradations.low_light import LowLight
from common.data.degradations.noise import GaussianNoise, PoissonNoise
from common.data.degradations.rain import Rain
from common.data.degradations.raindrops import Raindrops
from common.data.transforms import Example, RandomMap
from common.errors import ConfigError

DEGRADATIONS: dict[str, type[Degradation]] = {
    "gaussian_noise": GaussianNoise,
    "poisson_noise": PoissonNoise,
    "motion_blur": MotionBlur,
    "camera_shake": CameraShake,
    "rain": Rain,
    "raindrops": Raindrops,
    "haze": Haze,
    "low_light": LowLight,
    "jpeg": Jpeg,
    "bicubic": Bicubic,
    "bayer": Bayer,
}


def create(name: str, **parameters: Any) -> Degradation:
    """Returns a degradation.

    Args:
      name: one of `DEGRADATIONS`.
      **parameters: fields of its class: numbers, or pairs (low, high) from which
        each example draws its own; what is not given has a default.

    Raises:
      ConfigError: unknown name or parameter, or a value that cannot be.
    """
    if name not in DEGRADATIONS:
        raise ConfigError(unknown("degradation", name, DEGRADATIONS))
    fields = [field.name for field in dataclasses.fields(DEGRADATIONS[name])]
    for parameter in parameters:
        if parameter not in fields:
            raise ConfigError(unknown(f"parameter of {name}", parameter, fields))
    return DEGRADATIONS[name](**parameters)


@dataclasses.dataclass(frozen=True)
class Degrade(RandomMap):
    """Makes a pair of a clean image: what it was and what became of it.

    Attributes:
      degradation: applied to the image on the scale [0, 1].
    """

    degradation: Degradation

    def random_map(self, element: Example, rng: np.random.Generator) -> Example:
        """Replaces `"image"` and sets `"target"`, see `Degradation.pair`."""
        clean = np.asarray(element["image"])
        if clean.dtype != np.uint8 or clean.ndim != 3 or clean.shape[2] != 3:
            raise ValueError(
                "what is degraded is uint8 [H, W, 3], given "
                f"{clean.dtype} {list(clean.shape)}"
            )
        return {**element, **self.degradation.pair(clean, rng)}
