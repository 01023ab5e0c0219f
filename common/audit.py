"""Which training examples may be wrong: what a run with weights of examples leaves.

`noise_audit.html` shows the examples of the lowest weights, `noise_audit.csv` names all
of them, and `weights.png` shows how the weights are spread.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from absl import logging
from PIL import Image

from common import atomic
from common.data import decode
from common.data.sources import Source
from common.logging import audit_page, weight_plots
from common.logging.audit_page import Entry
from common.train import weight_metrics

PAGE, TABLE, PICTURE = "noise_audit.html", "noise_audit.csv", "weights.png"
LIMIT = 200  # examples on the page: it stays a few megabytes
_COLUMNS = ("id", "name", "label", "suggestion", "confidence", "weight", "noisy")
# A cell that begins so is a formula to spreadsheets.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def write(
    source: Source,
    log_weights: np.ndarray,
    class_names: Sequence[str],
    workdir: Path,
    outputs: Mapping[str, np.ndarray] | None = None,
    limit: int = LIMIT,
) -> list[tuple[str, Path]]:
    """Writes page, table and picture.

    Args:
      source: the training data; where it knows which examples are wrong, it has a
        `noise_mask` and maybe `true_labels`.
      log_weights: `[N]`, of weights that sum to 1.
      class_names: of the labels; a number where none is known.
      workdir: where the files go.
      outputs: what the final model says of some or all examples: `id`, `prediction`
        and `confidence`. Without labels it has no such names.
      limit: examples on the page.

    Returns:
      Caption and path of the picture, for a report.
    """
    relative = np.exp(np.asarray(log_weights, np.float64)) * len(log_weights)
    order = np.argsort(log_weights, kind="stable")
    mask = getattr(source, "noise_mask", None)
    found = _Examples(source, relative, class_names, outputs)
    picture = weight_plots.histogram(relative, workdir / PICTURE, mask)
    labels = _write_table(workdir / TABLE, found, order, mask)
    pictures = [("Weights of the training examples", picture)]
    audit_page.write(
        workdir / PAGE,
        [found.entry(int(index)) for index in order[:limit]],
        count=len(relative),
        measures=_measures(log_weights, mask),
        classes=_shares(labels, relative, found),
        pictures=pictures,
    )
    return pictures


def _measures(log_weights: np.ndarray, mask: np.ndarray | None) -> dict[str, str]:
    """Returns the measures of the weights in words, for the page."""
    found = weight_metrics.summarize(log_weights, mask)
    share, count = found["ess_share"], len(log_weights)
    words = {
        "effective sample size": f"{share * count:,.0f}",
        "share of all examples": f"{100 * share:.1f} %",
        "largest weight": f"{found['largest_weight']:.3g}",
    }
    if "noise_auroc" in found:
        words |= {
            "weight of the wrong": f"{100 * found['noisy_mass']:.2f} %",
            "AUROC of low weight": f"{found['noise_auroc']:.4f}",
            "wrong among lowest": f"{100 * found['noise_precision']:.1f} %",
        }
    return words


class _Examples:
    """What is known of each training example."""

    def __init__(
        self,
        source: Source,
        relative: np.ndarray,
        class_names: Sequence[str],
        outputs: Mapping[str, np.ndarray] | None,
    ):
        self._source = source
        self._relative = relative
        self._names = class_names
        self._truth = getattr(source, "true_labels", None)
        self._said: dict[int, tuple[int, float]] = {}
        if outputs is not None and "prediction" in outputs:
            columns = (outputs[name] for name in ("id", "prediction", "confidence"))
            self._said = {
                int(i): (int(p), float(c)) for i, p, c in zip(*columns, strict=True)
            }

    def class_name(self, label: int | None) -> str | None:
        """Returns the name of a class, or its number."""
        if label is None:
            return None
        return self._names[label] if label < len(self._names) else str(label)

    def label(self, example: Mapping[str, Any]) -> int | None:
        """Returns the label that training saw."""
        return int(example["label"]) if "label" in example else None

    def row(self, index: int) -> tuple[int | None, list[Any]]:
        """Returns the label, and the cells of the table without "noisy"."""
        example = self._source[index]
        label = self.label(example)
        prediction, confidence = self._said.get(index, (None, None))
        cells = [
            index,
            _safe(str(example.get("name", index))),
            _safe(self.class_name(label) or ""),
            _safe(self.class_name(prediction) or ""),
            "" if confidence is None else f"{confidence:.4f}",
            f"{self._relative[index]:.6g}",
        ]
        return label, cells

    def entry(self, index: int) -> Entry:
        """Returns an example for the page, with its picture."""
        example = self._source[index]
        prediction, confidence = self._said.get(index, (None, None))
        truth = None if self._truth is None else int(self._truth[index])
        return Entry(
            image=_read(example),
            name=str(example.get("name", index)),
            weight=float(self._relative[index]),
            label=self.class_name(self.label(example)),
            suggestion=self.class_name(prediction),
            confidence=confidence,
            truth=self.class_name(truth),
        )


def _read(example: Mapping[str, Any]) -> Image.Image | None:
    try:
        return decode.decode(example["image"])
    except Exception as error:  # Pillow raises many types; the page says so instead.
        logging.warning("cannot read %s: %r", example.get("name"), error)
        return None


def _write_table(
    path: Path, found: _Examples, order: np.ndarray, mask: np.ndarray | None
) -> list[int | None]:
    """Writes all examples by weight; returns their labels in the order of ids."""
    labels: list[int | None] = [None] * len(order)
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(_COLUMNS)
    for index in map(int, order):
        labels[index], cells = found.row(index)
        rows.writerow([*cells, "" if mask is None else int(mask[index])])
    with atomic.replacing(path) as temporary:
        temporary.write_text(text.getvalue(), encoding="utf-8", errors="replace")
    return labels


def _safe(text: str) -> str:
    """Keeps spreadsheets from running what looks like a formula."""
    return f"'{text}" if text.startswith(_FORMULA) else text


def _shares(
    labels: Sequence[int | None], relative: np.ndarray, found: _Examples
) -> list[tuple[str, float, float]]:
    """Returns name, share of the examples and share of the weight of each class."""
    known = sorted({label for label in labels if label is not None})
    given = np.array([-1 if label is None else label for label in labels])
    total = relative.sum()
    return [
        (
            str(found.class_name(label)),
            float(np.mean(given == label)),
            float(relative[given == label].sum() / total),
        )
        for label in known
    ]
