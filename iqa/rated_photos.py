"""Photographs that come with scikit-image and scikit-learn, degraded by known amounts.

Each is made smaller, which takes the traces of its own compression away. For training
it is cut to tiles at three scales, for evaluation its middle is taken; every piece is
there clean and with four kinds of degradation at five levels. Its quality follows from
the level alone, and its votes are simulated (`iqa.raters`). The levels of each kind
were chosen by eye to look about equally bad; our choice, all of it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from common.data.degradations import filters
from common.data.degradations.jpeg import Jpeg
from common.data.sources import bundled, photo_tiles
from iqa import raters

TILE, WHOLE = 112, 256
_STRIDE = 96
_SHRINK = {"train": (1.5, 2.2, 3.2), "eval": (1.5,)}
BEST, STEP = 8.5, 1.4  # quality of a clean tile, and what each level takes
_Degrade = Callable[[np.ndarray, float, np.random.Generator], np.ndarray]


def _noise(tile: np.ndarray, sigma: float, rng: np.random.Generator) -> np.ndarray:
    drawn = rng.normal(0, sigma / 255, tile.shape).astype(np.float32)
    return np.clip(tile + drawn, 0, 1)


def _blur(tile: np.ndarray, sigma: float, rng: np.random.Generator) -> np.ndarray:
    del rng
    return filters.gaussian(tile, sigma)


def _jpeg(tile: np.ndarray, quality: float, rng: np.random.Generator) -> np.ndarray:
    return Jpeg(quality)(tile, rng)


def _enlarged(tile: np.ndarray, factor: float, rng: np.random.Generator) -> np.ndarray:
    """Makes it smaller by a factor and as large as it was again."""
    del rng
    image = Image.fromarray(np.rint(tile * 255).astype(np.uint8))
    small = (round(image.width / factor), round(image.height / factor))
    again = image.resize(small, Image.Resampling.BICUBIC).resize(
        image.size, Image.Resampling.BICUBIC
    )
    return np.asarray(again, np.float32) / np.float32(255)


# Kind -> what does it, and the five amounts: standard deviation in pixels and in 255
# levels, libjpeg's quality, factor.
KINDS: dict[str, tuple[_Degrade, tuple[float, ...]]] = {
    "blur": (_blur, (0.7, 1.1, 1.7, 2.6, 4.0)),
    "noise": (_noise, (5, 10, 18, 30, 50)),
    "jpeg": (_jpeg, (55, 30, 17, 9, 4)),
    "enlarged": (_enlarged, (1.6, 2.2, 3.2, 4.6, 7.0)),
}
LEVELS = 5


class RatedPhotos:
    """Pieces of photographs, uint8, with `"scores"`, float32 `[10]`.

    Tiles `[TILE, TILE, 3]` of thirteen photographs are for training, the middles
    `[WHOLE, WHOLE, 3]` of three others, of everyday things, for evaluation. An
    example's name tells photograph and scale, place, kind and level:
    `coffee/1.5[5,72] blur 3`.
    """

    class_names = ()
    num_scores = 10

    def __init__(self, split: str, seed: int = 0):
        """Cuts the photographs.

        Args:
          split: "train" or "eval".
          seed: of noise and votes.
        """
        photographs: Any = bundled.open_bundled("photos", split)
        paths = [photographs[index]["image"] for index in range(len(photographs))]
        cut = _tiles if split == "train" else _middle
        self._pieces = [
            piece for path in paths for f in _SHRINK[split] for piece in cut(path, f)
        ]
        self._seed = (seed, split == "eval")
        graded = [(kind, level) for kind in KINDS for level in range(1, LEVELS + 1)]
        self._versions = [("clean", 0), *graded]

    def __len__(self) -> int:
        return len(self._pieces) * len(self._versions)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Returns a piece in one of its versions, the same each time."""
        piece, version = divmod(index, len(self._versions))
        name, pixels = self._pieces[piece]
        kind, level = self._versions[version]
        rng = np.random.default_rng((*self._seed, index))
        votes = raters.histogram(BEST - STEP * level, rng)
        return {
            "image": degrade(pixels, kind, level, rng),
            "scores": (votes / votes.sum()).astype(np.float32),
            "id": index,
            "name": f"{name} {kind} {level}" if level else f"{name} clean",
        }


class FakeRated:
    """Generated pictures for `--fake_data`: brighter ones have the better scores."""

    class_names = ()
    num_scores = 10

    def __init__(self, split: str, image_size: Any):
        """Makes them of the size that is trained with."""
        from common.data.sources import fake

        self._source = fake.FakeSource(split, image_size=image_size, num_classes=10)

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Returns a picture; its scores follow from its mean."""
        example = dict(self._source[index])
        rng = np.random.default_rng(index)
        votes = raters.histogram(1 + 9 * np.mean(example["image"]) / 255, rng)
        del example["label"]
        return {**example, "scores": (votes / votes.sum()).astype(np.float32)}


def degrade(
    tile: np.ndarray, kind: str, level: int, rng: np.random.Generator
) -> np.ndarray:
    """Returns a tile, uint8, degraded to a level; level 0 leaves it."""
    if not level:
        return tile
    function, amounts = KINDS[kind]
    found = function(tile.astype(np.float32) / 255, amounts[level - 1], rng)
    return np.rint(np.clip(found, 0, 1) * 255).astype(np.uint8)


def _tiles(path: str, factor: float) -> list[tuple[str, np.ndarray]]:
    """Returns name and pixels of the tiles of a photograph; neighbours overlap."""
    pixels = photo_tiles.shrink(path, factor)
    return [
        (_name(path, factor, top, left), pixels[top : top + TILE, left : left + TILE])
        for top in range(0, pixels.shape[0] - TILE + 1, _STRIDE)
        for left in range(0, pixels.shape[1] - TILE + 1, _STRIDE)
    ]


def _middle(path: str, factor: float) -> list[tuple[str, np.ndarray]]:
    """Returns name and pixels of the middle of a photograph."""
    pixels = photo_tiles.shrink(path, factor)
    top, left = ((side - WHOLE) // 2 for side in pixels.shape[:2])
    middle = pixels[top : top + WHOLE, left : left + WHOLE]
    return [(_name(path, factor, top, left), middle)]


def _name(path: str, factor: float, top: int, left: int) -> str:
    return f"{Path(path).stem}/{factor:g}[{top},{left}]"
