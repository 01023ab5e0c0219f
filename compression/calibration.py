"""`--mode=calibrate`: how well estimated rates predict the bits of real scans.

Estimates for photographs at several qualities, with the tables of Annex K and with
others, are compared with exact counts. For each estimator a straight line to bits per
pixel is fitted on half of the photographs, and judged on the other half.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from absl import logging
from tqdm import tqdm

from common import tables as text_tables
from common.data import decode
from common.data.sources import listing
from common.data.sources.bundled import open_bundled
from common.data.sources.images import ImagesSource
from common.errors import DataError
from common.logging import plots
from common.restoration import compile_cache
from common.runtime import setup_runtime
from compression import flags, huffman, jpeg, rate
from compression.jpeg import Components

# What is asked of an estimator, in bits per pixel, percent and rank correlation:
# section 3.3 of our specification of the paper.
RANGE, MEDIAN_ERROR, SPEARMAN = (0.25, 4.0), 7.0, 0.99
# Our choices: qualities that cover the range, pixels per side of what is measured of
# each half of a photograph, and so many photographs of a folder.
QUALITIES = (5, 10, 20, 35, 50, 65, 80, 92, 96)
_SIDE, _MOST = 256, 64
_SEED = 0


@dataclasses.dataclass(frozen=True)
class Report:
    """An estimator after the line `slope * estimate + intercept`.

    Attributes:
      slope: bits per estimated bit.
      intercept: bits per pixel.
      r2: share of the variance that it explains.
      mape: mean absolute error in percent of the measured rate.
      median_error: median of the same.
      spearman: rank correlation.
      samples: how many it was measured on.
    """

    slope: float
    intercept: float
    r2: float
    mape: float
    median_error: float
    spearman: float
    samples: int

    @property
    def reached(self) -> bool:
        """Whether the estimator is as good as it has to be."""
        return self.median_error <= MEDIAN_ERROR and self.spearman >= SPEARMAN


class Samples(NamedTuple):
    """Rates in bits per pixel, one for each crop of an image and pair of tables.

    Attributes:
      measured: `[N]`, exact.
      estimated: of each estimator, `[N]`.
      held_out: `[N]`, whether the photograph is one of those lines are not fitted to.
    """

    measured: np.ndarray
    estimated: Mapping[str, np.ndarray]
    held_out: np.ndarray


class Photograph(NamedTuple):
    """One image to measure.

    Attributes:
      pixels: uint8 `[H, W, 3]`.
      held_out: see `Samples`.
    """

    pixels: np.ndarray
    held_out: bool


def fit_affine(estimated: np.ndarray, measured: np.ndarray) -> Report:
    """Fits the line with the least squared relative error, and judges it.

    Rates differ by a factor of sixteen, and the same error in bits is not as bad for
    all.

    Args:
      estimated: `[N]`, bits per pixel.
      measured: `[N]`, positive.

    Raises:
      DataError: fewer than two different estimates.
    """
    if len(np.unique(estimated)) < 2:
        raise DataError(
            f"{len(estimated)} samples between {RANGE[0]:g} and {RANGE[1]:g} bits per "
            "pixel are too few for a line"
        )
    slope, intercept = np.polyfit(estimated, measured, 1, w=1 / measured)
    return judge(float(slope), float(intercept), estimated, measured)


def judge(
    slope: float, intercept: float, estimated: np.ndarray, measured: np.ndarray
) -> Report:
    """Measures the errors of a line.

    Args:
      slope: of the line.
      intercept: of the line.
      estimated: `[N]`, bits per pixel.
      measured: `[N]`, positive.
    """
    from scipy import stats  # half a second

    predicted = slope * estimated + intercept
    error = 100 * np.abs(predicted - measured) / measured
    rest = np.sum((measured - predicted) ** 2)
    return Report(
        slope,
        intercept,
        r2=float(1 - rest / np.sum((measured - measured.mean()) ** 2)),
        mape=float(error.mean()),
        median_error=float(np.median(error)),
        spearman=float(stats.spearmanr(predicted, measured).statistic),
        samples=len(measured),
    )


def evaluate(samples: Samples) -> dict[str, Report]:
    """Fits a line to one half and judges it on the other, for every estimator.

    Raises:
      DataError: a half has too few samples.
    """
    reports = {}
    for name, estimated in samples.estimated.items():
        fitted, held = (
            (estimated[chosen], samples.measured[chosen])
            for chosen in (~samples.held_out, samples.held_out)
        )
        line = fit_affine(*fitted)
        fit_affine(*held)  # That there are enough to judge.
        reports[name] = judge(line.slope, line.intercept, *held)
    return reports


def measure(photographs: Iterable[Photograph], subsampling: str = "4:4:4") -> Samples:
    """Estimates and counts the bits of photographs; samples out of range are left out.

    Densities are fitted to every crop itself, as those of `--mode=optimize` are. Counts
    are without slope and intercept.

    Args:
      photographs: of any sizes.
      subsampling: of the chroma, one of `jpeg.SUBSAMPLINGS`.

    Raises:
      DataError: there are none.
    """
    generator = np.random.default_rng(_SEED)
    measured, estimated, held_out = [], [], []
    for photograph in photographs:
        for crop in crops(photograph.pixels):
            exact, estimates = _measure(crop, trial_tables(generator), subsampling)
            measured.append(exact)
            estimated.append(estimates)
            held_out.append(np.full(len(exact), photograph.held_out))
    if not measured:
        raise DataError("no images to calibrate with")
    exact = np.concatenate(measured)
    used = (exact >= RANGE[0]) & (exact <= RANGE[1])
    return Samples(
        exact[used],
        {
            name: np.concatenate([one[name] for one in estimated])[used]
            for name in rate.NAMES
        },
        np.concatenate(held_out)[used],
    )


def crops(image: np.ndarray) -> list[np.ndarray]:
    """Returns the middle of both halves of an image, or of the whole of a small one."""
    height, width = image.shape[:2]
    if height > width:
        return [crop.swapaxes(0, 1) for crop in crops(image.swapaxes(0, 1))]
    parts = 2 if width >= 2 * _SIDE else 1
    top = max(height - _SIDE, 0) // 2
    lefts = [
        max((2 * part + 1) * width // parts - _SIDE, 0) // 2 for part in range(parts)
    ]
    return [image[top : top + _SIDE, left : left + _SIDE] for left in lefts]


def trial_tables(generator: np.random.Generator) -> np.ndarray:
    """Returns tables int32 `[N, 2, 8, 8]` of all qualities, in three kinds.

    Those of Annex K; the same with every entry up to twice or half as large, at random;
    and the same half-way to flat, on a scale of logarithms, as learned tables are.
    """
    tables = np.stack([jpeg.quality_tables(q) for q in QUALITIES]).astype(np.float64)
    mean = np.exp(np.log(tables).mean((2, 3), keepdims=True))
    jittered = tables * 2 ** generator.uniform(-1, 1, tables.shape)
    kinds = np.concatenate([tables, jittered, np.sqrt(tables * mean)])
    return np.clip(np.rint(kinds), 1, 255).astype(np.int32)


def _measure(
    image: np.ndarray, tables: np.ndarray, subsampling: str
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Returns exact bits per pixel `[N]` with all tables, and all estimates."""
    coefficients = jpeg.coefficients(image[None], subsampling)
    models = {name: rate.fit(name, coefficients) for name in rate.NAMES}
    models |= {"log_magnitude": rate.LogMagnitude(1.0, 0.0)}
    models |= {"nonzero": rate.Nonzero(1.0, 0.0)}
    levels, bits = jax.device_get(_estimate(models, coefficients, jnp.asarray(tables)))
    pixels = image.shape[0] * image.shape[1]
    exact = [
        huffman.scan_bits([part[n, 0].astype(np.int16) for part in levels], subsampling)
        for n in range(len(tables))
    ]
    return (
        np.array(exact) / pixels,
        {
            name: np.asarray(values, np.float64) / pixels
            for name, values in bits.items()
        },
    )


