"""JPEG files of photographs that come with scikit-image and scikit-learn, in pairs.

Each photograph is made smaller by a quarter, which takes the traces of its own
compression away, and cut to tiles, the references. Of each tile there are several files
from three encoders, and simulated raters compare them (`iqa.simulated_raters`).

In CIQA one encoder made all files. Of one photograph the higher quality factor then is
nearly always the better file, and no metric can do better than that rule. Encoders that
people meet disagree about what a factor means: one of ours keeps the chroma whole, one
has the same step for all frequencies.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from common.config import unknown
from common.data import decode
from common.data.sources import bundled, fake
from common.errors import ConfigError
from iqa import jpeg_pairs, simulated_raters
from iqa.pairs import Pair, PairSource, Version

# The least multiple of 16 on which all five scales of MS-SSIM are defined.
TILE = 176
_SHRINK = 1.25
# At most so many tiles of a photograph, evenly spread: the largest would have half.
_TILES = 6
# Least deviation of a tile, of 255 levels: of the black around a retina all files are
# alike.
_FLAT_TILE = 4.0
VERSIONS = 12  # of each tile
# Of a tile, of its 66; all of those that are evaluated, which are few.
PAIRS = {"train": 24, "eval": VERSIONS * (VERSIONS - 1) // 2}
_WORST, _BEST = 10, 100  # quality factors, as in CIQA
# A step at quality 50 for every frequency, scaled with the quality as libjpeg does;
# one that makes files about as large as the usual tables do.
_FLAT = 24
ENCODERS = ("standard", "full_chroma", "flat")
_FAKE = 16  # pairs of generated pictures
SETS: Mapping[str, tuple[str, ...]] = {"one": ENCODERS[:1], "three": ENCODERS}


def encode(tile: np.ndarray, encoder: str, quality: int) -> bytes:
    """Returns a file of a tile, uint8 `[H, W, 3]`, by one of `ENCODERS`.

    Raises:
      ConfigError: unknown encoder.
    """
    if encoder not in ENCODERS:
        raise ConfigError(unknown("encoder", encoder, ENCODERS))
    image = Image.fromarray(tile)
    if encoder == "flat":
        steps = [_scaled(_FLAT, quality)] * 64
        return jpeg_pairs.encode(image, quality, tables={0: steps, 1: steps})
    chroma = "4:4:4" if encoder == "full_chroma" else jpeg_pairs.SUBSAMPLING
    return jpeg_pairs.encode(image, quality, chroma)


def _scaled(step: int, quality: int) -> int:
    """Returns a step of quality 50 as jcparam.c of libjpeg scales it."""
    percent = 5000 // quality if quality < 50 else 200 - 2 * quality
    return min(max((step * percent + 50) // 100, 1), 255)


def preference_photos(split: str, encoders: str = "three", seed: int = 0) -> PairSource:
    """Makes the pairs.

    Thirteen photographs are for training and three, of everyday things, for evaluation.

    Args:
      split: "train" or "eval".
      encoders: a key of `SETS`.
      seed: of qualities, pairs and votes.

    Raises:
      ConfigError: unknown encoders.
    """
    if encoders not in SETS:
        raise ConfigError(unknown("config.data.name", encoders, SETS))
    return PairSource(_pairs(split, encoders, seed))


@functools.cache
def _pairs(split: str, encoders: str, seed: int) -> tuple[Pair, ...]:
    photographs: Any = bundled.open_bundled("photos", split)
    found: list[Pair] = []
    for index in range(len(photographs)):
        rng = np.random.default_rng((seed, split == "eval", index))
        for key, tile in _cut(photographs[index]["image"]):
            found += _compared(key, tile, SETS[encoders], PAIRS[split], rng)
    return tuple(found)


def _cut(path: str) -> list[tuple[str, np.ndarray]]:
    """Returns name and pixels of tiles of a photograph."""
    image = decode.decode(path)
    size = int(image.width / _SHRINK), int(image.height / _SHRINK)
    box = (0, 0, size[0] * _SHRINK, size[1] * _SHRINK)
    pixels = np.asarray(image.resize(size, Image.Resampling.BOX, box))
    places = [
        (top, left)
        for top in range(0, size[1] - TILE + 1, TILE)
        for left in range(0, size[0] - TILE + 1, TILE)
    ]
    tiles = [
        (f"{Path(path).stem}[{y},{x}]", pixels[y : y + TILE, x : x + TILE].copy())
        for y, x in places
    ]
    tiles = [(key, tile) for key, tile in tiles if tile.std() >= _FLAT_TILE]
    count = min(_TILES, len(tiles))
    chosen = np.linspace(0, len(tiles) - 1, count).round().astype(int)
    return [tiles[k] for k in chosen]


def _compared(
    key: str,
    tile: np.ndarray,
    encoders: Sequence[str],
    count: int,
    rng: np.random.Generator,
) -> list[Pair]:
    """Makes files of a tile, and has so many pairs of them compared."""
    # Different factors, so that the rule of the higher one always has an answer.
    qualities = rng.choice(np.arange(_WORST, _BEST + 1), VERSIONS, replace=False)
    versions = [
        _version(key, tile, encoders[k % len(encoders)], int(quality))
        for k, quality in enumerate(qualities)
    ]
    worth = [simulated_raters.worth(tile, version.picture) for version in versions]
    every = list(itertools.combinations(range(VERSIONS), 2))
    found = []
    for place in rng.choice(len(every), count, replace=False):
        i, j = every[place][:: rng.choice((1, -1))]
        share = simulated_raters.preference(worth[j] - worth[i], rng)
        raters = simulated_raters.RATERS
        found.append(Pair(key, tile, versions[i], versions[j], share, raters))
    return found


def _version(key: str, tile: np.ndarray, encoder: str, quality: int) -> Version:
    file = encode(tile, encoder, quality)
    pixels = np.asarray(decode.decode(file))
    return Version(f"{key} {encoder} {quality}", pixels, quality, len(file))


class FakePreferences(PairSource):
    """Generated pictures for `--fake_data`: the higher quality factor is preferred."""

    def __init__(self, split: str, image_size: Any):
        """Makes smooth pictures of the size that is trained with."""
        source = fake.FakePairs(split, image_size=image_size)
        # A few do: each step reads whole pictures, and nothing is to be learned.
        super().__init__([_fake(source[index], index) for index in range(_FAKE)])


def _fake(example: Mapping[str, Any], index: int) -> Pair:
    rng = np.random.default_rng(index)
    first, second = (int(q) for q in rng.choice(91, 2, replace=False) + _WORST)
    share = simulated_raters.preference((second - first) / 20, rng)
    one, other = (Version(f"quality {q}", quality=q) for q in (first, second))
    return Pair(example["name"], example["target"], one, other, share)
