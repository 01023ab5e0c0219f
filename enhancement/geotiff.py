"""Restores GeoTIFF scenes of any size, and keeps where they lie on the ground.

A scene is read tile by tile and its result written row by row, so that neither has to
fit into memory. Needs rasterio: `pip install "multiaxis[geo]"`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from common.errors import ConfigError, DataError
from common.restoration.tiles import Tiling
from enhancement import geotiff_result, geotiff_scene, geotiff_values
from enhancement.geotiff_result import Result
from enhancement.geotiff_scene import Scene
from enhancement.geotiff_values import Range

Function = Callable[[np.ndarray], np.ndarray]

SUFFIXES = (".tif", ".tiff")
# Rows of the result that are turned to levels at a time.
_ROWS = 128


class Summary(NamedTuple):
    """What was made: the size of the result, its bands, and which values were 0 and 1.

    The bands are numbers of the scene's, from 1, without its alpha.
    """

    height: int
    width: int
    bands: tuple[int, ...]
    value_range: tuple[float, float]


def convert(
    source: Path,
    result: Path,
    function: Function,
    *,
    scale: int,
    tiling: Tiling,
    bands: int | None = None,
    pick: Sequence[int] | None = None,
    value_range: tuple[float, float] | None = None,
    progress: bool = True,
) -> Summary:
    """Restores or enlarges a scene.

    The result has `scale` times the rows and columns, and the scene's data type,
    coordinates, tags and missing values. It appears whole or not at all.

    The network gets all bands at once if it takes as many; one that takes a single
    band gets them one after the other. Missing values are those of the file's nodata
    value, alpha or mask, and what is not finite. They are shown to the network as the
    nearest value of their band and tile that is there, and are repeated in the result.
    Tiles with nothing else are not shown to it.

    Memory is needed for about twice a row of tiles of the result in float32, and 300
    MB: 1.3 GB for rows of 20,000 pixels of three bands, tiles of 512 and scale 2.

    With `tiling.margin` of at least the radius of what a result pixel depends on, and
    twice that if values are missing, the result is as if made of one tile.

    Args:
      source: GeoTIFF of uint8, uint16, int16 or float32.
      result: `.tif` file to make or replace.
      function: the network; float32 `[h, w, B]`, in [0, 1] within `value_range`, to
        `[h * scale, w * scale, B]`, for any sides up to those of a tile.
      scale: of `function`, 1 for restoration.
      tiling: in pixels of the scene.
      bands: how many `function` takes; None: any number.
      pick: numbers of the bands to take, from 1 and in this order; by default all but
        an alpha band, which is kept in any case.
      value_range: what 0 and 1 are for the network, in values of the file. Others
        pass, beyond 0 and 1. By default [0, 255] for uint8; [0, the largest that is
        there] for 16 bits, or from the least if that is negative, since products of
        11 or 12 bits say their range nowhere; and [0, 1] for float32.
      progress: show a bar, where stderr is a terminal.

    Returns:
      What was made.

    Raises:
      ConfigError: the arguments cannot be, or rasterio is not installed.
      DataError: the scene is unreadable, of a type or number of bands that does not
        fit, or empty; or what the network makes is not finite.
      OSError: the file system refused, e.g. because it is full.
    """
    _check(source, result, scale)
    chosen = None if value_range is None else Range.of(value_range)
    with geotiff_scene.opened(source, pick) as scene:
        run = _on_bands(function, scene, scale, bands)
        values = _range(scene, chosen)
        tiles = tiling.count(scene.height, scene.width)
        hidden = not (progress and sys.stderr.isatty())
        with (
            geotiff_result.opened(result, scene, scale) as target,
            tqdm(total=tiles, unit="tile", disable=hidden) as bar,
        ):

            def read(rows: slice, columns: slice) -> np.ndarray:
                return values.to_unit(*scene.read(rows, columns))

            def restore(tile: np.ndarray) -> np.ndarray:
                restored = run(tile)
                bar.update()
                return restored

            size = scene.height, scene.width
            for row, block in tiling.stream(read, restore, *size, scale):
                _finish(scene, target, row, block, scale, values)
                del block  # or it would be in memory beside the next row of tiles
        return Summary(size[0] * scale, size[1] * scale, scene.bands, tuple(values))


def _check(source: Path, result: Path, scale: int) -> None:
    if scale < 1:
        raise ConfigError(f"scale={scale} must be at least 1")
    if result.suffix.lower() not in SUFFIXES:
        raise ConfigError(f"{result} must be a {' or '.join(SUFFIXES)} file")
    if result.is_dir():
        raise ConfigError(f"{result} is a folder")
    if source.exists() and result.exists() and source.samefile(result):
        raise ConfigError(f"{result} would replace the scene it is made of")


def _range(scene: Scene, chosen: Range | None) -> Range:
    """Returns the values of 0 and 1, after a look at what there is."""
    if chosen is not None or scene.dtype == np.uint8:
        scene.check_any_valid()
        return chosen or Range(0, 255)
    low, high = scene.limits()
    if scene.dtype != np.float32:
        low = min(low, 0)
        return Range(low, max(high, low + 1))
    if low < geotiff_values.LOWEST or high > geotiff_values.HIGHEST:
        raise DataError(
            f"{scene.path} has values in [{low:g}, {high:g}], not [0, 1]; say which "
            "are black and white with value_range=low,high"
        )
    return Range(0, 1)


def _on_bands(
    function: Function, scene: Scene, scale: int, bands: int | None
) -> Function:
    """Returns a function for tiles of all bands that may have missing values."""
    count = len(scene.bands)
    if bands is not None and bands not in (1, count):
        example = ",".join(map(str, range(1, bands + 1)))
        advice = f"; choose e.g. --bands={example}" if bands < scene.count else ""
        raise DataError(
            f"the network takes {bands} bands, of {scene.path} it gets {count}{advice}"
        )

    def run(part: np.ndarray) -> np.ndarray:
        shape = part.shape[0] * scale, part.shape[1] * scale, part.shape[2]
        if np.isnan(part).all():
            return np.zeros(shape, np.float32)
        made = np.asarray(function(geotiff_values.fill(part)), np.float32)
        if made.shape != shape:
            raise ValueError(
                f"the network made {list(made.shape)} of {list(part.shape)} at scale "
                f"{scale}; expected {list(shape)}"
            )
        return made

    def one_by_one(tile: np.ndarray) -> np.ndarray:
        return np.concatenate([run(x) for x in np.split(tile, count, axis=2)], axis=2)

    return one_by_one if bands == 1 else run


def _finish(
    scene: Scene,
    target: Result,
    row: int,
    block: np.ndarray,
    scale: int,
    values: Range,
) -> None:
    """Writes restored rows `[n, W * scale, B]`, with what was missing in them.

    A few at a time: the rows of a row of tiles can be hundreds of megabytes.
    """
    step = max(_ROWS // scale, 1) * scale
    for start in range(0, len(block), step):
        part = block[start : start + step]
        first = (row + start) // scale
        rows = slice(first, first + len(part) // scale)
        given, valid = scene.read(rows, slice(0, scene.width))
        levels = values.to_levels(part, valid, scale, scene.dtype, scene.nodata)
        if not valid.all():
            levels = np.where(_repeat(valid, scale), levels, _repeat(given, scale))
        alpha, mask = scene.read_alpha(rows), scene.read_mask(rows)
        if alpha is not None:
            alpha = _repeat(alpha, scale)[..., None]
            levels = np.concatenate([levels, alpha], axis=2)
        target.add(levels, None if mask is None else _repeat(mask, scale))


def _repeat(pixels: np.ndarray, scale: int) -> np.ndarray:
    return pixels.repeat(scale, 0).repeat(scale, 1)
