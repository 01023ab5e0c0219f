"""The official checkpoint files as parameters, and parameters as such a file."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import numpy as np

from common.checkpoint import matching
from maxim.convert import files, names, variants


def from_npz(
    source: str | os.PathLike[str] | Mapping[str, Any],
    model: nn.Module | None = None,
) -> dict[str, Any]:
    """Reads the parameters of an official checkpoint.

    Of its optimiser's state nothing is read. Files with the names of this project,
    and safetensors, are taken too.

    Args:
      source: what `files.load` takes, such as the path of `checkpoint.npz`; or names
        to arrays.
      model: the MAXIM they are for; by default the named variant that they are of.

    Returns:
      Parameters for `model.apply({"params": ...})`, nested, float32.

    Raises:
      ConfigError: the file is broken, a name or a shape is not the model's, or a value
        is not finite.
      DataError: there is no such file.
    """
    if isinstance(source, Mapping):
        where = "the mapping"
        wanted = {name: source[name] for name in names.select(source)}
        return variants.fit(where, names.to_ours(where, wanted), model)
    where = os.fspath(source)
    return variants.fit(where, files.load(where), model)


def to_npz(params: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Returns parameters under the official names: undoes `from_npz`.

    Args:
      params: nested, as `from_npz` returns them.

    Returns:
      Names such as "opt/target/stage_0_input_conv_0/kernel" to float32 arrays, for
      `numpy.savez` or `python -m maxim.convert`; the official code reads them.

    Raises:
      ConfigError: they are not of a MAXIM, or a value is not finite.
    """
    flat = dict(matching.leaves({"params": params}))
    return names.to_official(names.to_ours("params", flat))
