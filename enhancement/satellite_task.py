"""Super-resolution of satellite images as a task."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import ml_collections

from common.data import degradations
from common.errors import ConfigError
from common.task import Batch
from enhancement import satellite, tasks
from enhancement.config import satellite_config
from enhancement.satellite_pairs import CONDITIONS, Satellite


class SatelliteSR(tasks.Restoration):
    """Pairs are made by `satellite.degrade`, one preset of it for each split.

    A network with `config.model.options.conditioning` is told of each image in training
    and evaluation what made it, see `satellite_pairs.CONDITIONS`; on other images it is
    told what is usual.
    """

    def __init__(self, config: ml_collections.ConfigDict):
        """Builds network and pairs.

        Raises:
          ConfigError: a field is unknown or out of range.
        """
        super().__init__(config)
        side = min(self.batch_spec(1)["image"].shape[1:3])
        if side < satellite.MIN_SIDE:
            raise ConfigError(
                f"config.data.image_size={config.data.image_size} makes LR images of "
                f"{side} pixels; they need {satellite.MIN_SIDE}"
            )
        told = getattr(self.model, "conditioning", 0)
        if told not in (0, len(CONDITIONS)):
            raise ConfigError(
                f"config.model.options.conditioning={told} must be 0 or "
                f"{len(CONDITIONS)}: {', '.join(CONDITIONS)}"
            )

    @staticmethod
    def defaults() -> ml_collections.ConfigDict:
        """Returns the fields that a config of this task has."""
        return satellite_config()

    def make_degradation(
        self, given: ml_collections.ConfigDict
    ) -> degradations.Degradation:
        """Returns the pairs of training."""
        return Satellite(given.name, **given.parameters.to_dict())

    def degradation(self, split: str) -> degradations.Degradation:
        """Returns the pairs of a split; in evaluation none of another preset."""
        pairs: Any = super().degradation(split)
        if split == "train":
            return pairs
        preset = self.config.evaluation.preset or pairs.preset
        fields = pairs.fields if preset == pairs.preset else {}
        return dataclasses.replace(pairs, preset=preset, fields=fields, mix=0.0)

    def batch_spec(self, size: int) -> dict[str, jax.ShapeDtypeStruct]:
        """As of other pairs, with what is told of them."""
        told = jax.ShapeDtypeStruct((size, len(CONDITIONS)), jnp.float32)
        return {**super().batch_spec(size), "condition": told}

    def _told(self, batch: Batch, size: int) -> tuple[jax.Array, ...]:
        """Returns what made the images, or what is usual."""
        if not getattr(self.model, "conditioning", 0):
            return ()
        if "condition" not in batch:
            return (jnp.ones((size, len(CONDITIONS))),)
        return (batch["condition"][:size],)
