"""`--mode=study`: feature losses beside a pixel loss, from the same first phase.

A network is trained with the pixel loss. From there it is trained on for as many steps,
at the same rates and with the same order of images: with each feature loss at each
ratio, and with the pixel loss alone, the control, since part of any change would come
from the steps. A study that was stopped goes on.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Mapping
from pathlib import Path
from statistics import fmean
from typing import Any

import ml_collections
from absl import logging
from tqdm import tqdm

from common import tables
from common.errors import ConfigError
from common.logging import plots
from common.restoration.measures import RANDOM
from common.task import Task
from common.train import once
from enhancement import feature_losses, flags, runs
from enhancement.config import fine_tune

CONTROL = "pixel"
# Beside PSNR and SSIM, in tables; of a plot the first that was measured.
_MEASURES = ("lpips_alex", "lpips_vgg", "random_alex", "random_vgg", "dists", "niqe")


@dataclasses.dataclass(frozen=True)
class Point:
    """One run of the second phase; `loss` "pixel" is the control."""

    loss: str
    ratio: float
    seed: int

    @property
    def name(self) -> str:
        """Of a row."""
        return self.loss if self.loss == CONTROL else f"{self.loss} {self.ratio:g}"

    @property
    def folder(self) -> str:
        """Of the run."""
        return f"{self.loss}-{self.ratio:g}-{self.seed}"


def run(
    task: Task, config: ml_collections.ConfigDict, workdir: str, data_dir: str | None
) -> str:
    """Runs what the flags say, and returns the table.

    `workdir` gets `study.md` and `study.csv` with means and deviations over the seeds,
    `study_runs.csv` with every run, `perception_distortion.png`, and `restored.png`
    with what the runs of the first seed make of the held-out images.

    Raises:
      ConfigError: flags that cannot be, or a config that has a feature loss already.
    """
    options = flags.study_options()
    options.check("losses", feature_losses.NAMES)
    if config.loss.feature:
        raise ConfigError(
            f"config.loss.feature={config.loss.feature}: a study begins with the pixel "
            "loss alone and adds the losses of --losses"
        )
    points = [
        Point(loss, ratio, seed)
        for seed in range(options.seeds)
        for loss, ratio in [
            (CONTROL, 1.0),
            *((name, ratio) for name in options.losses for ratio in options.ratios),
        ]
    ]
    kind: Any = type(task)
    for point in points:  # a mistake shows before hours of work
        kind(_planned(config, point))
    home = Path(workdir) / "runs"
    results = {}
    for point in tqdm(points, unit="run"):
        first = copy.deepcopy(config)
        first.seed = point.seed
        start = home / f"first-{point.seed}"
        once.train(kind, first, start, data_dir)
        planned = _planned(config, point)
        begin = runs.weights(start)
        results[point] = once.train(kind, planned, home / point.folder, data_dir, begin)
        logging.info("%s: psnr %.2f", point.folder, results[point]["psnr"])
    shown = {
        point.name: (kind(_planned(config, point)), runs.weights(home / point.folder))
        for point in points
        if point.seed == 0
        and (point.loss, point.ratio)
        in [
            (CONTROL, 1.0),
            *((loss, options.ratios[0]) for loss in options.losses),
        ]
    }
    runs.draw(shown, data_dir, Path(workdir) / "restored.png")
    return write(results, Path(workdir))


def _planned(
    config: ml_collections.ConfigDict, point: Point
) -> ml_collections.ConfigDict:
    """Returns the config of the second phase."""
    config = copy.deepcopy(config)
    config.seed = point.seed
    weights = config.loss.trunk_weights
    if point.loss == CONTROL:
        fine_tune(config, "")
        return config
    fine_tune(config, point.loss, weights or RANDOM)
    config.loss.ratio = point.ratio
    return config


def write(results: Mapping[Point, Mapping[str, Any]], workdir: Path) -> str:
    """Writes tables and plot of a study, and returns the first table as text."""
    names = list(dict.fromkeys(point.name for point in results))
    seeds = {
        name: [result for point, result in results.items() if point.name == name]
        for name in names
    }
    some = next(iter(results.values()))
    measures = [name for name in _MEASURES if name in some]
    columns = {"psnr": 2, "ssim": 4, "sharpness_error": 3, **dict.fromkeys(measures, 4)}
    rows = [("loss", "seeds", *columns, "psnr less control", "seconds per run")]
    for name, found in seeds.items():
        change = runs.differences(
            [x["psnr"] for x in found], [x["psnr"] for x in seeds[CONTROL]]
        )
        rows.append(
            (
                *(name, str(len(found))),
                *(tables.spread([x[c] for x in found], d) for c, d in columns.items()),
                "" if name == CONTROL else tables.spread(change, 2, signed=True),
                f"{fmean(x['seconds'] for x in found):.0f}",
            )
        )
    single = [("loss", "ratio", "seed", *columns)]
    single += [
        (
            *(point.loss, f"{point.ratio:g}", str(point.seed)),
            *(f"{result[name]:.5f}" for name in columns),
        )
        for point, result in results.items()
    ]
    tables.write({"study_runs": single}, str(workdir))
    _plot(results, measures[0] if measures else "sharpness_error", workdir)
    return tables.write({"study": rows}, str(workdir))


def _plot(
    results: Mapping[Point, Mapping[str, Any]], measure: str, workdir: Path
) -> None:
    """Draws distortion against perception, a line over the ratios for each loss."""
    losses = list(dict.fromkeys(point.loss for point in results))
    series: dict[str, tuple[Any, Any]] = {}
    for loss in losses:
        ratios = sorted({point.ratio for point in results if point.loss == loss})
        means = [
            [
                fmean(r[name] for p, r in results.items() if (p.loss, p.ratio) == at)
                for name in ("psnr", measure)
            ]
            for at in ((loss, ratio) for ratio in ratios)
        ]
        x, y = zip(*means, strict=True)
        series[loss] = x, y
    plots.lines(
        {"": series},
        workdir / "perception_distortion.png",
        x_label="PSNR, dB",
        y_label=f"{measure}, less is better",
    )
