"""JPEG compression, by Pillow."""

from __future__ import annotations

import dataclasses
import io
from typing import ClassVar

import numpy as np
from PIL import Image

from common.config import unknown
from common.data.degradations.base import Degradation, Range, ends
from common.errors import ConfigError

SUBSAMPLINGS = ("4:4:4", "4:2:2", "4:2:0")


@dataclasses.dataclass(frozen=True)
class Jpeg(Degradation):
    """What a JPEG file keeps of the image, which is rounded to 8 bits before.

    Attributes:
      quality: of libjpeg, whole numbers from 1 to 100; those of a range are equally
        likely, its ends included.
      subsampling: of the chroma: `"4:4:4"`, `"4:2:2"` or `"4:2:0"`.
    """

    quality: Range = (10, 60)
    subsampling: str = "4:2:0"

    LIMITS: ClassVar = {"quality": (1, 100)}

    def __post_init__(self):
        super().__post_init__()
        if any(not end.is_integer() for end in ends(self.quality)):
            raise ConfigError(f"Jpeg.quality={self.quality!r} must be whole numbers")
        if self.subsampling not in SUBSAMPLINGS:
            raise ConfigError(
                unknown("Jpeg.subsampling", self.subsampling, SUBSAMPLINGS)
            )

    def __call__(self, clean: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Returns the decoded image."""
        low, high = ends(self.quality)
        quality = int(rng.integers(int(low), int(high) + 1))
        values = np.rint(np.clip(clean, 0, 1) * 255).astype(np.uint8)
        file = io.BytesIO()
        Image.fromarray(values).save(
            file, "JPEG", quality=quality, subsampling=self.subsampling
        )
        with Image.open(file) as image:
            return np.asarray(image, np.float32) / np.float32(255)
