"""Weights of models that have a network of the registry in them, as `backbone`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from common.checkpoint import matching, weights
from common.errors import ConfigError, DataError
from common.models import registry

NAME = "backbone"


def read(
    backbone: str, init_from: str, target: Mapping[str, Any]
) -> dict[str, np.ndarray]:
    """Reads weights of such a model, or published ones of its backbone alone.

    With the latter `config.reinitialize` has to match all that is not of the backbone.

    Args:
      backbone: a key of `registry.BACKBONES`.
      init_from: a file or run of the model, or what the backbone's reader knows.
      target: the model's variables, abstract.

    Returns:
      Flat names as in `target` to arrays.

    Raises:
      ConfigError, DataError: as `registry.read_weights`.
    """
    own = load_own(init_from, target)
    return of_backbone(backbone, init_from, target) if own is None else own


def load_own(init_from: str, target: Mapping[str, Any]) -> dict[str, np.ndarray] | None:
    """Returns the arrays of a file or run of such a model, None for anything else.

    A model of another kind around the same network is something else when that is
    deeper in one of them, as behind a resizer.
    """
    try:
        arrays = weights.load(weights.find(init_from))
    except (ConfigError, DataError):
        return None
    inner = (name for name, _ in matching.leaves(target) if f"/{NAME}/" in name)
    return arrays if any(name in arrays for name in inner) else None


def of_backbone(
    backbone: str, init_from: str, target: Mapping[str, Any]
) -> dict[str, np.ndarray]:
    """Reads published weights of the backbone alone; see `read`."""
    inner = {group: tree[NAME] for group, tree in target.items() if NAME in tree}
    found = registry.read_weights(backbone, init_from, inner)
    return {name.replace("/", f"/{NAME}/", 1): found[name] for name in found}
