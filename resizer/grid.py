"""`--mode=grid`: the resizer that one network learned with, in front of others.

The paper has such an experiment; its protocol and numbers were not at hand. Here each
network B gets the resizer of each network A twice: plugged in, with nothing trained,
and after `config.phases.cross_epochs` of joint training. Both stand beside B behind the
bilinear resize, before and after as many epochs.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import ml_collections
import numpy as np
from tqdm import tqdm

from common import config as configs
from common import tables
from common.checkpoint import matching, weights
from common.errors import ConfigError
from common.task import Task
from common.train.experiment import Experiment
from resizer import flags
from resizer.runs import Point, Runs, scale_of, spread

_COLUMNS = ("bilinear", "plugged", "bilinear_tuned", "tuned")
Cells = Mapping[tuple[str, str], Sequence[Mapping[str, float]]]


def run(
    task: Task, config: ml_collections.ConfigDict, workdir: str, data_dir: str | None
) -> str:
    """Runs what the flags say, and returns the table.

    `workdir` gets it as `grid.md` and `grid.csv`.

    Raises:
      ConfigError: flags that cannot be.
    """
    options = flags.study_options()
    names = options.backbones
    if len(names) < 2:
        raise ConfigError("--mode=grid needs --backbones=A,B, two of them at least")
    runs = Runs(type(task), config, Path(workdir), data_dir, options.pretrained)
    seeds = range(options.seeds)
    runs.check(
        [
            Point(name, kind, 0, phase)
            for name in names
            for kind, phase in (("bilinear", 0), ("learned", 1))
        ]
    )
    steps = [(a, b, seed) for seed in seeds for a in names for b in names]
    cells: dict[tuple[str, str], list[Mapping[str, float]]] = {}
    for a, b, seed in tqdm(steps, unit="pair"):
        cells.setdefault((a, b), []).append(
            _cell(runs, Point(a, "learned", seed), Point(b, "learned", seed))
        )
    scale, name = scale_of(task.monitor.metric)
    header = (
        "resizer of",
        "network",
        "seeds",
        f"bilinear: {name}",
        "resizer plugged in",
    )
    header += ("bilinear, trained on", "both, trained on", "gain of it")
    return tables.write({"grid": [header, *_rows(cells, scale)]}, workdir)


def _cell(runs: Runs, giver: Point, taker: Point) -> Mapping[str, float]:
    """Returns the metric of a network with the resizer of another, and without it."""
    start = taker.before
    metric = runs.kind.monitor.metric
    runs.run(giver)
    joined = _join(runs, giver, start)
    name = f"{giver.backbone}-to-{taker.backbone}-{taker.seed}"
    control = f"{taker.backbone}-bilinear-cross-{taker.seed}"
    return {
        "bilinear": runs.run(start)[metric],
        "plugged": _evaluate(runs, name, taker, joined)[metric],
        "bilinear_tuned": runs.train(
            control,
            _short(runs, Point(taker.backbone, "bilinear", taker.seed)),
            runs.weights(start),
        )[metric],
        "tuned": runs.train(name, _short(runs, taker), joined)[metric],
    }


def _short(runs: Runs, point: Point) -> ml_collections.ConfigDict:
    """Returns the config of a few epochs from weights of all parts."""
    config = runs.planned(point)
    config.total_epochs = config.phases.cross_epochs
    config.reinitialize = ()
    return config


def _join(runs: Runs, giver: Point, start: Point) -> str:
    """Writes the resizer of one run and the network of another; returns the file."""
    runs.run(start)
    path = runs.home / "joined" / f"{giver.name}-{start.name}.safetensors"
    if not path.is_file():
        resizer, network = (
            weights.load(runs.weights(point)) for point in (giver, start)
        )
        both = {k: v for k, v in resizer.items() if "/resizer/" in k} | network
        path.parent.mkdir(parents=True, exist_ok=True)
        weights.save(path, matching.nest(both))
    return str(path)


def _evaluate(runs: Runs, name: str, point: Point, init_from: str) -> Mapping[str, Any]:
    """Evaluates weights as they are, or reads what came of it."""
    path = runs.home / "joined" / f"{name}.json"
    if not path.is_file():
        found = _metrics(runs.kind, runs.planned(point), runs.data_dir, init_from)
        configs.write_json(path, found)
    return json.loads(path.read_text(encoding="utf-8"))


def _metrics(
    kind: Any, config: ml_collections.ConfigDict, data_dir: str | None, init_from: str
) -> Mapping[str, float]:
    task = kind(config)
    experiment = Experiment(task, config, data_dir)
    experiment.check()
    return task.summarize(experiment.evaluate(experiment.load_variables(init_from)))


def _rows(cells: Cells, scale: float) -> Iterator[tuple[str, ...]]:
    for (giver, taker), results in cells.items():
        values = [[result[name] for result in results] for name in _COLUMNS]
        gain = np.subtract(values[3], values[2])
        yield (
            *(giver, taker, str(len(results))),
            *(spread(column, scale) for column in values),
            spread(gain.tolist(), scale, signed=True),
        )
