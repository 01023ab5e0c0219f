"""The two phases of the paper: a network behind a fixed resize, then both together."""

from __future__ import annotations

import ml_collections

from common.config import unknown
from common.errors import ConfigError

# Names of the resizer's variables, wherever it is in a model, and of its parameters.
VARIABLES, _PARAMETERS = "/resizer/", "(^|/)resizer/"
# Names of the last layer of the registry's networks.
CLASSIFIER = "^params/backbone/(fc8?|predictions|[Ll]ogits|head/logits)/"

# What a study compares -> fields of the resizer.
RESIZERS: dict[str, dict[str, object]] = {
    "bilinear": {"kind": "bilinear", "antialias": False},
    "antialias": {"kind": "bilinear", "antialias": True},
    "learned": {"kind": "learned", "zero_init_tail": False},
    "zero_init": {"kind": "learned", "zero_init_tail": True},
}
LEARNED = [name for name, fields in RESIZERS.items() if fields["kind"] == "learned"]


def section(config: ml_collections.ConfigDict) -> ml_collections.ConfigDict:
    """Returns the arguments of `models.create`, wherever a config has them.

    Raises:
      ConfigError: the network of the config is behind no resizer.
    """
    model = config.model
    found = model.options if model.get("backbone") == "resized" else model
    if "resizer" not in found:
        raise ConfigError(
            "the config has no resizer: config.model.backbone=resized with "
            "config.model.options, or a config of configs/resizer is needed"
        )
    return found


def choose(config: ml_collections.ConfigDict, resizer: str) -> None:
    """Sets the resizer to one of `RESIZERS`.

    Raises:
      ConfigError: unknown name.
    """
    if resizer not in RESIZERS:
        raise ConfigError(unknown("resizer", resizer, RESIZERS))
    fields = section(config).resizer
    for name, value in RESIZERS[resizer].items():
        with fields.unlocked():
            fields[name] = value


def is_learned(config: ml_collections.ConfigDict) -> bool:
    """Whether the resizer has anything to learn."""
    return section(config).resizer.kind == "learned"


def before(resizer: str) -> str:
    """Returns the fixed resize that a network has learned with before the resizer."""
    return "antialias" if resizer == "antialias" else "bilinear"


def apply(config: ml_collections.ConfigDict, phase: int) -> None:
    """Sets length and rates of a phase, by `config.phases`.

    Args:
      config: with its resizer chosen. In phase 1 a learned one starts anew beside the
        weights of the network, and has a learning rate of its own.
      phase: 0 or 1.

    Raises:
      ConfigError: another phase.
    """
    if phase not in (0, 1):
        raise ConfigError(f"phase={phase}: the network alone is 0, both together is 1")
    phases = config.phases
    epochs, rate = (
        (phases.tune_epochs, phases.tune_rate)
        if phase
        else (phases.pretrain_epochs, phases.pretrain_rate)
    )
    config.total_epochs, config.total_steps = epochs, None
    config.schedule.peak = rate
    # What an earlier call set goes: a study makes both phases of one config.
    rules = [r for r in config.optimizer.lr_multipliers if r[0] != _PARAMETERS]
    anew = [pattern for pattern in config.reinitialize if pattern != VARIABLES]
    if phase and is_learned(config):
        rules.insert(0, (_PARAMETERS, phases.resizer_factor))
        anew.append(VARIABLES)
    config.optimizer.lr_multipliers = tuple(rules)
    config.reinitialize = tuple(anew)


def shrink(config: ml_collections.ConfigDict) -> None:
    """Makes a run two steps long, and the phases of a study about as long."""
    config.total_epochs, config.total_steps = None, 2
    for name in ("pretrain_epochs", "tune_epochs", "cross_epochs"):
        config.phases[name] = 1e-3
