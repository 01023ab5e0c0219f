"""The flags of this package's modes; light to import."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

from absl import flags

from common import study_flags
from common.config import unknown
from common.errors import ConfigError
from common.restoration import flags as restoration_flags

flags.adopt_module_key_flags(restoration_flags)
flags.adopt_module_key_flags(study_flags)

# Each mode, and how it is called.
MODES = {
    "predict": "--workdir=RUN --input=DIR_OR_FILE --output=DIR [--tile=N ...]",
    "study": "--workdir=DIR [--config=FILE] [--losses=A,B] [--ratios=R,S] ...",
    "matrix": "--workdir=DIR [--config=FILE] [--presets=A,B] [--networks=A,B] ...",
}

_BANDS = flags.DEFINE_list(
    "bands", None, "Numbers of a scene's bands to take, from 1; by default all."
)
_VALUES = flags.DEFINE_list(
    "value_range",
    None,
    "LOW,HIGH: values of a scene that are black and white; by default 0 and the "
    "largest that is there.",
)
_LOSSES = flags.DEFINE_list(
    "losses", ["pdl", "vgg_l1"], "Feature losses of a study, beside the pixel loss."
)
_RATIOS = flags.DEFINE_list(
    "ratios", ["1"], "How strongly each pulls, over the pixel loss: one run for each."
)
_PRESETS = flags.DEFINE_list(
    "presets", ["ideal_bicubic", "full"], "How pairs of a matrix are made."
)
_NETWORKS = flags.DEFINE_list(
    "networks", [], "Networks of a matrix; by default that of the config."
)


@dataclasses.dataclass(frozen=True)
class SceneOptions:
    """What the flags say of GeoTIFF scenes."""

    bands: tuple[int, ...] | None = None
    value_range: tuple[float, float] | None = None


@dataclasses.dataclass(frozen=True)
class StudyOptions:
    """What the flags of `--mode=study` and `--mode=matrix` say, checked."""

    losses: tuple[str, ...] = ()
    ratios: tuple[float, ...] = (1.0,)
    presets: tuple[str, ...] = ()
    networks: tuple[str, ...] = ()
    seeds: int = 1

    def __post_init__(self):
        for name in ("losses", "ratios", "presets", "networks"):
            values = getattr(self, name)
            if len(set(values)) < len(values):
                raise ConfigError(f"--{name}={','.join(map(str, values))}: each once")
        if not self.ratios or not all(0 < ratio < math.inf for ratio in self.ratios):
            raise ConfigError(f"--ratios={','.join(_RATIOS.value)}: each above 0")
        if self.seeds < 1:
            raise ConfigError(f"--repeats={self.seeds} must be at least 1")

    def check(self, name: str, known: Sequence[str]) -> None:
        """Refuses names that are none.

        Raises:
          ConfigError: one of the values of `--name` is not known, or there is none.
        """
        values = getattr(self, name)
        for value in values:
            if value not in known:
                raise ConfigError(unknown(f"--{name}", value, known))
        if not values:
            raise ConfigError(f"--{name} needs at least one of {', '.join(known)}")


def scene_options() -> SceneOptions:
    """Returns what was given on the command line.

    Raises:
      ConfigError: it is no such thing.
    """
    bands = _numbers("bands", _BANDS.value, int)
    values = _numbers("value_range", _VALUES.value, float)
    if values is not None and len(values) != 2:
        raise ConfigError(f"--value_range={_VALUES.value} must be LOW,HIGH")
    return SceneOptions(bands, values)


def study_options() -> StudyOptions:
    """Returns what was given on the command line.

    Raises:
      ConfigError: it is no such thing.
    """
    return StudyOptions(
        losses=tuple(_LOSSES.value),
        ratios=_numbers("ratios", _RATIOS.value, float) or (),
        presets=tuple(_PRESETS.value),
        networks=tuple(_NETWORKS.value),
        seeds=study_flags.REPEATS.value,
    )


def _numbers(name: str, values: Sequence[str] | None, kind: type) -> tuple | None:
    if values is None:
        return None
    try:
        return tuple(kind(value) for value in values)
    except ValueError as error:
        raise ConfigError(f"--{name}={','.join(values)}: not numbers") from error
