"""Reads a GeoTIFF scene window by window, and says which of its values are missing."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
from absl import logging

from common.errors import ConfigError, DataError

if TYPE_CHECKING:
    from rasterio.io import DatasetReader

TYPES = ("uint8", "uint16", "int16", "float32")
# Rows that are read at a time where all are.
_ROWS = 256
# Bytes of blocks that GDAL keeps; a twentieth of the memory by default.
_CACHE = 256 * 2**20


def library() -> ModuleType:
    """Returns rasterio.

    Raises:
      ConfigError: it is not installed; it says how to.
    """
    try:
        import rasterio
    except ImportError as error:
        raise ConfigError(
            f'GeoTIFF needs rasterio ({error}): pip install "multiaxis[geo]"'
        ) from error
    return rasterio


class Scene:
    """An open scene.

    Attributes:
      path: of its file.
      dataset: rasterio's.
      bands: numbers of the bands to work on, from 1.
      alpha: number of the alpha band that goes with them, or None.
      masked: whether the file has a mask of its own.
      count: of its bands but alpha.
      height: of the scene.
      width: of the scene.
      dtype: of all bands; one of `TYPES`.
      nodata: value that says that there is none, or None.
    """

    def __init__(
        self, path: Path, dataset: DatasetReader, pick: Sequence[int] | None = None
    ):
        """Checks what is in the file.

        Raises:
          DataError: no scene that can be restored.
          ConfigError: there are no such bands.
        """
        from rasterio.enums import ColorInterp, MaskFlags

        self.path = path
        self.dataset: Any = dataset  # whose arrays its stubs take for other ones
        self.height, self.width = dataset.height, dataset.width
        self.dtype = _dtype(path, dataset)
        self.nodata = _nodata(path, dataset, self.dtype)
        kinds = dataset.colorinterp
        if ColorInterp.palette in kinds:
            raise DataError(
                f"{path} has a palette; make colours of it: gdal_translate -expand rgb"
            )
        alphas = [i + 1 for i, kind in enumerate(kinds) if kind == ColorInterp.alpha]
        data = tuple(band for band in dataset.indexes if band not in alphas)
        self.count = len(data)
        self.bands = data if pick is None else _picked(path, dataset, pick)
        if not self.bands:
            raise DataError(f"{path} has no band but alpha")
        # Who picks it says that it is none: files of red, green, blue and infrared
        # are often marked so.
        self.alpha = alphas[0] if alphas and alphas[0] not in self.bands else None
        flags = [set(dataset.mask_flag_enums[band - 1]) for band in self.bands]
        by_alpha = any(MaskFlags.alpha in found for found in flags)
        self.masked = MaskFlags.per_dataset in flags[0] and not by_alpha
        self._all_valid = all(MaskFlags.all_valid in found for found in flags) or (
            by_alpha and self.alpha is None
        )

    def read(self, rows: slice, columns: slice) -> tuple[np.ndarray, np.ndarray]:
        """Reads a window.

        Returns:
          Values `[h, w, B]` as they are in the file, and which of them are there.

        Raises:
          DataError: the file is broken.
        """
        window = (rows.start, rows.stop), (columns.start, columns.stop)
        with _reading(self.path):
            values = self.dataset.read(self.bands, window=window)
            if self._all_valid:
                valid = np.ones(values.shape, bool)
            else:
                valid = self.dataset.read_masks(self.bands, window=window) > 0
        if values.dtype == np.float32:
            valid &= np.isfinite(values)
        return np.moveaxis(values, 0, -1), np.moveaxis(valid, 0, -1)

    def read_alpha(self, rows: slice) -> np.ndarray | None:
        """Reads the alpha of whole rows, `[n, W]`, if there is any."""
        if self.alpha is None:
            return None
        with _reading(self.path):
            return self.dataset.read(self.alpha, window=self._whole(rows))

    def read_mask(self, rows: slice) -> np.ndarray | None:
        """Reads the mask of whole rows, uint8 `[n, W]`, if the file has one."""
        if not self.masked:
            return None
        with _reading(self.path):
            return self.dataset.read_masks(self.bands[0], window=self._whole(rows))

    def check_any_valid(self) -> None:
        """Reads until something is there.

        Raises:
          DataError: nothing is.
        """
        if not any(values.size for values in self._valid_values()):
            raise self._empty()

    def limits(self) -> tuple[float, float]:
        """Reads the whole file for its smallest and largest valid value.

        Raises:
          DataError: there is none.
        """
        found = [(x.min(), x.max()) for x in self._valid_values() if x.size]
        if not found:
            raise self._empty()
        lows, highs = zip(*found, strict=True)
        return float(min(lows)), float(max(highs))

    def _empty(self) -> DataError:
        return DataError(f"{self.path} has no valid pixel")

    def _valid_values(self) -> Iterator[np.ndarray]:
        for start in range(0, self.height, _ROWS):
            rows = slice(start, min(start + _ROWS, self.height))
            values, valid = self.read(rows, slice(0, self.width))
            yield values[valid]

    def _whole(self, rows: slice) -> tuple[tuple[int, int], tuple[int, int]]:
        return (rows.start, rows.stop), (0, self.width)


@contextlib.contextmanager
def opened(
    path: Path, pick: Sequence[int] | None = None
) -> Generator[Scene, None, None]:
    """Opens a scene, with what GDAL keeps in memory bounded.

    Args:
      path: of a GeoTIFF.
      pick: numbers of the bands to work on, from 1; by default all but alpha.

    Raises:
      DataError: no such file, or no scene that can be restored.
      ConfigError: rasterio is not installed, or there are no such bands.
    """
    rasterio = library()
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    with rasterio.Env(GDAL_CACHEMAX=_CACHE), contextlib.ExitStack() as stack:
        with warnings.catch_warnings(), _reading(path):
            warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
            dataset = stack.enter_context(rasterio.open(path, driver="GTiff"))
            scene = Scene(path, dataset, pick)
        if len(dataset.subdatasets) > 1:
            logging.warning(
                "%s: only the first of %d images", path, len(dataset.subdatasets)
            )
        if dataset.crs is None and not dataset.gcps[0] and dataset.rpcs is None:
            logging.warning("%s does not say where on the ground it lies", path)
        yield scene


@contextlib.contextmanager
def _reading(path: Path) -> Generator[None, None, None]:
    try:
        yield
    except (ConfigError, MemoryError):
        raise
    except Exception as error:  # rasterio and GDAL raise many types for broken files
        reason = " ".join(str(error.__cause__ or error).split())
        raise DataError(f"{path} cannot be read: {reason}") from error


def _dtype(path: Path, dataset: DatasetReader) -> np.dtype:
    found = sorted(set(dataset.dtypes))
    if len(found) != 1 or found[0] not in TYPES:
        raise DataError(
            f"{path} is of {', '.join(found)}; supported are {', '.join(TYPES)}"
        )
    return np.dtype(found[0])


def _nodata(path: Path, dataset: DatasetReader, dtype: np.dtype) -> float | None:
    """Returns the nodata value; rasterio knows none beyond the limits of the type."""
    nodata = dataset.nodata
    if nodata is None or dtype == np.float32 or nodata == round(nodata):
        return nodata
    logging.warning(
        "%s: no pixel of %s is %g, its nodata value; the result has none",
        *(path, dtype, nodata),
    )
    return None


def _picked(path: Path, dataset: DatasetReader, pick: Sequence[int]) -> tuple[int, ...]:
    if not pick or not set(pick) <= set(dataset.indexes):
        raise ConfigError(
            f"--bands={','.join(map(str, pick))}: {path} has 1 to {dataset.count}"
        )
    return tuple(pick)
