"""Two versions of one picture, and how many people prefer the second.

An example has the reference as `"image"`, so that what cannot be read is treated as in
all data, and `"first"` and `"second"`, which are compared. JPEG works on blocks of 8
pixels, of halved chroma on 16: whatever is cut here begins and ends between them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from absl import logging
from PIL import Image

from common.data import decode
from common.data.transforms import Example, Map, RandomMap
from common.errors import ConfigError, DataError
from common.size import Size, height_width
from iqa import jpeg_pairs
from iqa.jpeg_pairs import BLOCK

PICTURES = ("image", "first", "second")
_KEPT = (*PICTURES, "preference", "id", "mask")
_NAMED = 5


@dataclasses.dataclass(frozen=True)
class Version:
    """What became of a reference.

    Attributes:
      name: that tells it from others of the reference.
      picture: path, encoded bytes or uint8 array; None where the reference is to be
        coded with `quality`.
      quality: factor of JPEG, where it is known.
      size: of the file in bytes, where it is known before the picture is made.
      opinion: mean score that people gave it, higher being better.
    """

    name: str
    picture: Any = None
    quality: int | None = None
    size: int | None = None
    opinion: float | None = None


@dataclasses.dataclass(frozen=True)
class Pair:
    """A comparison.

    Attributes:
      key: that names the reference.
      reference: path, encoded bytes or uint8 array.
      first: a version of it.
      second: another.
      preference: share of people who prefer the second.
      votes: how many were asked, where it is known.
    """

    key: str
    reference: Any
    first: Version
    second: Version
    preference: float
    votes: int | None = None


class PairSource:
    """Pairs with `"preference"`, the share of people who prefer the second."""

    class_names = ()

    def __init__(self, pairs: Sequence[Pair]):
        """Takes pairs in their final order.

        Raises:
          DataError: there are none.
        """
        if not pairs:
            raise DataError("no pair of versions with a preference")
        self.pairs = tuple(pairs)

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Returns a pair; its files are not opened."""
        pair = self.pairs[index]
        return {
            "image": pair.reference,
            "first": pair.first,
            "second": pair.second,
            "preference": np.float32(pair.preference),
            "id": index,
            "name": f"{pair.key}: {pair.first.name} or {pair.second.name}",
        }


def picture(version: Version, reference: Image.Image) -> Image.Image:
    """Returns a version as pixels.

    Raises:
      DataError: its file cannot be read, or is not of the reference's size.
    """
    if version.picture is None:
        assert version.quality is not None
        return decode.decode(jpeg_pairs.encode(reference, version.quality))
    try:
        found = decode.decode(version.picture)
    except Exception as error:  # Pillow raises many types for broken files.
        raise DataError(f"cannot read {version.name}: {error}") from error
    if found.size != reference.size:
        raise DataError(
            f"{version.name} has {found.width} x {found.height} pixels, its reference "
            f"{reference.width} x {reference.height}"
        )
    return found


def without_missing(pairs: Sequence[Pair]) -> list[Pair]:
    """Leaves out pairs of which a file is not there; counts and names them.

    Raises:
      DataError: no pair is left.
    """
    there: dict[str, bool] = {}
    for pair in pairs:
        for path in _paths(pair):
            if path not in there:
                there[path] = Path(path).is_file()
    kept = [pair for pair in pairs if all(there[path] for path in _paths(pair))]
    missing = [path for path, found in there.items() if not found]
    if not kept:
        raise DataError(
            f"none of {len(pairs)} pairs has its files; missing: {some(missing)}"
        )
    if missing:
        logging.warning(
            "%d of %d pairs are left out, %d files are not there: %s",
            *(len(pairs) - len(kept), len(pairs), len(missing), some(missing)),
        )
    return kept


def _paths(pair: Pair) -> list[str]:
    given = (pair.reference, pair.first.picture, pair.second.picture)
    return [path for path in given if isinstance(path, str)]


def some(names: Sequence[Any]) -> str:
    """Returns the first few, and how many more there are."""
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(map(str, names[:_NAMED])) + more


@dataclasses.dataclass(frozen=True)
class Decode(Map):
    """Makes the versions, and arrays `[H, W, 3]` of all three."""

    def map(self, element: Example) -> Example:
        """Replaces the pictures by their arrays, uint8."""
        reference = element["image"]
        if element.get("mask", True):
            made = {k: picture(element[k], reference) for k in ("first", "second")}
        else:  # the stand-in of a reference that cannot be read
            made = dict.fromkeys(("first", "second"), reference)
        arrays = {k: np.asarray(v) for k, v in {"image": reference, **made}.items()}
        return {key: {**element, **arrays}[key] for key in _KEPT if key in element}


@dataclasses.dataclass(frozen=True)
class AlignedCrop(RandomMap):
    """Cuts the same window out of all three, between blocks.

    Pictures that are smaller are continued by mirrored blocks.
    """

    size: Size

    def __post_init__(self):
        check_aligned(self.size)

    def random_map(self, element: Example, rng: np.random.Generator) -> Example:
        """Replaces the pictures by their windows."""
        height, width = height_width(self.size)
        arrays = {k: _at_least(element[k], height, width) for k in PICTURES}
        rows, columns, _ = arrays["image"].shape
        top = BLOCK * int(rng.integers((rows - height) // BLOCK + 1))
        left = BLOCK * int(rng.integers((columns - width) // BLOCK + 1))
        cut = {
            key: np.ascontiguousarray(array[top : top + height, left : left + width])
            for key, array in arrays.items()
        }
        return {**element, **cut}


@dataclasses.dataclass(frozen=True)
class AlignedFlip(RandomMap):
    """Mirrors left and right with probability 1/2, if blocks then still are blocks."""

    def random_map(self, element: Example, rng: np.random.Generator) -> Example:
        """Mirrors all three or leaves them."""
        if element["image"].shape[1] % BLOCK or rng.random() < 0.5:
            return element
        mirrored = {k: np.ascontiguousarray(element[k][:, ::-1]) for k in PICTURES}
        return {**element, **mirrored}


@dataclasses.dataclass(frozen=True)
class WholeBlocks(Map):
    """Cuts off at right and bottom what is no whole block: at most 15 pixels.

    So there are few sizes, for each of which a program is compiled.
    """

    def map(self, element: Example) -> Example:
        """Replaces the pictures."""
        return {**element, **{key: whole(element[key]) for key in PICTURES}}


def check_aligned(size: Size) -> None:
    """Refuses crops that would not end between blocks.

    Raises:
      ConfigError: naming the size.
    """
    if any(side % BLOCK for side in height_width(size)):
        raise ConfigError(
            f"config.data.image_size={size} must be a multiple of {BLOCK}: JPEG codes "
            f"{BLOCK} x {BLOCK} pixels at once"
        )


def whole(array: np.ndarray) -> np.ndarray:
    """Leaves whole blocks; of a side without one, everything."""
    height, width = (side // BLOCK * BLOCK or side for side in array.shape[:2])
    return np.ascontiguousarray(array[:height, :width])


def _at_least(array: np.ndarray, height: int, width: int) -> np.ndarray:
    """Continues whole blocks by mirroring at their edge, where there are too few."""
    if array.shape[0] >= height and array.shape[1] >= width:
        return array
    array = whole(array)
    sides = zip(array.shape[:2], (height, width), strict=True)
    around = [(0, max(wanted - side, 0)) for side, wanted in sides]
    return np.pad(array, (*around, (0, 0)), mode="symmetric")
