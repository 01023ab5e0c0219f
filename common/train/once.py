"""Training runs of a study, each in a folder of its own and run once."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import ml_collections

from common import config as configs
from common.task import Task
from common.train import loop

_RESULT = "result.json"


def train(
    kind: Callable[[ml_collections.ConfigDict], Task],
    config: ml_collections.ConfigDict,
    folder: str | os.PathLike[str],
    data_dir: str | None,
    init_from: str | None = None,
    collect: Callable[[Mapping[str, float], Path], Mapping[str, Any]] = (
        lambda metrics, _: metrics
    ),
) -> dict[str, Any]:
    """Trains, or reads what came of it when that was done before.

    Args:
      kind: class of the task.
      config: of the run.
      folder: of the run; a run that was stopped goes on.
      data_dir: of the data.
      init_from: weights to start from.
      collect: of the last evaluation's metrics and the folder makes what is kept: what
        JSON can hold.

    Returns:
      What is kept, and "seconds".
    """
    folder = Path(folder)
    path = folder / _RESULT
    if path.is_file():
        return json.loads(path.read_text(encoding="utf-8"))
    began = time.monotonic()
    task = kind(config)
    metrics = loop.train(task, config, folder, data_dir=data_dir, init_from=init_from)
    result = {**collect(metrics, folder), "seconds": time.monotonic() - began}
    configs.write_json(path, result)
    return result
