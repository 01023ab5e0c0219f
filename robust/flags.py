"""The flags of `--mode=study`; light to import."""

from __future__ import annotations

import dataclasses

from absl import flags

from common.config import unknown
from common.errors import ConfigError
from robust.methods import METHODS

# Each mode, and how it is called.
MODES = {
    "study": "--workdir=DIR [--config=FILE] [--methods=A,B ...] "
    "[--noise_rates=R,R ...] [--seeds=N]"
}

_METHODS = flags.DEFINE_list(
    "methods", list(METHODS), f"What is compared: {', '.join(METHODS)}."
)
_RATES = flags.DEFINE_list(
    "noise_rates", ["0", "0.4"], "Rates of the config's kind of noise."
)
_SEEDS = flags.DEFINE_integer(
    "seeds", 5, "Runs of each, with seeds from 0: of noise, model and order."
)


@dataclasses.dataclass(frozen=True)
class StudyOptions:
    """What the flags of `--mode=study` say, checked."""

    methods: tuple[str, ...]
    rates: tuple[float, ...]
    seeds: int

    def __post_init__(self):
        for name, values in (("methods", self.methods), ("noise_rates", self.rates)):
            if not values or len(set(values)) < len(values):
                shown = ",".join(map(str, values))
                raise ConfigError(f"--{name}={shown}: each once, and at least one")
        for method in self.methods:
            if method not in METHODS:
                raise ConfigError(unknown("--methods", method, METHODS))
        for rate in self.rates:
            if not 0 <= rate < 1:
                raise ConfigError(f"--noise_rates={rate:g} must be in [0, 1)")
        if self.seeds < 1:
            raise ConfigError(f"--seeds={self.seeds} must be at least 1")


def study_options() -> StudyOptions:
    """Returns what was given on the command line.

    Raises:
      ConfigError: something is not allowed.
    """
    try:
        rates = tuple(float(word) for word in _RATES.value)
    except ValueError as error:
        raise ConfigError(
            f"--noise_rates={','.join(_RATES.value)}: numbers with commas between are "
            "expected"
        ) from error
    return StudyOptions(tuple(_METHODS.value), rates, _SEEDS.value)
