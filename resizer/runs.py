"""Training runs of a study, each in a folder of its own and run once."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import ml_collections
from absl import logging

from common import tables
from common.checkpoint import matching, weights
from common.train import once, outcome
from resizer import phases, pictures


@dataclasses.dataclass(frozen=True)
class Point:
    """One run: which network behind which resizer, with which seed.

    Attributes:
      backbone: a key of the registry.
      resizer: a key of `phases.RESIZERS`.
      seed: of initial values and of the order of the data.
      phase: 0 for the network behind a fixed resize, 1 for both.
    """

    backbone: str
    resizer: str
    seed: int
    phase: int = 1

    @property
    def before(self) -> Point:
        """The run of phase 0 that this one of phase 1 begins with."""
        return dataclasses.replace(self, resizer=phases.before(self.resizer), phase=0)

    @property
    def name(self) -> str:
        """Name of its folder."""
        return f"{self.backbone}-{self.resizer}-phase{self.phase}-{self.seed}"


@dataclasses.dataclass(frozen=True)
class Runs:
    """Runs that share a config but for what a `Point` says.

    Attributes:
      kind: class of the task.
      config: with `config.phases`.
      home: folder of the study.
      data_dir: of the data.
      pretrained: weights that phase 0 begins with, or None.
    """

    kind: Any
    config: ml_collections.ConfigDict
    home: Path
    data_dir: str | None = None
    pretrained: str | None = None

    def planned(self, point: Point) -> ml_collections.ConfigDict:
        """Returns the config of a run."""
        config = copy.deepcopy(self.config)
        config.seed = point.seed
        section = phases.section(config)
        if section.backbone != point.backbone:
            section.backbone = point.backbone
            section.options = ml_collections.ConfigDict()  # are of another network
        phases.choose(config, point.resizer)
        phases.apply(config, point.phase)
        if point.phase:  # of phase 0, whatever that began with, all else is right
            anew = (name for name in config.reinitialize if name == phases.VARIABLES)
            config.reinitialize = tuple(anew)
        return config

    def check(self, points: Sequence[Point]) -> None:
        """Builds every task: a mistake shows before hours of work.

        Raises:
          ConfigError: a config cannot be.
        """
        for point in points:
            self.kind(self.planned(point))

    def folder(self, name: str) -> Path:
        """Returns the folder of a run."""
        return self.home / "runs" / name

    def weights(self, point: Point) -> str:
        """Returns the weights of a finished run."""
        return str(self.folder(point.name) / outcome.WEIGHTS)

    def draw(self, point: Point, path: Path) -> Path:
        """Draws what the resizer of a finished run does."""
        task = self.kind(self.planned(point))
        source = task.source("eval", self.data_dir)
        variables = matching.nest(weights.load(self.weights(point)))
        return pictures.draw(task, variables, source, path)[1]

    def run(self, point: Point) -> Mapping[str, Any]:
        """Trains what a point says, and what it begins with."""
        begin = self.pretrained
        if point.phase:
            self.run(point.before)
            begin = self.weights(point.before)
        return self.train(point.name, self.planned(point), begin)

    def train(
        self, name: str, config: ml_collections.ConfigDict, init_from: str | None
    ) -> Mapping[str, Any]:
        """Trains, or reads what came of it when that was done before.

        Returns:
          Metrics of the last evaluation, and "seconds".
        """
        result = once.train(
            self.kind, config, self.folder(name), self.data_dir, init_from
        )
        metric = self.kind.monitor.metric
        logging.info("%s: %s %.4f", name, metric, result[metric])
        return result


def spread(values: Sequence[float], scale: float = 1.0, signed: bool = False) -> str:
    """Returns mean and standard deviation over the seeds, as in a table."""
    digits = 2 if scale != 1 else 4
    return tables.spread([scale * value for value in values], digits, signed)


def scale_of(metric: str) -> tuple[float, str]:
    """Returns factor and name of a metric in tables: accuracies are in percent."""
    return (100.0, f"{metric}, %") if metric.startswith("top") else (1.0, metric)
