"""What others report of MaxViT, and what we measured (arXiv 2204.01697).

The paper's "FLOPs" are multiply-adds. Top-1 is in per cent on ImageNet-1k, single
crop.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

from common import results
from common.config import unknown
from common.errors import ConfigError

VARIANTS = ("T", "S", "B", "L", "XL")
SIZES = (224, 384, 512)
# Pre-training -> what it is called in tables.
TRAININGS = {"none": "ImageNet-1k", "in21k": "21k to 1k", "jft": "JFT to 1k"}

# Billions of multiply-adds at SIZES: table 2, and table 3 for XL at 384 and 512. XL at
# 224 is from the official README. Table 10 and the README say 24.2 for B at 224.
MULTIPLY_ADDS = {
    "T": (5.6, 17.7, 33.7),
    "S": (11.7, 36.1, 67.6),
    "B": (23.4, 74.2, 138.5),
    "L": (43.9, 133.1, 245.4),
    "XL": (97.8, 293.7, 535.2),
}

# Millions of activations at SIZES that timm 1.0.31 reports for its port. It looks
# biases up with matrix products, which it counts; we index.
TIMM_ACTIVATIONS = {
    "T": (35.8, 123.4, 257.6),
    "S": (53.2, 183.7, 383.8),
    "B": (95.0, 332.9, 704.0),
    "L": (127.4, 445.8, 942.2),
    "XL": (191.0, 668.8, 1413.2),
}

# Pre-training -> variant -> top-1 at SIZES; None is not published. Table 2 for
# ImageNet-1k alone (L at 384 is misprinted in table 13), table 3 for the others.
TOP1: dict[str, dict[str, tuple[float | None, ...]]] = {
    "none": {
        "T": (83.62, 85.24, 85.72),
        "S": (84.45, 85.74, 86.19),
        "B": (84.95, 86.34, 86.66),
        "L": (85.17, 86.40, 86.70),
    },
    "in21k": {
        "B": (None, 88.24, 88.38),
        "L": (None, 88.32, 88.46),
        "XL": (None, 88.51, 88.70),
    },
    "jft": {
        "B": (None, 88.69, 88.82),
        "L": (None, 89.12, 89.41),
        "XL": (None, 89.36, 89.53),
    },
}

RESULTS = Path(__file__).with_name("results.csv")


@dataclasses.dataclass(frozen=True)
class Result:
    """One evaluation of ours on the whole ImageNet-1k validation set.

    Attributes:
      variant: one of `VARIANTS`.
      image_size: one of `SIZES`.
      pretraining: a key of `TRAININGS`.
      top1: in per cent.
      command: that printed it.

    Raises:
      ConfigError: a value that no result has.
    """

    variant: str
    image_size: int
    pretraining: str
    top1: float
    command: str

    def __post_init__(self):
        for what, value, choices in (
            ("variant", self.variant, VARIANTS),
            ("image_size", str(self.image_size), tuple(map(str, SIZES))),
            ("pretraining", self.pretraining, TRAININGS),
        ):
            if value not in choices:
                raise ConfigError(unknown(what, value, choices))
        if not 0 < self.top1 <= 100:
            raise ConfigError(f"top1={self.top1} must be in (0, 100]")
        results.check_command(self.command)


def read_results(path: Path = RESULTS) -> list[Result]:
    """Reads the results that `--mode=eval` runs gave and somebody wrote down.

    Raises:
      DataError: naming the line that is not a result.
    """
    return results.read(path, Result)
