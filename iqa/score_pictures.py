"""Pictures of an evaluation of scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from common.data import pipeline
from common.data.sources import Source
from common.errors import DataError
from common.logging import plots
from common.logging.scatter import scatter

_GRID = 24


def draw(
    outputs: Mapping[str, np.ndarray],
    source: Source,
    transforms: Sequence[Any],
    workdir: Path,
) -> list[tuple[str, Path]]:
    """Writes `scores.png` and `ranking.png`; returns captions and paths.

    Args:
      outputs: of every example: `id`, `mean`, `true_mean`.
      source: the evaluation data.
      transforms: of the evaluation, to show what the model saw.
      workdir: where they go.
    """
    mean, truth = outputs["mean"], outputs["true_mean"]
    order = np.argsort(-mean, kind="stable")
    chosen = order[np.linspace(0, len(order) - 1, min(_GRID, len(order))).astype(int)]
    images, captions = [], []
    for place in chosen:
        try:
            example = pipeline.example(source, transforms, int(outputs["id"][place]))
        except DataError:
            continue  # it was counted where it was evaluated
        images.append(example["image"])
        captions.append(f"{mean[place]:.2f} (votes {truth[place]:.2f})")
    labels = ("mean score of the votes", "predicted")
    path = workdir / "scores.png"
    found = [
        (
            "Predicted over true mean scores of the evaluation examples",
            scatter(truth, mean, path, "mean scores", *labels),
        )
    ]
    if images:
        ranking = plots.image_grid(images, captions, workdir / "ranking.png")
        found.append(
            ("From the best to the worst, as predicted: every so many-th", ranking)
        )
    return found
