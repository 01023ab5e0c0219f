"""`--mode=study`: methods side by side, over rates of noise and over seeds.

Every run is an ordinary one in a folder of its own, `runs/<method>-<rate>-<seed>`; one
that was finished is not run again, so a study that was stopped goes on.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import ml_collections
import numpy as np
from absl import logging
from tqdm import tqdm

from common import tables
from common.logging import plots
from common.logging.writers import read_metrics
from common.task import Task
from common.train import once
from robust import flags, methods

# Name of a measure in the tables -> what it is called there, in percent where it is a
# share. Test accuracies are of clean labels.
_COLUMNS = {
    "last": "test top-1 at the end",
    "last_five": "mean of last 5",
    "best": "best epoch",
    "memorized": "wrong labels learned",
    "noise_auroc": "AUROC",
    "ess_share": "ESS / N",
}
_CURVES = ("uniform", "bi_tempered", "eg", "mr", "ciw", "oracle")

Result = Mapping[str, Any]


def run(
    task: Task, config: ml_collections.ConfigDict, workdir: str, data_dir: str | None
) -> str:
    """Runs what the flags say, and returns the tables.

    `workdir` gets `study.md` and `study.csv` with means and standard deviations over
    the seeds, `runs.csv` with every run, and `curves.png`.

    Raises:
      ConfigError: flags that cannot be.
    """
    options = flags.study_options()
    grid = [
        (method, rate, seed)
        for rate in options.rates
        for method in options.methods
        for seed in range(options.seeds)
    ]
    planned = [_config(config, *point) for point in grid]
    kind: Any = type(task)
    for planned_config in planned:  # a mistake shows before hours of work
        kind(copy.deepcopy(planned_config))
    home = Path(workdir)
    results = []
    for point, planned_config in zip(tqdm(grid, unit="run"), planned, strict=True):
        folder = home / "runs" / "{}-{:g}-{}".format(*point)
        results.append(_result(kind, planned_config, folder, data_dir, point))
    return write(results, home)


def _config(
    config: ml_collections.ConfigDict, method: str, rate: float, seed: int
) -> ml_collections.ConfigDict:
    changed = copy.deepcopy(config)
    changed.seed = changed.noise.seed = seed
    changed.noise.rate = rate
    methods.apply(method, changed)
    return changed


def _result(
    kind: Any,
    config: ml_collections.ConfigDict,
    folder: Path,
    data_dir: str | None,
    point: tuple[str, float, int],
) -> Result:
    """Returns the result of a run, from its folder when it is there."""

    def collect(metrics: Mapping[str, float], folder: Path) -> dict[str, Any]:
        return {
            **dict(zip(("method", "rate", "seed"), point, strict=True)),
            **{name: value for name, value in metrics.items() if name in _COLUMNS},
            **accuracies(read_metrics(folder)),
        }

    result = once.train(kind, config, folder, data_dir, collect=collect)
    logging.info("%s at %g, seed %d: %.4f", *point, result["last"])
    return result


def accuracies(records: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Returns the last accuracy of a run, the mean of its last five, and its best."""
    curve = [record["top1"] for record in records if record["kind"] == "eval"]
    return {
        "last": curve[-1],
        "last_five": float(np.mean(curve[-5:])),
        "best": max(curve),
        "curve": curve,
    }


def write(results: Sequence[Result], home: Path) -> str:
    """Writes the tables and the picture of a study, and returns the tables as text."""
    cells = {
        "study": [("noise", "method", "seeds", *_COLUMNS.values()), *_rows(results)],
        "runs": [
            ("rate", "method", "seed", *_COLUMNS, "seconds"),
            *map(_run_row, results),
        ],
    }
    text = tables.write({"study": cells["study"]}, str(home))
    tables.write({"runs": cells["runs"]}, str(home))
    if picture := _draw(results, home / "curves.png"):
        text += f"\n\ncurves: {picture}"
    return text


def _run_row(result: Result) -> tuple[str, ...]:
    values = (_cell(result.get(name)) for name in (*_COLUMNS, "seconds"))
    return f"{result['rate']:g}", result["method"], str(result["seed"]), *values


def _cell(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _groups(results: Sequence[Result]) -> dict[tuple[float, str], list[Result]]:
    groups: dict[tuple[float, str], list[Result]] = {}
    for result in results:
        groups.setdefault((result["rate"], result["method"]), []).append(result)
    return groups


def _rows(results: Sequence[Result]) -> list[tuple[str, ...]]:
    """Means and standard deviations over the seeds, in percent; AUROC as it is."""
    rows = []
    for (rate, method), group in _groups(results).items():
        row = [f"{100 * rate:g} %", method, str(len(group))]
        for name in _COLUMNS:
            values = [r[name] for r in group if name in r]
            scale = 1 if name == "noise_auroc" else 100
            row.append(_mean(np.array(values) * scale, 3 if scale == 1 else 1))
        rows.append(tuple(row))
    return rows


def _mean(values: np.ndarray, digits: int) -> str:
    if not len(values):
        return ""
    spread = f" ± {values.std(ddof=1):.{digits}f}" if len(values) > 1 else ""
    return f"{values.mean():.{digits}f}{spread}"


def _draw(results: Sequence[Result], path: Path) -> Path | None:
    """Draws accuracy over the epochs, the mean of the seeds, of a few methods."""
    panels: dict[str, dict[str, tuple[Any, Any]]] = {}
    for (rate, method), group in _groups(results).items():
        if method not in _CURVES:
            continue
        length = min(len(r["curve"]) for r in group)
        mean = np.mean([r["curve"][:length] for r in group], axis=0)
        panel = panels.setdefault(f"{100 * rate:g} % noise", {})
        panel[method] = (np.arange(1, length + 1), 100 * mean)
    if not panels:
        return None
    labels = {"x_label": "evaluation", "y_label": "top-1 on clean test images, %"}
    return plots.lines(panels, path, **labels)
