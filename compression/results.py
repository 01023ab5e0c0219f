"""What an evaluation leaves behind: tables of numbers, and pictures of curves."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from common import tables
from common.logging import plots
from compression import evaluation
from compression.evaluation import Point

Curves = Mapping[str, Sequence[Point]]
"""Name of the tables -> one point for each pair of them."""

ANNEX_K = "Annex K"
RATE_DISTORTION, RATE_ACCURACY = "rate_distortion", "rate_accuracy"


def flatten(curves: Curves) -> dict[str, float]:
    """Returns `{"name/2/psnr": value}`, as the evaluation loop keeps scores."""
    return {
        f"{name}/{number}/{score}": value
        for name, points in curves.items()
        for number, point in enumerate(points)
        for score, value in vars(point).items()
    }


def mean_curves(outputs: Mapping[str, np.ndarray]) -> dict[str, list[Point]]:
    """Undoes `flatten`, and averages over the images."""
    found: dict[str, dict[int, dict[str, float]]] = {}
    for key, values in outputs.items():
        name, *rest = key.rsplit("/", 2)
        if len(rest) == 2:
            kept = values[~np.isnan(values)]
            value = float(kept.mean()) if len(kept) else math.nan
            found.setdefault(name, {}).setdefault(int(rest[0]), {})[rest[1]] = value
    return {
        name: [Point(**points[number]) for number in sorted(points)]
        for name, points in found.items()
    }


def write_distortion(panels: Mapping[str, Curves], folder: Path) -> Path:
    """Writes `rate_distortion.md`, `.csv` and `.png`.

    Args:
      panels: title, such as the name of an image, to its curves.
      folder: where the files go.

    Returns:
      The picture.
    """
    header = ("image", "tables", "bpp", "psnr", "ms_ssim")
    rows = [
        (title, name, f"{p.bpp:.3f}", f"{p.psnr:.2f}", _number(p.ms_ssim, 4))
        for title, curves in panels.items()
        for name, points in curves.items()
        for p in points
    ]
    gains = [("image", "tables", "BD-rate %", "BD-PSNR dB", "BD-rate % MS-SSIM")]
    for title, curves in panels.items():
        gains += [
            (title, name, *gain(curves[ANNEX_K], points))
            for name, points in curves.items()
            if name != ANNEX_K
        ]
    written = {RATE_DISTORTION: [header, *rows], f"{RATE_DISTORTION}_gain": gains}
    tables.write(written, str(folder))
    return plots.lines(
        {
            title: {
                name: ([p.bpp for p in points], [p.psnr for p in points])
                for name, points in curves.items()
            }
            for title, curves in panels.items()
        },
        folder / f"{RATE_DISTORTION}.png",
        x_label="bits per pixel of the file",
        y_label="PSNR (dB)",
        log_x=True,
    )


def gain(reference: Sequence[Point], points: Sequence[Point]) -> tuple[str, str, str]:
    """Returns BD-rate, BD-PSNR and the BD-rate at equal MS-SSIM, as text."""
    return (
        _number(evaluation.bd_rate(reference, points), 1),
        _number(evaluation.bd_score(reference, points), 2),
        _number(evaluation.bd_rate(reference, points, "ms_ssim"), 1),
    )


def write_accuracy(curves: Curves, original: float, folder: Path) -> Path:
    """Writes `rate_accuracy.md`, `.csv` and `.png`.

    The tables compare at the rates of Annex K's ladder, interpolating the others.

    Args:
      curves: with a classifier's accuracy.
      original: its accuracy without compression.
      folder: where the files go.

    Returns:
      The picture.
    """
    others = [name for name in curves if name != ANNEX_K]
    rows = [("bytes", "bpp", ANNEX_K, *others)]
    for point in curves[ANNEX_K]:
        scores = [evaluation.at_rate(curves[x], point.bpp, "top1") for x in others]
        rows.append(
            (
                f"{point.bytes:.0f}",
                f"{point.bpp:.3f}",
                f"{point.top1:.4f}",
                *(_number(score, 4) for score in scores),
            )
        )
    tables.write({RATE_ACCURACY: rows}, str(folder))
    return plots.lines(
        {
            "": {
                name: ([p.bpp for p in points], [100 * p.top1 for p in points])
                for name, points in curves.items()
            }
        },
        folder / f"{RATE_ACCURACY}.png",
        x_label="bits per pixel of the file",
        y_label="top-1 accuracy (%)",
        log_x=True,
        reference=("not compressed", 100 * original),
    )


def _number(value: float, digits: int) -> str:
    return "" if math.isnan(value) else f"{value:.{digits}f}"
