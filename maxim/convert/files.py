"""From what a user names to arrays under our names, whoever wrote the file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from absl import logging

from common.checkpoint import weights
from common.errors import DataError
from maxim import models, published
from maxim.convert import cache, names, variants


def load(init_from: str) -> dict[str, np.ndarray]:
    """Reads weights of ours or of the official code.

    Args:
      init_from: a `.safetensors` or `.npz` file, or the folder of a run; or
        `maxim:NAME` of `published.find`, which is downloaded once.

    Returns:
      Flat names of ours, such as "params/stage_0_input_conv_0/kernel", to float32
      arrays.

    Raises:
      ConfigError: the file is broken or holds no MAXIM.
      DataError: there is nothing to read.
    """
    checkpoint = published.named(init_from)
    if checkpoint is not None:
        return cache.load(checkpoint)
    arrays = weights.load(_find(init_from), select=names.select)
    return names.to_ours(init_from, arrays)


def read(init_from: str, model: Any) -> dict[str, np.ndarray]:
    """Reads weights for a model.

    Args:
      init_from: as for `load`.
      model: a MAXIM.

    Returns:
      Flat names of ours to float32 arrays.

    Raises:
      ConfigError: they cannot be read, or are of another variant than the model.
      DataError: there is nothing to read.
    """
    ours = variants.of_model(model)
    checkpoint = published.named(init_from)
    if checkpoint is not None:
        # Before a large file is fetched for nothing.
        theirs = variants.of_model(models.create(checkpoint.variant))
        variants.check(init_from, theirs, ours)
    arrays = load(init_from)
    variants.check(init_from, variants.of_arrays(init_from, arrays), ours)
    logging.info("%s: %d arrays of a MAXIM %s", init_from, len(arrays), ours)
    return arrays


def _find(path: str) -> Path:
    try:
        return weights.find(Path(path).expanduser())
    except DataError as error:
        known = {*published.CHECKPOINTS, *published.TASKS}
        if path in known:
            hint = f"did you mean {published.SCHEME}{path}?"
            raise DataError(f"{error}; {hint}") from None
        raise
