"""Weights of any origin, fitted to a model of another image size or without classes."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from absl import logging

from common.checkpoint import matching
from maxvit import bias_tables
from maxvit.convert import files, sizes

_LOGITS = "params/head/logits/"


def read(init_from: str, target: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Reads weights; resizes tables of relative positions to the model's windows.

    The classifier's are left out when the model has none.

    Args:
      init_from: see `maxvit.convert.files.load`.
      target: the model's variables, abstract.

    Returns:
      Flat names of ours to arrays.

    Raises:
      ConfigError: they cannot be converted, or are of another variant.
      DataError: there are no such weights.
    """
    wanted = dict(matching.leaves(target))
    loaded = files.load(init_from)
    found, ours = (
        sizes.of_shapes({name: tuple(leaf.shape) for name, leaf in arrays.items()})
        for arrays in (loaded, wanted)
    )
    sizes.check(init_from, found, ours)
    if not any(name.startswith(_LOGITS) for name in wanted):
        loaded = {k: v for k, v in loaded.items() if not k.startswith(_LOGITS)}
    fitted, resized = bias_tables.fit(loaded, wanted)
    if resized:
        logging.info("%s: %s", init_from, resized)
    return fitted
