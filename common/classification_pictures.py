"""Pictures of a classifier's evaluation: confusion matrix, sample grid, examples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from common.data import decode
from common.data.sources import Source
from common.logging import plots

_GRID = 24
_EXAMPLES = 8


def draw(
    outputs: Mapping[str, np.ndarray],
    source: Source,
    names: Sequence[str],
    transforms: Sequence[Any],
    workdir: Path,
) -> list[tuple[str, Path]]:
    """Writes the pictures of a final evaluation.

    Args:
      outputs: of every example: `id`, `label`, `prediction`, `confidence`.
      source: the evaluation data.
      names: of all outputs of the model.
      transforms: of the evaluation, to show what the model saw.
      workdir: where `confusion.png`, `samples.png` and `examples/` go.

    Returns:
      (caption, path) of each picture.
    """
    matrix = np.zeros((len(names), len(names)), int)
    np.add.at(matrix, (outputs["label"], outputs["prediction"]), 1)
    errors = int(np.sum(outputs["label"] != outputs["prediction"]))
    _write_examples(outputs, source, names, workdir / "examples")
    return [
        (
            f"Confusion matrix: {errors} errors in {len(outputs['label'])} examples",
            plots.confusion_matrix(matrix, names, workdir / "confusion.png"),
        ),
        (
            "Evaluation examples as the model sees them: the most confident errors "
            "first, then the least confident correct ones",
            _draw_grid(outputs, source, names, transforms, workdir / "samples.png"),
        ),
    ]


def _draw_grid(
    outputs: Mapping[str, np.ndarray],
    source: Source,
    names: Sequence[str],
    transforms: Sequence[Any],
    path: Path,
) -> Path:
    wrong = outputs["label"] != outputs["prediction"]
    order = np.lexsort(
        (np.where(wrong, -outputs["confidence"], outputs["confidence"]), ~wrong)
    )[:_GRID]
    images, captions, colors = [], [], []
    for row in order:
        example = dict(source[int(outputs["id"][row])])
        example["image"] = decode.decode(example["image"])
        for transform in transforms:
            example = transform.map(example)
        images.append(example["image"])
        true, found = (names[outputs[key][row]] for key in ("label", "prediction"))
        captions.append(f"{true} → {found} ({100 * outputs['confidence'][row]:.0f} %)")
        colors.append("red" if wrong[row] else "green")
    return plots.image_grid(images, captions, path, colors)


def _write_examples(
    outputs: Mapping[str, np.ndarray],
    source: Source,
    names: Sequence[str],
    folder: Path,
) -> None:
    """Writes a few original images, to try predictions on."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = np.linspace(0, len(outputs["id"]) - 1, _EXAMPLES).astype(int)
    for row in dict.fromkeys(rows):
        example = source[int(outputs["id"][row])]
        name = names[example["label"]]
        # Class names of a folder are file names; those of other sources may not be.
        safe = "".join(c if c.isalnum() or c in "-_" else "_" for c in name)
        path = folder / f"{example['id']:06d}_{safe}.png"
        decode.decode(example["image"]).save(path)
