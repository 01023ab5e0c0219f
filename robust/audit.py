"""`--mode=audit`: which pictures of a folder may have a wrong label."""

from __future__ import annotations

from pathlib import Path

import ml_collections

from common import audit
from common.errors import ConfigError
from common.task import Task
from common.train import loop


def run(
    task: Task, config: ml_collections.ConfigDict, workdir: str, data_dir: str | None
) -> str:
    """Trains with weights of examples, and names the page of the lowest ones.

    Run again on the same workdir it goes on where it stopped; a finished run writes its
    page anew.

    Raises:
      ConfigError: the config keeps no weights of examples.
    """
    if config.reweighting.mode not in ("full", "deferred", "mass_preserving"):
        raise ConfigError(
            f"config.reweighting.mode={config.reweighting.mode!r}: an audit needs "
            "weights of all examples, as mode deferred or full has them"
        )
    metrics = loop.train(task, config, workdir, data_dir=data_dir)
    shown = ("top1", "ess_share", "noise_auroc", "noise_precision")
    line = ", ".join(f"{name} {metrics[name]:.4f}" for name in shown if name in metrics)
    return f"{line}\nexamples with the lowest weights: {Path(workdir) / audit.PAGE}"
