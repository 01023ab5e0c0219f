"""Pictures of what a resizer does."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from common.data import pipeline
from common.data.sources import Source
from common.errors import DataError
from common.logging import plots
from common.task import Variables
from resizer import models
from resizer.inference import Resizer, to_uint8, variables_of

if TYPE_CHECKING:
    from common.image_task import ImageTask

_IMAGES = 6


def draw(
    task: ImageTask, variables: Variables, source: Source, path: Path
) -> tuple[str, Path]:
    """Draws input, bilinear and learned image and their difference, in rows.

    Args:
      task: whose model is a `ResizedModel`, or has one as its backbone.
      variables: of the model.
      source: of the images.
      path: of the file.

    Returns:
      Caption and path.

    Raises:
      DataError: no image can be read.
    """
    model = task.model
    if not isinstance(model, models.ResizedModel):
        model = model.backbone
    # With the method and antialiasing of the sum inside the resizer.
    plain = models.BilinearResizer(model.resizer.method, model.resizer.antialias)
    style = task.config.preprocess.normalization
    ours = Resizer(model.resizer, variables_of(variables), model.size, style)
    theirs = Resizer(plain, {}, model.size, style)
    shown, captions = [], []
    for image in _images(task, source):
        (before,), (after,) = theirs([image]), ours([image])
        gap, change = np.abs(after - before).max(), after - before
        shown += [image, to_uint8(before), to_uint8(after)]
        shown.append(to_uint8(0.5 + 0.5 * change / max(gap, 1e-6)))
        captions += ["input", "bilinear", "learned", f"difference, up to {gap:.2f}"]
    caption = (
        "What the resizer does: the input, its bilinear resize, what the network gets, "
        "and their difference, grey where there is none and scaled in each row"
    )
    return caption, plots.image_grid(shown, captions, path, columns=4)


def _images(task: ImageTask, source: Source) -> list[np.ndarray]:
    """Returns evenly spaced examples as evaluation sees them."""
    found = []
    for index in np.linspace(0, len(source) - 1, min(_IMAGES, len(source))).astype(int):
        try:
            example = pipeline.example(source, task.transforms("eval"), int(index))
        except DataError:
            continue  # it was counted where it was evaluated
        found.append(example["image"])
    if not found:
        raise DataError("no example to draw can be read")
    return found
