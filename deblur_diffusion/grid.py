"""`--mode=grid`: one trained model at every schedule, from detail to least error.

The paper's search (section 4) over the number of steps and the variance of the last
one. All of it is one program for each size of image.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import ml_collections
import numpy as np
from absl import logging
from tqdm import tqdm

from common import config as configs
from common import modes, tables
from common.data import pipeline
from common.data.normalization import to_unit
from common.errors import DataError
from common.logging import plots
from deblur_diffusion import flags, predict
from deblur_diffusion.sampler import Preset
from deblur_diffusion.tasks import Deblurring

CELLS, PLOT = "grid", "perception_distortion.png"
_SHOWN = ("psnr", "ssim")


def run(
    task: Deblurring,
    config: ml_collections.ConfigDict,
    workdir: str,
    data_dir: str | None,
) -> str:
    """Evaluates every cell on the evaluation data, and returns the table.

    `workdir` is that of the run. It gets `grid.md` and `grid.csv`, one row for each
    cell and one for the predictor alone, `grid/` with a file for each image, from which
    a grid that was stopped goes on, and `perception_distortion.png`.

    Raises:
      ConfigError: flags that cannot be, or a run without weights.
      DataError: no image can be read.
    """
    options = flags.grid_options()
    home = Path(workdir)
    experiment = modes.on_one_device(task, config)
    variables, where = modes.find_variables(experiment, workdir, None)
    params = {"params": variables["params"]}
    source, transforms = task.source("eval", data_dir), task.transforms("eval")
    model = task.network()
    cells: list[Preset | None] = [
        Preset(steps, beta_max, options.num_samples)
        for steps, beta_max in itertools.product(options.steps, options.beta_max)
    ]
    cells.insert(0, None)  # the predictor
    found = []
    for index in tqdm(range(len(source)), unit="image"):
        path = home / CELLS / f"{index:06d}.json"
        scores = _read(path, where)
        missing = [cell for cell in cells if _name(cell) not in scores]
        try:
            example = pipeline.example(source, transforms, index) if missing else {}
        except DataError as error:
            logging.warning("%s", error)
            continue
        for cell in missing:
            made = predict.deblur(model, params, to_unit(example["image"]), cell)
            scores[_name(cell)] = task.score(made.image, example["target"])
            if made.samples is not None and len(made.samples) > 1:
                scores[_name(cell)]["samples_differ"] = _differ(made.samples)
            configs.write_json(path, {"weights": where, "cells": scores})
        found.append(scores)
    return report(found, [_name(cell) for cell in cells], home)


def report(
    images: Sequence[Mapping[str, Mapping[str, float]]],
    names: Sequence[str],
    home: Path,
) -> str:
    """Writes tables and plot of finished cells, and returns the table.

    Args:
      images: of each, name of a cell -> scores.
      names: of the cells, in order.
      home: where they go.

    Raises:
      DataError: there is nothing.
    """
    if not images:
        raise DataError("no image of the evaluation data can be read")
    means: dict[str, dict[str, float]] = {}
    for name in names:
        found = [cells[name] for cells in images]
        keys = dict.fromkeys(key for scores in found for key in scores)
        means[name] = {
            key: float(np.nanmean([scores.get(key, np.nan) for scores in found]))
            for key in keys
        }
    some = next(iter(means.values()))
    left_out = ("psnr", "ssim", "samples_differ")
    others = [key for key in some if not key.startswith(left_out)]
    columns = (*_SHOWN, *others, "samples_differ")
    header = ("steps", "beta_max", "samples", *columns)
    table: list[tuple[str, ...]] = [header]
    for name, found in means.items():
        cells = [_show(found.get(key), 2 if key == "psnr" else 4) for key in columns]
        table.append((*_parts(name), *cells))
    measure = others[0] if others else "ssim"
    series: dict[str, tuple[Any, Any]] = {}
    for name, found in means.items():
        label = "predictor" if name == _name(None) else f"{_parts(name)[0]} steps"
        x, y = series.setdefault(label, ([], []))
        x.append(found["psnr"])
        y.append(found[measure])
    plots.lines(
        {"": dict(list(series.items())[:6])},
        home / PLOT,
        x_label="PSNR, dB",
        y_label=measure,
    )
    return tables.write({"grid": table}, str(home))


def _differ(samples: np.ndarray) -> float:
    """Returns the mean deviation of samples, in 255 levels."""
    return 255 * float(jnp.std(jnp.asarray(samples), axis=0, ddof=1).mean())


def _name(cell: Preset | None) -> str:
    if cell is None:
        return "predictor"
    return f"{cell.steps}/{cell.beta_max:g}/{cell.num_samples}"


def _parts(name: str) -> tuple[str, str, str]:
    steps, _, rest = name.partition("/")
    beta_max, _, samples = rest.partition("/")
    return steps, beta_max, samples


def _show(value: float | None, digits: int) -> str:
    return "" if value is None or np.isnan(value) else f"{value:.{digits}f}"


def _read(path: Path, where: str) -> dict[str, dict[str, float]]:
    """Returns the cells that an image has already, of the same weights."""
    if not path.is_file():
        return {}
    kept = json.loads(path.read_text(encoding="utf-8"))
    return kept["cells"] if kept["weights"] == where else {}
