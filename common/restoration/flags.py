"""The flags of --mode=predict for packages that restore images; light to import."""

from __future__ import annotations

import dataclasses

from absl import flags

from common import folder_flags
from common.config import unknown
from common.errors import ConfigError

flags.adopt_module_key_flags(folder_flags)

FORMATS = ("png", "jpg", "webp", "same")

TASK = flags.DEFINE_string(
    "task",
    None,
    "What to restore with published weights, in place of --config and --init_from.",
)
_ENSEMBLE = flags.DEFINE_bool(
    "ensemble", False, "Average over eight turned and mirrored views: 8 times the work."
)
_TILE = flags.DEFINE_integer(
    "tile", None, "Cut larger images into tiles of this size, if memory is short."
)
_OVERLAP = flags.DEFINE_integer(
    "tile_overlap",
    None,
    "Pixels that tiles share; by default as far as the network looks, or an eighth.",
)
_BFLOAT16 = flags.DEFINE_bool("bfloat16", False, "Compute in bfloat16.")
_FORMAT = flags.DEFINE_string(
    "format", "png", f"Of the results: {', '.join(FORMATS)} as the input."
)


@dataclasses.dataclass(frozen=True)
class Options:
    """What the flags say; checked but for what the network decides."""

    input: str
    output: str
    format: str = "png"
    ensemble: bool = False
    tile: int | None = None
    overlap: int | None = None
    bfloat16: bool = False

    def __post_init__(self):
        if self.format not in FORMATS:
            raise ConfigError(unknown("--format", self.format, FORMATS))
        if self.overlap is not None and self.tile is None:
            raise ConfigError("--tile_overlap needs --tile=N")


def options() -> Options:
    """Returns what was given on the command line.

    Raises:
      ConfigError: something is missing or not allowed.
    """
    if not folder_flags.INPUT.value or not folder_flags.OUTPUT.value:
        raise ConfigError("--mode=predict needs --input=DIR_OR_FILE and --output=DIR")
    return Options(
        input=folder_flags.INPUT.value,
        output=folder_flags.OUTPUT.value,
        format=_FORMAT.value,
        ensemble=_ENSEMBLE.value,
        tile=_TILE.value,
        overlap=_OVERLAP.value,
        bfloat16=_BFLOAT16.value,
    )
