"""Writes a GeoTIFF row by row, on the ground where the scene lies it is made of."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Generator
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from common import atomic
from enhancement.geotiff_scene import Scene, library

if TYPE_CHECKING:
    from rasterio.io import DatasetReader, DatasetWriter

# Side of the blocks of the file; our choice.
BLOCK = 256
# What GDAL makes itself, or what is not true of the result.
_OWN_DOMAINS = {
    "COLOR_PROFILE",
    "DERIVED_SUBDATASETS",
    "GEOLOCATION",
    "IMAGE_STRUCTURE",
    "RPC",
    "SUBDATASETS",
}


class Result:
    """A file that grows from top to bottom.

    Blocks are compressed one by one, so that rows are collected until they fill some:
    a block that is written twice would leave a gap in the file.
    """

    def __init__(self, dataset: DatasetWriter):
        self._dataset: Any = dataset  # whose stubs know other arrays than NumPy's
        shape = min(BLOCK, dataset.height), dataset.width
        self._rows = np.empty((*shape, dataset.count), dataset.dtypes[0])
        self._mask = np.empty(shape, np.uint8)
        self._written = self._waiting = 0

    def add(self, values: np.ndarray, mask: np.ndarray | None = None) -> None:
        """Adds the next rows.

        Args:
          values: `[n, W, B]` of the type of the file.
          mask: uint8 `[n, W]`, 0 where nothing is; for all rows or for none.
        """
        while len(values):
            free = slice(self._waiting, len(self._rows))
            count = min(len(values), free.stop - free.start)
            self._rows[free][:count] = values[:count]
            if mask is not None:
                self._mask[free][:count] = mask[:count]
                mask = mask[count:]
            values = values[count:]
            self._waiting += count
            ends = self._written + self._waiting == self._dataset.height
            if self._waiting == len(self._rows) or ends:
                self._write(mask is not None)

    def _write(self, masked: bool) -> None:
        first, count = self._written, self._waiting
        window = (first, first + count), (0, self._dataset.width)
        bands = np.ascontiguousarray(np.moveaxis(self._rows[:count], -1, 0))
        self._dataset.write(bands, window=window)
        if masked:
            self._dataset.write_mask(self._mask[:count], window=window)
        self._written, self._waiting = first + count, 0


@contextlib.contextmanager
def opened(path: Path, scene: Scene, scale: int) -> Generator[Result, None, None]:
    """Makes the result of a scene; the file appears whole or not at all.

    It is tiled, compressed without loss, and a BigTIFF if it may become large.

    Args:
      path: of the file to create or replace.
      scene: from which all but the pixels is taken.
      scale: of the result.

    Yields:
      The result, for the body to add all rows to.

    Raises:
      OSError: the file system refused.
    """
    rasterio = library()
    # Else GDAL would write masks and some tags to files beside the temporary one.
    options = {"GDAL_TIFF_INTERNAL_MASK": True, "GDAL_PAM_ENABLED": False}
    hint = ""
    with atomic.replacing(path) as temporary, rasterio.Env(**options):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
                dataset = rasterio.open(temporary, "w", **_profile(scene, scale))
            hint = "; is the disk full?"  # GDAL does not say what else
            with dataset:
                _describe(dataset, scene, scale)
                yield Result(dataset)
            _check_whole(temporary, scene.masked, rasterio)
        except rasterio.errors.RasterioError as error:
            reason = " ".join(str(error.__cause__ or error).split())
            raise OSError(f"{path} cannot be written: {reason}{hint}") from error


def _profile(scene: Scene, scale: int) -> dict[str, Any]:
    from affine import Affine
    from rasterio.enums import ColorInterp

    source = scene.dataset
    kinds = [source.colorinterp[band - 1] for band in scene.bands[:3]]
    colours = [ColorInterp.red, ColorInterp.green, ColorInterp.blue]
    profile = {
        "driver": "GTiff",
        "width": scene.width * scale,
        "height": scene.height * scale,
        "count": len(scene.bands) + (scene.alpha is not None),
        "dtype": scene.dtype.name,
        "tiled": True,
        "blockxsize": BLOCK,
        "blockysize": BLOCK,
        "interleave": "pixel",
        "photometric": "RGB" if kinds == colours else "MINISBLACK",
        "compress": "deflate",
        "predictor": 3 if scene.dtype == np.float32 else 2,
        "BIGTIFF": "IF_SAFER",
        "crs": source.crs,
        "nodata": scene.nodata,
    }
    # Without coordinates, rasterio says that a pixel is a unit.
    if source.transform != Affine.identity() or source.crs is not None:
        a, b, c, d, e, f = source.transform[:6]
        profile["transform"] = Affine(a / scale, b / scale, c, d / scale, e / scale, f)
    return profile


def _describe(target: DatasetWriter, scene: Scene, scale: int) -> None:
    """Copies all that is not pixels."""
    source = scene.dataset
    bands = [*scene.bands, *([scene.alpha] if scene.alpha is not None else [])]
    target.colorinterp = [source.colorinterp[band - 1] for band in bands]
    for domain in [None, *source.tag_namespaces()]:
        own = domain and (domain in _OWN_DOMAINS or domain.startswith("xml:"))
        if not own:
            target.update_tags(ns=domain, **source.tags(ns=domain))
    for number, band in enumerate(bands, start=1):
        tags = source.tags(band).items()
        kept = {key: value for key, value in tags if not key.startswith("STATISTICS_")}
        target.update_tags(number, **kept)
        if description := source.descriptions[band - 1]:
            target.set_band_description(number, description)
        if unit := source.units[band - 1]:
            target.set_band_unit(number, unit)
    for name, usual in (("scales", 1.0), ("offsets", 0.0)):
        given = [getattr(source, name)[band - 1] for band in bands]
        if any(value != usual for value in given):
            setattr(target, name, given)
    _copy_points(target, source, scale)


def _copy_points(target: DatasetWriter, source: DatasetReader, scale: int) -> None:
    """Copies ground control points and the coefficients of a camera's model."""
    points, crs = source.gcps
    for point in points:
        # Counted from the corner of the first pixel.
        point.row *= scale
        point.col *= scale
    if points:
        target.gcps = points, crs
    if (model := source.rpcs) is not None:
        # Counted from the centre of the first pixel.
        model.line_off = (model.line_off + 0.5) * scale - 0.5
        model.samp_off = (model.samp_off + 0.5) * scale - 0.5
        model.line_scale *= scale
        model.samp_scale *= scale
        target.rpcs = model


def _check_whole(path: Path, masked: bool, rasterio: ModuleType) -> None:
    """Refuses a file that lacks blocks: GDAL may close one on a full disk silently.

    Raises:
      RasterioIOError: it lacks some.
    """
    size = path.stat().st_size
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        dataset = rasterio.open(path)
    with dataset:
        for first in range(0, dataset.height, BLOCK):
            for column in range(-(-dataset.width // BLOCK)):
                name = f"{column}_{first // BLOCK}"
                place, length = (
                    int(dataset.get_tag_item(f"BLOCK_{key}_{name}", "TIFF", 1) or 0)
                    for key in ("OFFSET", "SIZE")
                )
                if not place or place + length > size:
                    raise rasterio.errors.RasterioIOError("it lacks blocks")
            if masked:  # it says nothing of its blocks, but is quickly read
                rows = first, min(first + BLOCK, dataset.height)
                dataset.read_masks(1, window=(rows, (0, dataset.width)))