@jax.jit
def _estimate(
    models: dict[str, rate.Estimator], coefficients: Components, tables: jax.Array
) -> tuple[Components, dict[str, jax.Array]]:
    """Returns levels `[N, 1, ...]` and bits `[N]`, one pair of tables at a time."""

    def one(pair):
        bits = {name: model.bits(coefficients, pair) for name, model in models.items()}
        levels = jpeg.quantize(coefficients, pair)
        return levels, {name: value[0] for name, value in bits.items()}

    return jax.lax.map(one, tables)


def bundled() -> list[tuple[str, bool]]:
    """Returns the photographs of installed packages: paths, and which are held out.

    What is fitted to the others may be used with astronaut, chelsea, china and coffee,
    with which tables are judged.
    """
    chosen = []
    for split in ("train", "eval"):
        source = open_bundled("photos", split)
        chosen += [
            (source[i]["image"], split == "eval" or i % 3 == 2)
            for i in range(len(source))
        ]
    return chosen


def of_folder(folder: str) -> list[tuple[str, bool]]:
    """Returns images below a folder, evenly spread; every other one is held out.

    Raises:
      DataError: no such folder, or no image in it.
    """
    root = listing.read_root(folder, ImagesSource.kind, ImagesSource.expected)
    found = ImagesSource.find(root)
    chosen = np.unique(np.linspace(0, len(found) - 1, _MOST).round().astype(int))
    return [
        (str(Path(root) / found[index].image), bool(number % 2))
        for number, index in enumerate(chosen)
    ]


