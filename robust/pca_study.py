"""`--mode=pca`: principal components of noisy data, ours beside others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from common import tables
from common.errors import ConfigError
from common.logging import plots
from common.runtime import setup_runtime
from common.train import weight_metrics
from robust import noisy_pca, pca_data
from robust.noisy_pca import Fit
from robust.pca_data import NoisyData

COMPONENTS = (5, 10, 20)
_DRAWN = ("eg", "eg_cap", "pca", "trimmed", "l1", "oracle")
_PICTURES = 24
# Ours and "trimmed" are told a share of clean rows; for the made protocol less than
# the true 0.8, for the pictures the true one.
_CLEAN_FRACTIONS = {"synthetic": 0.75}

# Measure -> its name in the table.
_COLUMNS = {
    "train_ratio": "clean error / oracle",
    "test_ratio": "test error / oracle",
    "distance": "distance",
    "captured": "variance captured",
    "noisy_mass": "noisy mass",
    "ess_share": "ESS / N",
    "noise_auroc": "AUROC",
}
Rows = dict[tuple[str, int, str], list[dict[str, float]]]


def run(workdir: str | None) -> str:
    """Fits every method to every data set, and returns the table.

    `workdir` gets `pca.md` and `pca.csv`, means and standard deviations over ten seeds,
    `pca_errors.png`, and for each set of faces `*_lowest.png` and `*_basis.png`.

    Raises:
      ConfigError: there is no workdir.
    """
    if workdir is None:
        raise ConfigError("--mode=pca needs --workdir=DIR")
    setup_runtime(None, None, None)
    return study(Path(workdir), pca_data.SETS, COMPONENTS, seeds=10)


def study(
    home: Path, names: Sequence[str], components: Sequence[int], seeds: int
) -> str:
    """Runs the experiments and writes what `run` says."""
    grid = [
        (name, k)
        for name in names
        for k in ((5,) if name == "synthetic" else components)
    ]
    rows: Rows = {}
    for name, k in tqdm(grid, unit="table"):
        for seed in range(seeds):
            data = pca_data.make(name, seed)
            fits = fit_all(data, k, _CLEAN_FRACTIONS.get(name, 1 - pca_data.RATE))
            for method, found in fits.items():
                row = measure(found, data, fits["oracle"])
                rows.setdefault((name, k, method), []).append(row)
    header = ("data", "k", "method", *_COLUMNS.values())
    text = tables.write({"pca": [header, *_lines(rows)]}, str(home))
    pictures = [_draw_errors(rows, home / "pca_errors.png")]
    for name in names:
        if name.startswith("faces"):
            pictures += _draw_faces(name, home)
    return text + "\n\npictures: " + ", ".join(map(str, pictures))


def fit_all(data: NoisyData, components: int, clean_fraction: float) -> dict[str, Fit]:
    """Returns what every method finds."""
    return {
        method: noisy_pca.fit(
            data.train,
            components,
            method,
            clean_fraction=clean_fraction,
            clean=~data.noisy,
        )
        for method in noisy_pca.METHODS
    }


def measure(found: Fit, data: NoisyData, oracle: Fit) -> dict[str, float]:
    """Returns the measures of one fit, by the names of `_COLUMNS`.

    `train_ratio` and `test_ratio` are mean errors of clean rows, those that were among
    the data and others, over the oracle's; `distance` is the Frobenius norm of the
    difference of the two projections; `captured` the share of the variance of the clean
    test rows that is not lost.
    """
    own, best = found.basis, oracle.basis
    # |UU' - VV'|^2 = 2 k - 2 |U'V|^2
    squared = 2 * own.shape[1] - 2 * np.sum((own.T @ best) ** 2)
    test = found.errors(data.test).mean()
    variance = np.sum((data.test - data.test.mean(0)) ** 2, 1).mean()
    row = {
        "train_ratio": found.errors(data.clean_train).mean()
        / oracle.errors(data.clean_train).mean(),
        "test_ratio": test / oracle.errors(data.test).mean(),
        "distance": float(np.sqrt(max(squared, 0.0))),
        "captured": 1 - test / variance,
    }
    with np.errstate(divide="ignore"):
        log_weights = np.log(found.weights)
    return row | weight_metrics.summarize(log_weights, data.noisy)


def _lines(rows: Rows) -> list[tuple[str, ...]]:
    return [
        (name, str(k), method, *(_cell(group, column) for column in _COLUMNS))
        for (name, k, method), group in rows.items()
    ]


def _cell(group: Sequence[Mapping[str, float]], column: str) -> str:
    values = np.array([row[column] for row in group])
    spread = f" ± {values.std(ddof=1):.3f}" if len(values) > 1 else ""
    return f"{values.mean():.3f}{spread}"


def _draw_errors(rows: Rows, path: Path) -> Path:
    """Draws the error of the clean rows among pictures over the components."""
    panels: dict[str, dict[str, tuple[list[int], list[float]]]] = {}
    for (name, k, method), group in rows.items():
        if method in _DRAWN and name != "synthetic":  # its one k is no line
            panel = panels.setdefault(name.replace("_", ", "), {})
            x, y = panel.setdefault(method, ([], []))
            x.append(k)
            y.append(float(np.mean([row["train_ratio"] for row in group])))
    labels = {"x_label": "components", "y_label": "clean error / oracle's"}
    return plots.lines(panels, path, **labels)


def _draw_faces(name: str, home: Path) -> list[Path]:
    """Draws the lowest weights, and means and first components."""
    data = pca_data.make(name, seed=0)
    fits = fit_all(data, 10, 1 - pca_data.RATE)
    assert data.shape is not None
    weights = fits["eg_cap"].weights
    order = np.argsort(weights, kind="stable")[:_PICTURES]
    kinds = ["wrong" if data.noisy[row] else "clean" for row in order]
    shares = weights[order] * len(weights)
    lowest = plots.image_grid(
        [data.train[row].reshape(data.shape) for row in order],
        [f"{k}, {share:.2f}" for k, share in zip(kinds, shares, strict=True)],
        home / f"{name}_lowest.png",
        ["red" if kind == "wrong" else "green" for kind in kinds],
        columns=6,
    )
    pictures, captions = [], []
    for method in ("pca", "eg_cap", "oracle"):
        found = fits[method]
        shown = [found.mean, *found.basis.T[:5]]
        pictures += [_stretched(row).reshape(data.shape) for row in shown]
        captions += [f"{method} mean", *(f"{method} {i}" for i in range(1, 6))]
    path = home / f"{name}_basis.png"
    basis = plots.image_grid(pictures, captions, path, columns=6)
    return [lowest, basis]


def _stretched(row: np.ndarray) -> np.ndarray:
    """Brings a component, whose sign means nothing, to the range [0, 1]."""
    row = row if row.sum() >= 0 else -row
    low, high = row.min(), row.max()
    return (row - low) / max(high - low, 1e-12)
