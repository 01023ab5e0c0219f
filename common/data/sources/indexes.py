"""Pairs that a file lists or holds: RealBlur's text lists, SIDD's validation blocks.

RealBlur comes with `RealBlur_J_train_list.txt` and the like: lines of the paths of the
sharp and the blurred image, in this order. SIDD's validation images are two MATLAB
files of 40 x 32 blocks of 256 x 256 pixels. Both as public loaders read them; the sets
themselves were not at hand.
"""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from common.data.sources.listing import Entry, Tree
from common.errors import DataError

_LIST = re.compile(r"(?P<set>.+)_(?P<split>train|test)_list\.txt")
_NOISY, _CLEAN = "ValidationNoisyBlocksSrgb", "ValidationGtBlocksSrgb"


class Block(NamedTuple):
    """One image inside a MATLAB file.

    Attributes:
      path: of the file, relative to the root. It holds an array `[images, blocks, H, W,
        3]` of uint8 by the file's own name.
      index: of the block, counted through all images.
    """

    path: str
    index: int

    def __str__(self) -> str:
        return f"{self.path}[{self.index}]"

    def read(self, root: str) -> np.ndarray:
        """Returns uint8 `[H, W, 3]`; the file is read once per process."""
        return _blocks(os.path.join(root, self.path))[self.index]


def entries(root: str, files: Tree) -> list[Entry]:
    """Returns the pairs of every list and block file below `root`.

    Raises:
      DataError: a listed file is not there, or a block file cannot be read.
    """
    found: list[Entry] = []
    for folder, names in files.items():
        for name in names:
            match = _LIST.fullmatch(name)
            if match:
                scope = f"{folder}/{match['set']}/{match['split']}".strip("/")
                found += _listed(root, folder, name, scope)
        if f"{_NOISY}.mat" in names:
            found += _validation_blocks(root, folder)
    return found


def _listed(root: str, folder: str, name: str, scope: str) -> Iterator[Entry]:
    """Reads lines "sharp blurred": paths from the list's folder or the root on."""
    path = os.path.join(root, folder, name)
    with open(path, encoding="utf-8", errors="replace") as opened:
        lines = [line.split() for line in opened if line.strip()]
    for number, words in enumerate(lines, 1):
        if len(words) < 2:
            raise DataError(f"{path} line {number}: not a pair of paths: {words[0]}")
        sharp, blurred = (_find(root, folder, word) for word in words[:2])
        for word, there in zip(words, (sharp, blurred), strict=False):
            if there is None:
                raise DataError(f"{path} line {number}: no file {word}")
        yield Entry(scope, blurred, sharp)


def _find(root: str, folder: str, name: str) -> str | None:
    """Returns the path relative to the root."""
    for start in dict.fromkeys((folder, "")):
        place = os.path.normpath(os.path.join(start, name))
        if os.path.isfile(os.path.join(root, place)):
            return place
    return None


def _validation_blocks(root: str, folder: str) -> list[Entry]:
    paths = [f"{folder}/{name}.mat".lstrip("/") for name in (_NOISY, _CLEAN)]
    noisy, clean = (os.path.join(root, path) for path in paths)
    if not os.path.isfile(clean):
        raise DataError(f"{noisy} has no target: no file {clean}")
    shape, other = _shape(noisy), _shape(clean)
    if shape != other:
        raise DataError(f"{noisy} and {clean} differ in shape: {shape} and {other}")
    scope = f"{folder}/validation".lstrip("/")
    return [
        Entry(scope, *(Block(path, index) for path in paths))
        for index in range(shape[0] * shape[1])
    ]


def _shape(path: str) -> tuple[int, ...]:
    """Returns the shape of the array without reading its values."""
    from scipy import io

    name = os.path.splitext(os.path.basename(path))[0]
    try:
        shapes = {key: shape for key, shape, _ in io.whosmat(path)}
    # Of HDF5, MATLAB's newer format, SciPy says NotImplementedError.
    except Exception as error:
        raise DataError(f"cannot read {path}: {error!r}") from error
    shape = shapes.get(name, ())
    if len(shape) != 5 or shape[-1] != 3:
        raise DataError(f"{path} holds {shapes}, not {name} [images, blocks, H, W, 3]")
    return shape


@functools.lru_cache(maxsize=2)
def _blocks(path: str) -> np.ndarray:
    from scipy import io

    name = os.path.splitext(os.path.basename(path))[0]
    array = io.loadmat(path, variable_names=[name])[name]
    return np.ascontiguousarray(array).reshape(-1, *array.shape[2:])
