"""Durations given in steps or in epochs, always used in steps."""

from __future__ import annotations

import ml_collections


def steps(
    config: ml_collections.ConfigDict, name: str, steps_per_epoch: float
) -> int | None:
    """Returns `config.<name>_steps`, or `<name>_epochs` in steps, or None.

    Args:
      config: section that holds the two fields.
      name: their common prefix, e.g. "total".
      steps_per_epoch: training examples divided by the batch size; not rounded, so
        that 300 epochs are 300 passes over the data.
    """
    if config[f"{name}_steps"] is not None:
        return config[f"{name}_steps"]
    epochs = config[f"{name}_epochs"]
    if epochs is None:
        return None
    return max(1, round(epochs * steps_per_epoch)) if epochs else 0
