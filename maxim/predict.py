"""Restores images of any size with a MAXIM."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from common.restoration.inference import Restorer, check_image, check_range
from common.task import Variables
from maxim import published
from maxim.models import MAXIM


def restore(
    model: MAXIM, params: Mapping[str, Any], image: np.ndarray | jax.Array
) -> np.ndarray:
    """Restores one image; each padded size is compiled once per model.

    The image is padded as in the official evaluation script, see
    `common.restoration.padding`.

    Args:
      model: as `maxim.models.create` returns it.
      params: of the model.
      image: float `[H, W, 3]` in [0, 1], of any size from 1 x 1.

    Returns:
      float32 `[H, W, 3]`, not clipped.

    Raises:
      DataError: no such image, or it does not fit into memory.
    """
    image = check_image(image)
    check_range(image)
    key: Any = model  # equal to others with the same fields
    return _compiled(key).with_variables({"params": params})(image)


@functools.lru_cache(maxsize=8)
def _compiled(model: MAXIM) -> Restorer:
    """Holds the programs, but no variables."""
    return restorer(model, {})


def restorer(
    model: MAXIM, variables: Mapping[str, Any], bfloat16: bool = False
) -> Restorer:
    """Binds a model to its variables, for many images, tiles and ensembles.

    Args:
      model: as `maxim.models.create` returns it.
      variables: `{"params"}`.
      bfloat16: compute in bfloat16, and hold the variables in it.
    """
    if bfloat16:
        model = model.clone(dtype=jax.numpy.bfloat16)

    def apply(variables: Variables, images: jax.Array) -> Any:
        return model.apply(variables, images, method="restore")

    return Restorer(apply, variables, model.size_multiple, bfloat16)


def preset(name: str) -> tuple[str, str]:
    """Returns config file and weights of what `--task` names.

    Raises:
      ConfigError: nothing of that name is published.
    """
    checkpoint = published.find(name)
    return checkpoint.config, checkpoint.init_from
