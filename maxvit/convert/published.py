"""The weights timm publishes on Hugging Face (apache-2.0), and what they expect.

Each is a port of an official checkpoint. Wrong preprocessing costs half a point to a
whole one, so it is part of the table.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from common.config import unknown
from common.errors import ConfigError

SCHEME = "timm:"


class Weight(NamedTuple):
    """One published weight.

    Attributes:
      variant: of MaxViT.
      resolution: side of the images it was trained on last.
      num_classes: width of its logits.
      preprocess: fields of `config.preprocess` as it expects them.
    """

    variant: str
    resolution: int
    num_classes: int
    preprocess: Mapping[str, str]


def _weight(variant: str, resolution: int, tag: str) -> Weight:
    """Returns a weight with timm's own preprocessing of it."""
    native = resolution == 224
    return Weight(
        variant,
        resolution,
        21_843 if tag == "in21k" else 1000,
        {
            "normalization": "imagenet" if native and tag == "in1k" else "half",
            "eval_crop": "0.95" if native else "squash",
        },
    )


_RELEASES = (
    ("in1k", ("tiny", "small", "base", "large"), (224, 384, 512)),
    ("in21k", ("base", "large", "xlarge"), (224,)),
    ("in21k_ft_in1k", ("base", "large", "xlarge"), (384, 512)),
)
PUBLISHED: Mapping[str, Weight] = {
    f"maxvit_{variant}_tf_{resolution}.{tag}": _weight(variant, resolution, tag)
    for tag, variants, resolutions in _RELEASES
    for variant in variants
    for resolution in resolutions
}


def name_of(init_from: str) -> str | None:
    """Returns the published name that `timm:NAME` means, None where it is a path.

    A file or folder of that name wins.

    Raises:
      ConfigError: neither a path nor a published name.
    """
    if init_from == SCHEME:
        raise ConfigError(f"{SCHEME} names no weights; give {SCHEME}NAME or a path")
    if not init_from.startswith(SCHEME) or path_of(init_from).exists():
        return None
    name = init_from.removeprefix(SCHEME).removeprefix("timm/")  # their owner there
    if re.search(r"/|^[.~]|\.(safetensors|npz)$", name):
        return None  # a path with nothing there
    if name not in PUBLISHED:
        raise ConfigError(unknown("timm weight", name, PUBLISHED))
    return name


def path_of(init_from: str) -> Path:
    """Returns the path that `timm:PATH` or `PATH` means."""
    return Path(init_from.removeprefix(SCHEME)).expanduser()
