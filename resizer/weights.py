"""Weights for a network behind a resizer: of a whole run, or of the network alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from common.checkpoint import matching
from common.errors import ConfigError
from common.models import backbone_weights, registry


def read(init_from: str, target: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Reads weights for a `ResizedModel` without classes, as the registry asks for it.

    Args:
      init_from: a run of this package, whose classifier is left out; or, of the network
        alone, its name, a colon and what its reader knows:
        `resnet50:resnet50.safetensors`.
      target: the model's variables, abstract.

    Raises:
      ConfigError: they cannot be used.
      DataError: nothing is there.
    """
    arrays = backbone_weights.load_own(init_from, target)
    if arrays is not None:
        return _without_classifier(arrays, dict(matching.leaves(target)))
    backbone, colon, rest = init_from.partition(":")
    if colon and backbone in registry.BACKBONES:
        return backbone_weights.of_backbone(backbone, rest, target)
    raise ConfigError(
        f"{init_from} holds no run of this package; weights of the network alone are "
        "named with it, such as resnet50:resnet50.safetensors"
    )


def _without_classifier(
    arrays: Mapping[str, np.ndarray], wanted: Mapping[str, Any]
) -> dict[str, np.ndarray]:
    """Leaves out one layer that is not wanted; more would be another network's."""
    rest = {name for name in arrays if name not in wanted}
    layers = {name.rpartition("/")[0] for name in rest}
    if len(layers) > 1:
        rest = set()
    return {name: array for name, array in arrays.items() if name not in rest}
