"""The flags of this package's modes; light to import."""

from __future__ import annotations

import dataclasses

from absl import flags

from common import folder_flags, study_flags
from common.config import unknown
from common.errors import ConfigError
from common.size import Size, height_width
from resizer.phases import RESIZERS

flags.adopt_module_key_flags(folder_flags)
flags.adopt_module_key_flags(study_flags)

# Each mode, and how it is called.
MODES = {
    "predict": "--workdir=RUN --input=DIR_OR_FILE --output=DIR [--size=S] [--npy]",
    "study": "--workdir=DIR [--config=FILE] [--resizers=A,B ...] [--repeats=N]",
    "grid": "--workdir=DIR --backbones=A,B [--config=FILE] [--repeats=N]",
}

_SIZE = flags.DEFINE_list(
    "size", None, "Side, or height,width, of resized images; by default the network's."
)
_FROM = flags.DEFINE_string(
    "from_size",
    "trained",
    "What images are brought to before the resizer: the size it was trained on "
    "(trained), or none: their own pixels (native).",
)
_NPY = flags.DEFINE_bool(
    "npy", False, "Write float32 arrays that are not clipped, .npy, in place of PNG."
)
_RESIZERS = flags.DEFINE_list(
    "resizers",
    ["bilinear", "antialias", "learned"],
    f"What is compared: {', '.join(RESIZERS)}; the bilinear control is always run.",
)
_BACKBONES = flags.DEFINE_list(
    "backbones", [], "Networks of a grid, whose resizers are tried on each other."
)
_PRETRAINED = flags.DEFINE_string(
    "pretrained", None, "Weights that the networks of a study start from."
)


@dataclasses.dataclass(frozen=True)
class PredictOptions:
    """What the flags of `--mode=predict` say; `size` None is the network's."""

    input: str
    output: str
    size: Size | None = None
    native: bool = False
    npy: bool = False


@dataclasses.dataclass(frozen=True)
class StudyOptions:
    """What the flags of `--mode=study` and `--mode=grid` say, checked."""

    resizers: tuple[str, ...]
    seeds: int
    backbones: tuple[str, ...] = ()
    pretrained: str | None = None

    def __post_init__(self):
        for name in ("resizers", "backbones"):
            values = getattr(self, name)
            if len(set(values)) < len(values):
                raise ConfigError(f"--{name}={','.join(values)}: each once")
        for resizer in self.resizers:
            if resizer not in RESIZERS:
                raise ConfigError(unknown("--resizers", resizer, RESIZERS))
        if self.seeds < 1:
            raise ConfigError(f"--repeats={self.seeds} must be at least 1")


def predict_options() -> PredictOptions:
    """Returns what was given on the command line.

    Raises:
      ConfigError: something is missing or not allowed.
    """
    if not folder_flags.INPUT.value or not folder_flags.OUTPUT.value:
        raise ConfigError("--mode=predict needs --input=DIR_OR_FILE and --output=DIR")
    size: Size | None = None
    if _SIZE.value is not None:
        sides = [int(side) if side.isdecimal() else 0 for side in _SIZE.value]
        size = height_width(sides[0] if len(sides) == 1 else sides, "--size")
    if _FROM.value not in ("trained", "native"):
        raise ConfigError(unknown("--from_size", _FROM.value, ("trained", "native")))
    return PredictOptions(
        folder_flags.INPUT.value,
        folder_flags.OUTPUT.value,
        size,
        _FROM.value == "native",
        _NPY.value,
    )


def study_options() -> StudyOptions:
    """Returns what was given on the command line; the control comes first.

    Raises:
      ConfigError: something is not allowed.
    """
    resizers = tuple(_RESIZERS.value)
    if "bilinear" not in resizers:
        resizers = ("bilinear", *resizers)
    return StudyOptions(
        resizers, study_flags.REPEATS.value, tuple(_BACKBONES.value), _PRETRAINED.value
    )
