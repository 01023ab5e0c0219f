"""Square tiles of photographs; the class of a tile is the photograph it is cut from.

A classification of real pixels that needs no download, made for judging codecs: what
tells the classes apart is texture, which coding takes away. Every channel of a tile has
mean 128, since its mean colour alone, which coding keeps, would often do.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from common.data.decode import decode
from common.errors import DataError

TILE = 48  # three times the 16 pixels that a block of subsampled chroma covers
# All numbers here are our choice.
_EVAL_FRACTION = 0.4
# Standard deviation, of 255 levels: the black around a photographed retina has none.
_FLAT = 2.0
_MEAN = 128


class PhotoTiles:
    """Tiles as uint8 arrays `[TILE, TILE, 3]`.

    Each photograph is divided into a grid of tiles, of which a fixed share, drawn by
    chance, is for evaluation. For training there are the others and, half a tile apart,
    those between them; none shares a pixel with a tile for evaluation.

    An example's name holds photograph, top and left: `brick[24,96]`.
    """

    def __init__(
        self,
        photographs: Sequence[tuple[str, float]],
        split: str,
        split_seed: int = 0,
    ):
        """Reads and cuts the photographs.

        Args:
          photographs: pairs of a path and the factor by which its sides are divided
            first, above 1: a JPEG file's quantisation, on a grid of its own, is part of
            its pixels, and averaging them takes it away.
          split: `"train"` or `"eval"`.
          split_seed: seed of the split; both splits must use the same.

        Raises:
          DataError: a photograph is too small for both splits.
        """
        self.class_names = tuple(Path(path).stem for path, _ in photographs)
        self._examples: list[dict[str, Any]] = []
        for label, (path, factor) in enumerate(photographs):
            pixels = shrink(path, factor)
            held_out = _draw(pixels, np.random.default_rng((split_seed, label)))
            places = held_out if split == "eval" else _between(pixels, held_out)
            if not places:
                raise DataError(f"{path} is too small for {split} tiles of {TILE}")
            for top, left in places:
                self._examples.append(
                    {
                        "image": _level(_cut(pixels, top, left)),
                        "label": label,
                        "id": len(self._examples),
                        "name": f"{self.class_names[label]}[{top},{left}]",
                    }
                )

    def __len__(self) -> int:
        return len(self._examples)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Returns one tile and its class."""
        return dict(self._examples[index])


def shrink(path: str, factor: float) -> np.ndarray:
    """Reads an image and averages its pixels to a smaller one, uint8."""
    image = decode(path)
    size = int(image.width / factor), int(image.height / factor)
    box = (0, 0, size[0] * factor, size[1] * factor)
    return np.asarray(image.resize(size, Image.Resampling.BOX, box))


def _draw(pixels: np.ndarray, rng: np.random.Generator) -> list[tuple[int, int]]:
    """Returns top and left of the tiles for evaluation."""
    grid = list(_grid(pixels, TILE))
    chosen = rng.permutation(len(grid))[: round(_EVAL_FRACTION * len(grid))]
    return [grid[index] for index in np.sort(chosen)]


def _between(
    pixels: np.ndarray, held_out: Sequence[tuple[int, int]]
) -> list[tuple[int, int]]:
    """Returns the places for training, which overlap each other by half."""
    free = np.ones(pixels.shape[:2], bool)
    for top, left in held_out:
        _cut(free, top, left)[...] = False
    return [place for place in _grid(pixels, TILE // 2) if _cut(free, *place).all()]


def _grid(pixels: np.ndarray, stride: int) -> Iterator[tuple[int, int]]:
    """Yields the places of tiles with something on them."""
    for top in range(0, pixels.shape[0] - TILE + 1, stride):
        for left in range(0, pixels.shape[1] - TILE + 1, stride):
            if _cut(pixels, top, left).std((0, 1)).max() >= _FLAT:
                yield top, left


def _cut(pixels: np.ndarray, top: int, left: int) -> np.ndarray:
    """Returns a view of one tile."""
    return pixels[top : top + TILE, left : left + TILE]


def _level(tile: np.ndarray) -> np.ndarray:
    """Moves the mean of every channel to 128, but for what is clipped."""
    moved = tile - tile.mean((0, 1)) + _MEAN
    return np.clip(np.rint(moved), 0, 255).astype(np.uint8)
