"""`--mode=matrix`: networks trained on pairs of each kind, tested on pairs of each.

The central experiment of arXiv 2002.11248 in its simplest form: if the pairs a network
learns from are not made as its images are, what does it lose? A matrix that was
stopped goes on.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import ml_collections
from absl import logging
from tqdm import tqdm

from common import tables
from common.errors import ConfigError
from common.task import Task
from common.train import once
from enhancement import flags, runs, satellite
from enhancement.config import given, set_network
from enhancement.networks import NETWORKS

Results = Mapping["Point", Mapping[str, Any]]


@dataclasses.dataclass(frozen=True)
class Point:
    """One run: which network, on pairs of which preset, with which seed."""

    network: str
    preset: str
    seed: int

    @property
    def folder(self) -> str:
        """Of the run."""
        return f"{self.network}-{self.preset}-{self.seed}"


def run(
    task: Task, config: ml_collections.ConfigDict, workdir: str, data_dir: str | None
) -> str:
    """Runs what the flags say, and returns the table.

    `workdir` gets `matrix.md` and `matrix.csv` with means and deviations over the
    seeds, `matrix_runs.csv` with every run, and for each kind of pairs
    `restored_PRESET.png` with what the runs of the first seed make of it.

    Raises:
      ConfigError: flags that cannot be, or a config of another task.
    """
    if config.task != "satellite":
        raise ConfigError("--mode=matrix needs a config with config.task=satellite")
    options = flags.study_options()
    options.check("presets", list(satellite.PRESETS))
    networks = options.networks or (config.model.name,)
    trained = [name for name in NETWORKS if name != "bicubic"]
    dataclasses.replace(options, networks=networks).check("networks", trained)
    points = [
        Point(network, preset, seed)
        for seed in range(options.seeds)
        for network in networks
        for preset in options.presets
    ]
    kind: Any = type(task)
    for point in points:  # a mistake shows before hours of work
        for preset in options.presets:
            kind(_planned(config, point, preset))
    home, results = Path(workdir) / "runs", {}
    for point in tqdm(points, unit="run"):
        folder = home / point.folder
        once.train(kind, _planned(config, point, point.preset), folder, data_dir)
        results[point] = {
            preset: runs.evaluate(
                kind, _planned(config, point, preset), folder, data_dir
            )
            for preset in options.presets
        }
        psnr = {name: results[point][name]["psnr"] for name in options.presets}
        logging.info("%s: psnr %s", point.folder, psnr)
    for preset in options.presets:
        shown = {
            f"{point.network}, {point.preset}": (
                kind(_planned(config, point, preset)),
                runs.weights(home / point.folder),
            )
            for point in points
            if point.seed == 0
        }
        runs.draw(shown, data_dir, Path(workdir) / f"restored_{preset}.png")
    return write(results, options.presets, workdir)


def _planned(
    config: ml_collections.ConfigDict, point: Point, test: str
) -> ml_collections.ConfigDict:
    config = copy.deepcopy(config)
    config.seed = point.seed
    if config.model.name != point.network:
        set_network(config, point.network, **given(config.model.options))
    if config.degradation.name != point.preset:
        config.degradation.name = point.preset
        for name in config.degradation.parameters.fields:  # of another preset
            config.degradation.parameters.fields[name] = None
    config.evaluation.preset = test
    return config


def write(results: Results, presets: Sequence[str], workdir: str) -> str:
    """Writes the tables of a matrix, and returns the first as text.

    Args:
      results: of each run, test preset -> metrics.
      presets: of the columns; the gains of rows are over training on the first.
      workdir: where they go.
    """
    rows = [("network", "trained on", "seeds", *(f"on {name}" for name in presets))]
    some = next(iter(results.values()))
    given = [f"{some[preset]['psnr_input']:.2f}" for preset in presets]
    rows.append(("bicubic", "", "", *given))
    single = [("network", "trained_on", "seed", "tested_on", "psnr", "ssim")]
    for network in dict.fromkeys(point.network for point in results):
        psnr = {
            trained: {
                test: [
                    result[test]["psnr"]
                    for point, result in results.items()
                    if (point.network, point.preset) == (network, trained)
                ]
                for test in presets
            }
            for trained in presets
        }
        for trained, found in psnr.items():
            cells = [tables.spread(found[test], 2) for test in presets]
            rows.append((network, trained, str(len(found[presets[0]])), *cells))
        for trained in presets[1:]:
            cells = [
                tables.spread(
                    runs.differences(psnr[trained][test], psnr[presets[0]][test]),
                    2,
                    signed=True,
                )
                for test in presets
            ]
            rows.append((network, f"{trained} less {presets[0]}", "", *cells))
    single += [
        (
            *(point.network, point.preset, str(point.seed), test),
            *(f"{result[test][name]:.4f}" for name in ("psnr", "ssim")),
        )
        for point, result in results.items()
        for test in presets
    ]
    tables.write({"matrix_runs": single}, workdir)
    return tables.write({"matrix": rows}, workdir)
