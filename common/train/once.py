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
from common.errors import ConfigError
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

    What is kept holds the config, so that another study in the same folder is not told
    what this one found.

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

    Raises:
      ConfigError: it was done before with another config or other weights.
    """
    folder = Path(folder)
    path = folder / _RESULT
    asked = {"config": json.loads(config.to_json_best_effort()), "from": init_from}
    if path.is_file():
        result = json.loads(path.read_text(encoding="utf-8"))
        if before := result.pop("asked", None):
            _check(folder, before, asked)
        return result
    began = time.monotonic()
    task = kind(config)
    metrics = loop.train(task, config, folder, data_dir=data_dir, init_from=init_from)
    result = {**collect(metrics, folder), "seconds": time.monotonic() - began}
    configs.write_json(path, {**result, "asked": asked})
    return result


def _check(folder: Path, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    old, new = (
        configs.flat(ml_collections.ConfigDict(x["config"])) | {"from": x["from"]}
        for x in (before, now)
    )
    for name in sorted(old.keys() | new.keys()):
        if old.get(name) != new.get(name):
            raise ConfigError(
                f"{folder} holds a run with {name}={old.get(name)!r}, and now it is "
                f"{new.get(name)!r}: give another --workdir, or remove it"
            )