def read(files: Iterable[tuple[str, bool]]) -> Iterator[Photograph]:
    """Reads image files; what cannot be read is logged and skipped."""
    for path, held_out in files:
        try:
            yield Photograph(np.asarray(decode.decode(path)), held_out)
        except Exception as error:  # Pillow raises nearly any on broken files.
            logging.error("%s: cannot be read: %s", path, error)


def run(workdir: str | None) -> str:
    """Calibrates with the images of `--input`, or with those of installed packages.

    Args:
      workdir: where `calibration.md`, `.csv` and `.png` go, if anywhere.

    Returns:
      The table of all estimators.

    Raises:
      ConfigError: flags that cannot be.
      DataError: too few images.
    """
    options = flags.calibrate_options()
    setup_runtime(None, None, None)
    compile_cache.use()
    files = bundled() if options.input is None else of_folder(options.input)
    bar = tqdm(files, unit="image", disable=not sys.stderr.isatty())
    samples = measure(read(bar), options.subsampling)
    reports = evaluate(samples)
    text = text_tables.write({"calibration": table(reports)}, workdir)
    if workdir is not None:
        draw(samples, reports, Path(workdir) / "calibration.png")
    head = (
        f"{len(files)} images at {options.subsampling}, {RANGE[0]:g} to {RANGE[1]:g} "
        f"bits per pixel: lines fitted to {np.sum(~samples.held_out)} samples of one "
        "half, errors of the other"
    )
    return f"{head}\n\n{text}"


def table(reports: Mapping[str, Report]) -> text_tables.Table:
    """Returns one row for each estimator."""
    header = ["estimator", "slope", "intercept", "R2", "MAPE %", "median error %"]
    header += ["Spearman", "samples", f"<= {MEDIAN_ERROR:g} % and >= {SPEARMAN:g}"]
    rows = [
        [
            name,
            *(f"{value:.3f}" for value in (report.slope, report.intercept)),
            f"{report.r2:.4f}",
            *(f"{value:.1f}" for value in (report.mape, report.median_error)),
            f"{report.spearman:.4f}",
            str(report.samples),
            "yes" if report.reached else "no",
        ]
        for name, report in reports.items()
    ]
    return [header, *rows]


def draw(samples: Samples, reports: Mapping[str, Report], path: Path) -> Path:
    """Draws relative errors over the rate, a panel for each estimator."""
    panels = {}
    for name, report in reports.items():
        predicted = report.slope * samples.estimated[name] + report.intercept
        error = 100 * (predicted / samples.measured - 1)
        panels[name] = {
            title: _points(samples.measured[chosen], error[chosen])
            for title, chosen in (
                ("held out", samples.held_out),
                ("fitted", ~samples.held_out),
            )
        }
    return plots.lines(
        panels,
        path,
        x_label="measured bits per pixel",
        y_label="error of the estimate, %",
        log_x=True,
        reference=("", 0.0),
    )


def _points(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns points with gaps between, which no line joins."""
    gaps = np.full((len(x), 2), np.nan)
    both = [np.stack([values, gaps[:, 0]], axis=1).ravel() for values in (x, y)]
    return both[0], both[1]
