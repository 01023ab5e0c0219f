"""What the studies of this package share: pictures and evaluation of finished runs."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import ml_collections
import numpy as np

from common import config as configs
from common import modes
from common.data import pipeline
from common.data.normalization import to_unit
from common.logging import plots
from common.metrics.image import to_bytes
from common.restoration.results import enlarge
from common.train import outcome
from common.train.experiment import Experiment
from enhancement.tasks import Restoration

_SIDE = 128  # of what is shown of an image


def weights(folder: Path) -> str:
    """Returns the weights of a finished run."""
    return str(folder / outcome.WEIGHTS)


def evaluate(
    kind: Any, config: ml_collections.ConfigDict, folder: Path, data_dir: str | None
) -> dict[str, float]:
    """Evaluates a finished run on pairs of a preset, or reads what came of it before.

    Args:
      kind: class of the task.
      config: of the run, but for `config.evaluation.preset`.
      folder: of the run.
      data_dir: of the data.

    Returns:
      Metrics of the task.
    """
    path = folder / f"on_{config.evaluation.preset}.json"
    if path.is_file():
        return json.loads(path.read_text(encoding="utf-8"))
    task = kind(copy.deepcopy(config))
    experiment = Experiment(task, task.config, data_dir)
    variables, _ = modes.find_variables(experiment, None, weights(folder))
    metrics = task.summarize(experiment.evaluate(variables))
    configs.write_json(path, metrics)
    return metrics


def draw(
    tasks: Mapping[str, tuple[Restoration, str]], data_dir: str | None, path: Path
) -> Path:
    """Draws what runs make of the held-out images, a row for each image.

    Args:
      tasks: name of a run -> its task, of which the first says what the input is, and
        its weights.
      data_dir: of the data.
      path: of the picture.
    """
    first = next(iter(tasks.values()))[0]
    source = first.source("eval", data_dir)
    restorers = {}
    for name, (task, init_from) in tasks.items():
        experiment = modes.on_one_device(task, copy.deepcopy(task.config))
        variables, _ = modes.find_variables(experiment, None, init_from)
        restorers[name] = task.restorer(variables)
    images, captions = [], []
    for index in range(min(len(source), 6)):
        example = pipeline.example(source, first.transforms("eval"), index)
        given, target = to_unit(example["image"]), to_unit(example["target"])
        place = _busiest(target, first.scale)
        shown = {"input": enlarge(given, first.scale)}
        shown |= {name: restorer(given) for name, restorer in restorers.items()}
        shown["target"] = target
        for name, image in shown.items():
            images.append(to_bytes(image[place], "nearest"))
            captions.append(name)
    return plots.image_grid(images, captions, path, columns=len(tasks) + 2)


def _busiest(image: np.ndarray, scale: int) -> tuple[slice, slice]:
    """Returns the window with the most structure, of a few."""
    side = min(_SIDE, *image.shape[:2])
    windows = [
        (slice(row, row + side), slice(column, column + side))
        for row in range(0, image.shape[0] - side + 1, max(side // 2, scale))
        for column in range(0, image.shape[1] - side + 1, max(side // 2, scale))
    ]

    def structure(window: tuple[slice, slice]) -> float:
        grey = image[window].mean(-1)
        return float(np.abs(np.diff(grey, axis=0)).mean())

    return max(windows, key=structure)


def differences(values: Sequence[float], base: Sequence[float]) -> list[float]:
    """Returns what each run is more than the run of the same seed."""
    return [a - b for a, b in zip(values, base, strict=True)]
