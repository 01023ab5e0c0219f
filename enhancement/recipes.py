"""The five tasks of the projected distribution loss' paper, as recipes.

The paper (arXiv 2012.09289) names the tasks; data, networks, lengths and rates could
not be read and are our choice.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import ml_collections

from common import config as configs
from common.errors import ConfigError
from enhancement.config import default_config, fine_tune, shrink


@dataclasses.dataclass(frozen=True)
class Recipe:
    """One task.

    Attributes:
      network: one of `networks.NETWORKS`.
      degradation: name and parameters of what makes pairs of clean images; "" for
        stored pairs.
      crop: side of the target's crops in training.
      border: pixels that are not scored, as super-resolution has it.
    """

    network: str
    degradation: str
    parameters: Mapping[str, Any]
    crop: int = 128
    border: int = 0


RECIPES: Mapping[str, Recipe] = {
    "denoise": Recipe("restoration", "gaussian_noise", {"sigma": 25.0}),
    "superresolution": Recipe("edsr", "bicubic", {"factor": 4}, 192, border=4),
    "demosaic": Recipe("demosaicing", "bayer", {"sigma": 0.0}),
    "deblur": Recipe("deblur_unet", "", {}),
    "jpeg": Recipe("restoration", "jpeg", {"quality": 10}),
}


def recipe(task: str, **parameters: Any) -> ml_collections.ConfigDict:
    """Returns the first phase of a task: 300,000 steps with L1.

    Args:
      task: a key of `RECIPES`.
      **parameters: of its degradation, in place of the recipe's.

    Raises:
      ConfigError: unknown task.
    """
    if task not in RECIPES:
        raise ConfigError(configs.unknown("task", task, RECIPES))
    found = RECIPES[task]
    config = default_config()
    config.model.name = found.network
    config.data.source = "images" if found.degradation else "paired"
    config.data.num_workers = 8
    config.data.image_size = found.crop
    config.degradation.name = found.degradation
    for name, value in {**found.parameters, **parameters}.items():
        config.degradation.parameters[name] = value
    config.evaluation.border = found.border
    config.batch_size = 16
    config.ema_decay = 0.999
    config.total_steps = 300_000
    config.eval_every_steps = 20_000
    config.checkpoint_every_steps = 5_000
    config.log_every_steps = 100
    config.schedule.name = "exponential"
    config.schedule.decay_rate = 0.5
    config.schedule.decay_every_steps = 200_000
    return config


def finish(
    config: ml_collections.ConfigDict, args: ml_collections.ConfigDict
) -> ml_collections.ConfigDict:
    """Applies the arguments that all files share.

    Args:
      config: of the first phase.
      args: `loss`: of the second phase, "none" for the first; `weights`: file of the
        trunk's; `smoke`: seconds.
    """
    if args.loss != "none":
        fine_tune(config, args.loss, args.weights)
    if args.smoke:
        shrink(config)
    return config
