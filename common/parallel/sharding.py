"""Sharding rules: batches by example, large arrays of the state by one dimension."""

from __future__ import annotations

import math
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from common.errors import ConfigError
from common.parallel.mesh import AXES

PyTree = Any


def replicated(mesh: Mesh) -> NamedSharding:
    """Returns the sharding of an array that every device holds whole."""
    return NamedSharding(mesh, P())


def batch(mesh: Mesh) -> NamedSharding:
    """Returns the sharding of `[B, ...]`: examples spread over all devices."""
    return NamedSharding(mesh, P(AXES))


def state(mesh: Mesh, abstract: PyTree, min_size: int) -> PyTree:
    """Returns a sharding for every array of the train state.

    The rule reads shapes alone, so a parameter, its optimiser moments and its moving
    average agree: of arrays with at least `min_size` elements the largest dimension
    that the `fsdp` axis divides is split over it; everything else is replicated.
    """
    parts = mesh.shape["fsdp"]

    def rule(array: Any) -> NamedSharding:
        if parts == 1 or math.prod(array.shape) < min_size:
            return replicated(mesh)
        for axis in np.argsort(array.shape, stable=True)[::-1]:
            if array.shape[axis] % parts == 0:
                return NamedSharding(mesh, P(*(None,) * int(axis), "fsdp"))
        return replicated(mesh)

    return jax.tree.map(rule, abstract)


def check_batch_size(mesh: Mesh, name: str, size: int, parts: int = 1) -> None:
    """Checks that a global batch, cut into `parts`, spreads over the devices.

    Raises:
      ConfigError: names the batch size and the number of devices.
    """
    if size % (mesh.size * parts):
        cut = f" x {parts} accumulation steps" if parts > 1 else ""
        raise ConfigError(
            f"{name}={size} is not divisible by the {mesh.size} devices{cut}"
        )


def place(mesh: Mesh, local_batch: PyTree) -> PyTree:
    """Returns global device arrays made of every process' part of a batch."""
    return jax.make_array_from_process_local_data(batch(mesh), local_batch)
