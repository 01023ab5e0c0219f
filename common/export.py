"""One portable file of a trained model's inference function (`jax.export`).

The file holds the program for every platform with its weights, so whoever loads it
needs jax and flatbuffers, and neither this code nor a config.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
from jax import export

from common import atomic
from common.errors import DataError

PLATFORMS = ("cpu", "cuda", "rocm", "tpu")


def write(
    path: str | os.PathLike[str],
    function: Callable[[jax.Array], Any],
    images: jax.ShapeDtypeStruct,
) -> None:
    """Exports a function of a batch of images, for any batch size and platform.

    Args:
      path: of the file, replaced atomically.
      function: images -> arrays; what it closes over is stored with it.
      images: their shape and type; the first axis stands for any number.
    """
    (batch,) = export.symbolic_shape("batch")
    any_number = jax.ShapeDtypeStruct((batch, *images.shape[1:]), images.dtype)
    exported = export.export(jax.jit(function), platforms=PLATFORMS)(any_number)
    content = exported.serialize()
    with atomic.replacing(path) as temporary:
        temporary.write_bytes(content)


def read(path: str | os.PathLike[str]) -> export.Exported:
    """Loads such a file; `.call(images)` runs it.

    Raises:
      DataError: there is no such file, or it is no exported function.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"no exported function {path}")
    try:
        return export.deserialize(bytearray(path.read_bytes()))
    except Exception as error:  # The parser raises what it likes on broken bytes.
        raise DataError(f"{path} is no exported function: {error!r}") from error
