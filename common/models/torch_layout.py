"""Tensors that PyTorch named and laid out, as arrays of a Linen module.

Convolutions are OIHW there and HWIO here, matrices `[O, I]` and `[I, O]`.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from common.models import named_arrays
from common.models.named_arrays import Names, Shape

# What PyTorch's name of an array is on our side.
_ARRAYS = {"weight": "kernel", "bias": "bias"}


def names(layers: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """Returns the names of weights and biases from those of layers.

    Args:
      layers: our layer, as "trunk/conv1_1", to what it is called elsewhere, as
        "features.0".
    """
    return {
        f"params/{ours}/{array}": [f"{layer}.{theirs}" for layer in others]
        for ours, others in layers.items()
        for theirs, array in _ARRAYS.items()
    }


def read(
    paths: Sequence[str | os.PathLike[str]],
    known: Names,
    target: Mapping[str, Any],
    classifier: str = "",
) -> dict[str, np.ndarray]:
    """Reads the weights of a module: `named_arrays.read` with PyTorch's layout."""
    return named_arrays.read(paths, known, target, _LAYOUT, classifier)


def _there(shape: Shape) -> Shape:
    """Returns PyTorch's shape of an array of ours: the last two axes come first."""
    return (*shape[:-3:-1], *shape[:-2])


def _transposed(array: np.ndarray, shape: Shape) -> np.ndarray | None:
    """Returns an array in our layout, None where it cannot be ours.

    It does not count whether a matrix keeps the axes of the map that it flattened.
    """
    there = _there(shape)
    flat = (there[0], math.prod(there[1:])) if len(there) > 1 else there
    fitting = map(named_arrays.long, (there, flat))
    if named_arrays.long(array.shape) not in fitting:
        return None
    array = array.reshape(there)
    return array.transpose(*range(2, array.ndim), *(1, 0)[-array.ndim :])


_LAYOUT = named_arrays.Layout(_there, _transposed, width=0)
