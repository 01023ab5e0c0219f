"""Host transforms that treat an image and its target alike.

For restoration: `"image"` is what a model is given and `"target"` what it should
return. Each transform takes PIL images or arrays `[H, W, 3]` of any type, gives
arrays, and works as well while there is no target yet, before a degradation makes
one. No pixel is resampled.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from common.data.decode import PICTURES
from common.data.transforms import Example, Map, RandomMap
from common.errors import ConfigError
from common.size import Size, height_width


@dataclasses.dataclass(frozen=True)
class RandomCrop(RandomMap):
    """Cuts a window of `size` from a uniformly random place.

    An image with a shorter side is first continued by reflection (the edge pixel is
    not repeated), half on either side.
    """

    size: Size

    def __post_init__(self):
        height_width(self.size)

    def random_map(self, element: Example, rng: np.random.Generator) -> Example:
        """Replaces the pictures by their windows."""
        size = height_width(self.size)
        rows, columns = (
            max(side - wanted, 0) + 1
            for side, wanted in zip(_sides(element), size, strict=True)
        )
        corner = int(rng.integers(rows)), int(rng.integers(columns))
        return _each(element, lambda picture: _window(picture, corner, size))


@dataclasses.dataclass(frozen=True)
class CenterCrop(Map):
    """Cuts the window of `size` in the middle, to the upper left where it is uneven.

    Smaller images are continued as by `RandomCrop`.
    """

    size: Size

    def __post_init__(self):
        height_width(self.size)

    def map(self, element: Example) -> Example:
        """Replaces the pictures by their windows."""
        size = height_width(self.size)
        top, left = (
            max(side - wanted, 0) // 2
            for side, wanted in zip(_sides(element), size, strict=True)
        )
        return _each(element, lambda picture: _window(picture, (top, left), size))


@dataclasses.dataclass(frozen=True)
class RandomOrientation(RandomMap):
    """Mirrors and turns at random.

    Attributes:
      flip: mirror left and right, and up and down, each with probability 1/2.
      rotate: turn by 0, 90, 180 or 270 degrees with equal probability; pictures must
        be square. With both, the eight orientations are equally likely.
    """

    flip: bool = True
    rotate: bool = True

    def random_map(self, element: Example, rng: np.random.Generator) -> Example:
        """Replaces the pictures by turned ones."""
        height, width = _sides(element)
        if self.rotate and height != width:
            raise ConfigError(
                f"only square pictures can be rotated, these have {width} x {height} "
                "pixels: choose a square crop, or no rotation"
            )
        mirrored = rng.random(2) < 0.5
        axes = tuple(axis for axis in (0, 1) if self.flip and mirrored[axis])
        turns = int(rng.integers(4)) if self.rotate else 0

        def orient(picture: Any) -> np.ndarray:
            turned = np.rot90(np.flip(np.asarray(picture), axes), turns)
            return np.ascontiguousarray(turned)

        return _each(element, orient)


@dataclasses.dataclass(frozen=True)
class ToArrays(Map):
    """Turns what is still a PIL image into a uint8 array, and drops the label.

    Sources of single photographs label them; restoration has no use for that, and its
    batches would differ from those of pairs.
    """

    def map(self, element: Example) -> Example:
        """Replaces the pictures by their arrays."""
        kept = {key: value for key, value in element.items() if key != "label"}
        return _each(kept, np.asarray)


def _each(example: Example, change: Callable[[Any], np.ndarray]) -> Example:
    changed = {key: change(example[key]) for key in PICTURES if key in example}
    return {**example, **changed}


def _sides(example: Example) -> tuple[int, int]:
    """Returns (height, width), which a picture and its target share."""
    picture = example["image"]
    if isinstance(picture, np.ndarray):
        return picture.shape[0], picture.shape[1]
    return picture.height, picture.width


def _window(picture: Any, corner: tuple[int, int], size: tuple[int, int]) -> np.ndarray:
    """Cuts before it converts: of a large PIL image only the window is copied."""
    (top, left), (height, width) = corner, size
    if isinstance(picture, np.ndarray):
        cut = np.ascontiguousarray(picture[top : top + height, left : left + width])
    else:
        right = min(left + width, picture.width)
        bottom = min(top + height, picture.height)
        cut = np.asarray(picture.crop((left, top, right, bottom)))
    missing = height - cut.shape[0], width - cut.shape[1]
    if not any(missing):
        return cut
    around = [(amount // 2, amount - amount // 2) for amount in missing]
    return np.pad(cut, (*around, (0, 0)), mode="reflect")
