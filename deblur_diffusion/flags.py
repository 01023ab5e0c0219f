"""The flags of this package's modes; light to import."""

from __future__ import annotations

import dataclasses

from absl import flags

from common.config import unknown
from common.errors import ConfigError
from common.restoration import flags as restoration_flags

flags.adopt_module_key_flags(restoration_flags)

# Each mode, and how it is called.
MODES = {
    "predict": "--workdir=RUN --input=DIR_OR_FILE --output=DIR [--preset=NAME] ...",
    "grid": "--workdir=RUN [--grid_steps=A,B] [--grid_beta_max=A,B]",
}
PREDICTOR = "predictor_only"
PRESET_NAMES = ("perceptual", "balanced", "distortion", PREDICTOR)

_PRESET = flags.DEFINE_string(
    "preset",
    "balanced",
    f"Where between detail and least error to be: {', '.join(PRESET_NAMES)}.",
)
_STEPS = flags.DEFINE_integer(
    "sampling_steps", None, "Steps, in place of the preset's."
)
_BETA_MAX = flags.DEFINE_float(
    "beta_max", None, "Variance of the last step, in place of the preset's."
)
_SAMPLES = flags.DEFINE_integer(
    "num_samples", None, "Samples, in place of the preset's; the result is their mean."
)
_ETA = flags.DEFINE_float("eta", 1.0, "Randomness of steps: 1 all, 0 none (DDIM).")
_SEED = flags.DEFINE_integer("seed", 0, "Of the samples.", lower_bound=0)
_KEEP = flags.DEFINE_bool(
    "keep_samples",
    False,
    "Write every sample, and a map of where they differ, beside the result.",
)
_GRID_STEPS = flags.DEFINE_list(
    "grid_steps",
    ["10", "20", "30", "50", "100", "200", "300", "500"],
    "Steps of a grid.",
)
_GRID_BETAS = flags.DEFINE_list(
    "grid_beta_max",
    ["0.01", "0.02", "0.05", "0.1", "0.2", "0.5"],
    "Variances of the last step of a grid.",
)


@dataclasses.dataclass(frozen=True)
class PredictOptions:
    """What the flags of `--mode=predict` say of sampling; None is the preset's."""

    preset: str = "balanced"
    steps: int | None = None
    beta_max: float | None = None
    num_samples: int | None = None
    eta: float = 1.0
    seed: int = 0
    keep: bool = False

    def __post_init__(self):
        if self.preset not in PRESET_NAMES:
            raise ConfigError(unknown("--preset", self.preset, PRESET_NAMES))
        if not 0 <= self.eta <= 1:
            raise ConfigError(f"--eta={self.eta} must be in [0, 1]")
        if self.num_samples is not None and self.num_samples < 1:
            raise ConfigError(f"--num_samples={self.num_samples} must be at least 1")
        given = (self.steps, self.beta_max, self.num_samples)
        if self.preset == PREDICTOR and (
            any(x is not None for x in given) or self.keep
        ):
            raise ConfigError(f"--preset={PREDICTOR} draws no samples")
        if self.keep and self.num_samples is not None and self.num_samples < 2:
            raise ConfigError("--keep_samples needs --num_samples=2 or more")


@dataclasses.dataclass(frozen=True)
class GridOptions:
    """What the flags of `--mode=grid` say, checked."""

    steps: tuple[int, ...]
    beta_max: tuple[float, ...]
    num_samples: int = 1

    def __post_init__(self):
        if not self.steps or not self.beta_max:
            raise ConfigError("--grid_steps and --grid_beta_max need a value each")
        if min(self.steps) < 1 or not 0 < min(self.beta_max) <= max(self.beta_max) < 1:
            raise ConfigError(
                f"--grid_steps={self.steps} must be from 1 on, "
                f"--grid_beta_max={self.beta_max} in (0, 1)"
            )


def predict_options() -> PredictOptions:
    """Returns what was given on the command line.

    Raises:
      ConfigError: it is not allowed.
    """
    return PredictOptions(
        _PRESET.value,
        _STEPS.value,
        _BETA_MAX.value,
        _SAMPLES.value,
        _ETA.value,
        _SEED.value,
        _KEEP.value,
    )


def grid_options() -> GridOptions:
    """Returns what was given on the command line.

    Raises:
      ConfigError: it is not allowed.
    """
    try:
        steps = tuple(int(value) for value in _GRID_STEPS.value)
        betas = tuple(float(value) for value in _GRID_BETAS.value)
    except ValueError as error:
        raise ConfigError("--grid_steps and --grid_beta_max are numbers") from error
    return GridOptions(steps, betas, _SAMPLES.value or 1)
