"""Arrays that other libraries named and laid out, read as those of a Linen module."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from common.checkpoint import matching, weights
from common.errors import ConfigError

_PICKLES = (".pth", ".pt", ".bin", ".pkl", ".ckpt", ".tar")
_SHOWN = 3

# Our flat name -> the names that it has elsewhere, the most usual first.
Names = Mapping[str, Sequence[str]]
Shape = tuple[int, ...]


@dataclass(frozen=True)
class Layout:
    """How the arrays of a library lie.

    Attributes:
      there: from our shape of an array to that of the library.
      convert: brings an array into our shape; None where it cannot have it.
      width: the axis of the library's arrays that is our last.
    """

    there: Callable[[Shape], Shape]
    convert: Callable[[np.ndarray, Shape], np.ndarray | None]
    width: int


def read(
    paths: Sequence[str | os.PathLike[str]],
    known: Names,
    target: Mapping[str, Any],
    layout: Layout,
    classifier: str = "",
) -> dict[str, np.ndarray]:
    """Reads the weights of a module; other content of the files is not looked at.

    Args:
      paths: `.safetensors` or `.npz` files that hold them together. They may also be
        files of `common.checkpoint.weights.save`, with our names and layout.
      known: of every array of `target`.
      target: variables of the module, nested, abstract or not.
      layout: of the arrays in the files.
      classifier: the layer, as "params/fc/", that may be absent, and whose width is
        as in the file.

    Returns:
      Our flat names to float32 arrays with the shapes of `target`.

    Raises:
      ConfigError: a file is a pickle or broken, or an array is missing, of another
        shape, no number of floating point or not finite.
      DataError: there is no such file.
    """
    held: list[str] = []
    wanted = {name for others in known.values() for name in others} | set(known)

    def select(found: Collection[str]) -> list[str]:
        held.extend(found)
        return [name for name in found if name in wanted]

    arrays: dict[str, np.ndarray] = {}
    for path in paths:
        refuse_pickle(path)
        arrays |= weights.load(weights.find(path), select=select)
    where = " and ".join(map(str, paths))
    origins = {
        ours: name
        for ours, others in known.items()
        for name in [name for name in (*others, ours) if name in arrays][:1]
    }
    missing = [
        known[ours][0]
        for ours in known
        if ours not in origins and not _free(ours, classifier)
    ]
    if missing:
        raise ConfigError(
            f"{where}: {len(missing)} of {len(known)} arrays are missing, as "
            f"{', '.join(missing[:_SHOWN])}; {_content(held)}"
        )
    matching.check_finite(where, {name: arrays[name] for name in origins.values()})
    shapes = {name: tuple(leaf.shape) for name, leaf in matching.leaves(target)}
    return dict(_converted(where, origins, arrays, shapes, layout, classifier))


def listed(path: str | os.PathLike[str]) -> list[str]:
    """Returns the names of all arrays in a `.safetensors` or `.npz` file.

    Raises:
      ConfigError: the file is broken.
      DataError: there is no such file.
    """
    names: list[str] = []

    def select(found: Collection[str]) -> list[str]:
        names.extend(found)
        return []

    weights.load(weights.find(path), select=select)
    return names


def refuse_pickle(path: str | os.PathLike[str]) -> None:
    """Refuses the files that PyTorch writes, and says how to make one that is read.

    Raises:
      ConfigError: the suffix is of a pickle.
    """
    path = Path(path)
    if path.suffix in _PICKLES:
        safe = str(path.with_suffix(".safetensors"))
        raise ConfigError(
            f"{path} is a pickle, which could run code; convert it once, where PyTorch "
            f"is: import torch, safetensors.torch as s; d = torch.load({str(path)!r}, "
            "weights_only=True); s.save_file({k: v.clone().contiguous() for k, v in "
            f"d.items()}}, {safe!r})"
        )


def same(array: np.ndarray, shape: Shape) -> np.ndarray | None:
    """Converts an array that lies as ours does, but for axes of length 1."""
    return array.reshape(shape) if long(array.shape) == long(shape) else None


def long(shape: Sequence[int]) -> Shape:
    """Returns a shape without its axes of length 1.

    What is a matrix to one library is a convolution of 1 x 1 to another.
    """
    return tuple(size for size in shape if size != 1)


def _converted(
    where: str,
    origins: Mapping[str, str],
    arrays: Mapping[str, np.ndarray],
    shapes: Mapping[str, Shape],
    layout: Layout,
    classifier: str,
) -> Iterator[tuple[str, np.ndarray]]:
    """Yields our names and arrays in our layout."""
    for ours, name in origins.items():
        array, shape = arrays[name], shapes[ours]
        width = -1 if name == ours else layout.width
        if _free(ours, classifier) and array.ndim:
            shape = (*shape[:-1], array.shape[width])
        if name == ours:
            laid_out = array if array.shape == shape else None
        else:
            laid_out = layout.convert(array, shape)
        if laid_out is None:
            expected = shape if name == ours else layout.there(shape)
            raise ConfigError(
                f"{where}: {name} has shape {list(array.shape)}, expected "
                f"{list(expected)}"
            )
        if not matching.is_float(array.dtype):
            raise ConfigError(f"{where}: {name} holds {array.dtype}, expected floats")
        yield ours, np.ascontiguousarray(laid_out, np.float32)


def _free(name: str, classifier: str) -> bool:
    return bool(classifier) and name.startswith(classifier)


def _content(held: Sequence[str]) -> str:
    if not held:
        return "it holds nothing"
    return f"found {', '.join(held[:_SHOWN])}" + (", ..." if len(held) > _SHOWN else "")
