"""The ways of training on noisy labels that a study compares."""

from __future__ import annotations

from collections.abc import Callable

import ml_collections

from common.config import unknown
from common.errors import ConfigError

Setter = Callable[[ml_collections.ConfigDict], None]

# Largest loss of an example, as what eta is divided by: a rate of the weights has a
# meaning in units of the loss (our choice; of the cross entropy it is about 4 between
# ten classes, before it is right on anything). See `robust/README.md`.
_RANGES = {"gce": 1 / 0.7, "sce": 0.4 + 4.0, "mae": 2.0, "bi_tempered": 5.0}
_CROSS_ENTROPY_RANGE = 4.0
LOSSES = tuple(_RANGES)


def _uniform(config: ml_collections.ConfigDict) -> None:
    config.reweighting.mode = ""


def _loss(name: str) -> Setter:
    def setter(config: ml_collections.ConfigDict) -> None:
        config.reweighting.mode = ""
        config.loss.name = name

    return setter


def _weighted(loss: str = "", **fields: object) -> Setter:
    """Exponentiated gradient with the config's rate, and with other fields."""

    def setter(config: ml_collections.ConfigDict) -> None:
        config.reweighting.mode = "deferred"
        if loss:
            config.loss.name = loss
            config.reweighting.eta *= _CROSS_ENTROPY_RANGE / _RANGES[loss]
        config.reweighting.update(fields)

    return setter


def _stateless(mode: str) -> Setter:
    def setter(config: ml_collections.ConfigDict) -> None:
        reweighting = config.reweighting
        reweighting.mode = mode
        for name in ("clean_fraction", "pull", "share", "ema_decay"):
            reweighting[name] = 0.0
        if mode == "small_loss":  # it is told the rate, as its papers have it
            reweighting.clean_fraction = 1.0 - config.noise.rate

    return setter


def _oracle(config: ml_collections.ConfigDict) -> None:
    config.reweighting.mode = ""
    config.noise.oracle = True


METHODS: dict[str, Setter] = {
    "uniform": _uniform,
    **{name: _loss(name) for name in LOSSES},
    "eg": _weighted(),
    "eg_cap": _weighted(clean_fraction=0.5),
    **{f"eg_{name}": _weighted(name) for name in LOSSES},
    "eg_mass_preserving": _weighted(mode="mass_preserving"),
    "eg_horvitz_thompson": _weighted(estimator="horvitz_thompson"),
    "eg_sampling": _weighted(estimator="sampling"),
    "egu": _weighted(mode="unnormalized", estimator="horvitz_thompson"),
    "mr": _weighted(mode="full"),
    "ciw": _stateless("batch_local"),
    "small_loss": _stateless("small_loss"),
    "oracle": _oracle,
}


def apply(name: str, config: ml_collections.ConfigDict) -> None:
    """Sets what a method changes; the rest of the config is the same for all.

    Args:
      name: one of `METHODS`.
      config: with the rate of the noise.

    Raises:
      ConfigError: unknown name.
    """
    if name not in METHODS:
        raise ConfigError(unknown("method", name, METHODS))
    METHODS[name](config)
