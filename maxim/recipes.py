"""The training recipes of MAXIM (arXiv 2201.02973).

A file in `configs/maxim` is one task; it names the data and what is scored. Batch
sizes and lengths differ between tasks in the paper's appendix, which we could not read:
ours are 300,000 steps of 64 crops.
"""

from __future__ import annotations

import ml_collections

from common import config as configs
from common.errors import ConfigError
from maxim import published
from maxim.config import default_config, shrink


def recipe(
    checkpoint: str, train_split: str, eval_split: str, test_set: str = ""
) -> ml_collections.ConfigDict:
    """Training from scratch on stored pairs, for one of the published tasks.

    Args:
      checkpoint: a key of `published.CHECKPOINTS`, which has the variant and what is
        scored.
      train_split: folders of the training pairs.
      eval_split: folders of the pairs to score.
      test_set: their name in tables; by default the first of the checkpoint's.
    """
    entry = published.CHECKPOINTS[checkpoint]
    config = default_config()
    config.model.variant = entry.variant
    config.data.source = "paired"
    config.data.train_split = train_split
    config.data.eval_split = eval_split
    config.data.num_workers = 8
    config.evaluation.channels = entry.channels
    config.evaluation.test_set = test_set or entry.scores[0].test_set
    train(config)
    return config


def train(config: ml_collections.ConfigDict) -> None:
    """Sets the length of training and what goes with it."""
    config.dtype = "bfloat16"
    config.batch_size = 64
    config.total_steps = 300_000
    config.eval_every_steps = 20_000
    config.checkpoint_every_steps = 5_000
    config.log_every_steps = 100


def finish(
    config: ml_collections.ConfigDict, args: ml_collections.ConfigDict
) -> ml_collections.ConfigDict:
    """Applies the arguments that all files share.

    Args:
      config: of the experiment.
      args: `one_gpu`: eight crops at a time, of which the blocks keep only their
        inputs for the backward pass; as many crops in all. `smoke`: seconds.
    """
    if args.one_gpu:
        config.batch_size = 8
        for name in ("total", "eval_every", "checkpoint_every"):
            config[f"{name}_steps"] *= 8
        config.model.remat = "full"
    if args.smoke:
        shrink(config)
    return config


def choose(name: str, given: str, choices: dict[str, str]) -> str:
    """Returns what an argument stands for.

    Raises:
      ConfigError: it is none of the choices.
    """
    if given not in choices:
        raise ConfigError(configs.unknown(name, given, choices))
    return choices[given]
