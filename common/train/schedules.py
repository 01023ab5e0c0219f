"""Learning-rate schedules as functions of the step."""

from __future__ import annotations

import ml_collections
import optax

from common.errors import ConfigError
from common.train import durations


def make(
    config: ml_collections.ConfigDict, total_steps: int, steps_per_epoch: float
) -> optax.Schedule:
    """Returns step -> learning rate.

    A linear warm-up from 0 comes first and is part of `total_steps`; the decay starts
    where it ends. `cosine` and `linear` go from `peak` to `final`; `exponential`
    multiplies by `decay_rate` every `decay_every`, in stairs, not below `final`.

    Args:
      config: the `schedule` section of an experiment.
      total_steps: length of the run.
      steps_per_epoch: for durations in epochs.

    Raises:
      ConfigError: warm-up longer than the run, or a duration is missing.
    """
    warmup = durations.steps(config, "warmup", steps_per_epoch) or 0
    if warmup >= total_steps:
        raise ConfigError(
            f"config.schedule: warm-up of {warmup} steps does not fit into the "
            f"{total_steps} steps of the run"
        )
    decay = _decay(config, total_steps - warmup, steps_per_epoch)
    if not warmup:
        return decay
    rise = optax.linear_schedule(0.0, config.peak, warmup)
    return optax.join_schedules([rise, decay], [warmup])


def _decay(
    config: ml_collections.ConfigDict, steps: int, steps_per_epoch: float
) -> optax.Schedule:
    if config.name == "constant":
        return optax.constant_schedule(config.peak)
    if config.name == "linear":
        return optax.linear_schedule(config.peak, config.final, steps)
    if config.name == "cosine":
        return optax.cosine_decay_schedule(
            config.peak, steps, alpha=config.final / config.peak
        )
    every = durations.steps(config, "decay_every", steps_per_epoch)
    if every is None:
        raise ConfigError("config.schedule.decay_every_steps or _epochs is needed")
    return optax.exponential_decay(
        config.peak,
        transition_steps=every,
        decay_rate=config.decay_rate,
        staircase=True,
        end_value=config.final if config.final else None,
    )
