"""GeoTIFF scenes for the tests, written and read by rasterio itself."""

import numpy as np
import rasterio
from rasterio.transform import Affine

from common.restoration.tiles import Tiling
from enhancement import geotiff

PLACE = Affine(0.3, 0, 500_000, 0, -0.3, 4_200_000)
TILING = Tiling(32, 8)


def levels(dtype, *shape, low=1, high=2000):
    return (
        np.random.default_rng(0)
        .integers(low, min(high, 255) if dtype == "uint8" else high, shape)
        .astype(dtype)
    )


def write(path, pixels, *, mask=None, **profile):
    """Writes `[B, H, W]`."""
    count, height, width = pixels.shape
    profile = {"crs": "EPSG:32633", "transform": PLACE, "compress": "lzw"} | profile
    with (
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
        rasterio.open(
            path,
            "w",
            driver="GTiff",
            count=count,
            height=height,
            width=width,
            dtype=pixels.dtype,
            **profile,
        ) as file,
    ):
        file.write(pixels)
        if mask is not None:
            file.write_mask(mask)
    return path


def read(path):
    with rasterio.open(path) as file:
        return file.read()


def repeated(pixels, scale, axis=0):
    """Repeats along two axes."""
    return pixels.repeat(scale, axis).repeat(scale, axis + 1)


def enlarger(scale):
    return lambda tile: repeated(tile, scale)


def same(tile):
    return tile


def run(source, function=same, *, scale=1, tiling=TILING, **options):
    result = source.with_name("result.tif")
    return result, geotiff.convert(
        source, result, function, scale=scale, tiling=tiling, **options
    )
