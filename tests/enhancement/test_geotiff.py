"""GeoTIFF scenes: what becomes of the pixels."""

import subprocess
import sys

import numpy as np
import pytest

from common.errors import ConfigError, DataError
from common.restoration.tiles import Tiling

rasterio = pytest.importorskip("rasterio")
from rasterio.enums import ColorInterp, MaskFlags  # noqa: E402

from tests.enhancement.geotiff_scenes import (  # noqa: E402
    enlarger,
    levels,
    read,
    repeated,
    run,
    write,
)

pytestmark = pytest.mark.filterwarnings(
    "ignore::rasterio.errors.NotGeoreferencedWarning",
    "ignore:Use `@`:PendingDeprecationWarning",  # which rasterio does not
)


def blurred(image):
    """A mean over 5 x 5 pixels, with zeros around the image."""
    padded = np.pad(image, ((2, 2), (2, 2), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (5, 5), (0, 1))
    return windows.mean((-2, -1), dtype=np.float64).astype(np.float32)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32"])
@pytest.mark.parametrize("count", [1, 3, 4, 8])
@pytest.mark.parametrize("scale", [1, 3])
def test_what_a_network_repeats_comes_back_exactly(tmp_path, dtype, count, scale):
    pixels = levels(dtype, count, 70, 45)
    if dtype == "int16":
        pixels -= 900
    if dtype == "float32":
        pixels /= 2000
    source = write(tmp_path / "scene.tif", pixels, photometric="minisblack")
    result, summary = run(source, enlarger(scale), scale=scale)
    np.testing.assert_array_equal(read(result), repeated(pixels, scale, 1))
    assert read(result).dtype == dtype
    assert summary[:3] == (70 * scale, 45 * scale, tuple(range(1, count + 1)))
    with rasterio.open(result) as file:
        assert file.block_shapes == [(256, 256)] * count
        assert file.compression.name == "deflate"


def test_all_levels_of_16_bits_survive(tmp_path):
    pixels = np.arange(65536, dtype=np.uint16).reshape(1, 256, 256)
    result, summary = run(write(tmp_path / "scene.tif", pixels))
    np.testing.assert_array_equal(read(result), pixels)
    assert summary.value_range == (0, 65535)


def test_more_rows_than_a_block_has(tmp_path):
    pixels = levels("uint16", 1, 301, 21)
    result, _ = run(write(tmp_path / "scene.tif", pixels), enlarger(3), scale=3)
    np.testing.assert_array_equal(read(result), repeated(pixels, 3, 1))


@pytest.mark.parametrize("scale", [1, 2])
def test_tiled_equals_whole(tmp_path, scale):
    def network(tile):
        return repeated(blurred(tile), scale)

    pixels = levels("float32", 3, 90, 75) / np.float32(2000)
    source = write(tmp_path / "scene.tif", pixels)
    whole = network(np.moveaxis(pixels, 0, -1))
    result, _ = run(source, network, scale=scale, tiling=Tiling(32, 8, 2))
    tiled = np.moveaxis(read(result), 0, -1)
    np.testing.assert_allclose(tiled, whole, atol=1e-5)
    result, _ = run(source, network, scale=scale, tiling=Tiling(32, 8))
    assert np.abs(np.moveaxis(read(result), 0, -1) - whole).max() > 0.01


def test_tiled_equals_whole_beside_missing_values(tmp_path):
    pixels = levels("float32", 1, 90, 75) / np.float32(2000)
    pixels[:, 20:60, 31:50] = np.nan
    source = write(tmp_path / "scene.tif", pixels)
    whole = read(run(source, blurred, tiling=Tiling(100, 0))[0])
    tiled = read(run(source, blurred, tiling=Tiling(32, 8, 4))[0])
    np.testing.assert_allclose(tiled, whole, atol=1e-5)


@pytest.mark.parametrize(
    ("dtype", "options", "expected", "seen"),
    [
        ("uint8", {}, (0, 255), (10 / 255, 200 / 255)),
        ("uint16", {}, (0, 200), (0.05, 1)),
        ("uint16", {"value_range": (0, 2047)}, (0, 2047), (10 / 2047, 200 / 2047)),
        ("int16", {}, (0, 200), (0.05, 1)),
        ("float32", {"value_range": (10, 110)}, (10, 110), (0, 1.9)),
    ],
)
def test_value_ranges(tmp_path, dtype, options, expected, seen):
    shown = []

    def network(tile):
        shown.append((tile.min(), tile.max()))
        return tile

    pixels = np.full((1, 8, 8), 10, dtype)
    pixels[0, 3] = 200
    pixels[0, 5] = 201 if dtype != "uint8" else 255  # nodata: it does not count
    source = write(tmp_path / "scene.tif", pixels, nodata=pixels.max())
    result, summary = run(source, network, **options)
    assert summary.value_range == expected
    np.testing.assert_allclose(shown, [seen], rtol=1e-6)
    np.testing.assert_array_equal(read(result), pixels)


def test_negative_levels_are_a_range_of_their_own(tmp_path):
    pixels = np.array([[[-300, 100]]], np.int16)
    _, summary = run(write(tmp_path / "scene.tif", pixels))
    assert summary.value_range == (-300, 100)


def test_results_end_where_the_type_does(tmp_path):
    pixels = np.array([[[0, 100, 255]]], np.uint8)
    result, _ = run(write(tmp_path / "scene.tif", pixels), lambda x: 3 * x - 0.4)
    np.testing.assert_array_equal(read(result)[0], [[0, 198, 255]])


def test_bands_go_together_or_one_by_one(tmp_path):
    shapes = []

    def network(tile):
        shapes.append(tile.shape)
        return tile

    source = write(tmp_path / "scene.tif", levels("uint16", 4, 20, 20))
    for bands, expected in ((None, [4]), (4, [4]), (1, [1] * 4)):
        shapes.clear()
        result, _ = run(source, network, bands=bands)
        assert shapes == [(20, 20, count) for count in expected]
        np.testing.assert_array_equal(read(result), read(source))


def test_bands_can_be_picked_and_ordered(tmp_path):
    source = write(tmp_path / "scene.tif", levels("uint16", 4, 20, 20))
    with rasterio.open(source, "r+") as file:
        file.descriptions = "blue", "green", "red", "nir"
    with pytest.raises(DataError, match=r"takes 3 bands, .* gets 4; .*--bands=1,2,3"):
        run(source, bands=3)
    with pytest.raises(DataError, match=r"takes 5 bands, of .*scene.tif it gets 4$"):
        run(source, bands=5)
    with pytest.raises(ConfigError, match=r"--bands=1,5: .* has 1 to 4"):
        run(source, pick=(1, 5))
    result, summary = run(source, bands=3, pick=(3, 2, 1))
    assert summary.bands == (3, 2, 1)
    np.testing.assert_array_equal(read(result), read(source)[[2, 1, 0]])
    with rasterio.open(result) as file:
        assert file.descriptions == ("red", "green", "blue")


def test_missing_values_stay_and_are_shown_to_no_network(tmp_path):
    pixels = levels("uint16", 3, 60, 70)
    pixels[:, :20, 10:40] = pixels[1, 30:50, 30:50] = 0
    source = write(tmp_path / "scene.tif", pixels, nodata=0)

    def network(tile):
        assert tile.min() >= 1 / 2000
        return enlarger(2)(tile) * 0  # it would say of everything that it is missing

    result, _ = run(source, network, scale=2)
    missing = repeated(pixels, 2, 1) == 0
    np.testing.assert_array_equal(read(result), np.where(missing, 0, 1))
    with rasterio.open(result) as file:
        assert file.nodata == 0
        np.testing.assert_array_equal(file.read_masks() == 0, missing)


@pytest.mark.parametrize(
    "nodata", [0, -9999, -3.4028234663852886e38, -np.inf, np.nan, 1]
)
def test_missing_values_of_floats(tmp_path, nodata):
    pixels = levels("float32", 1, 40, 50) / np.float32(4000)
    pixels[:, 10:20, 30:] = nodata
    pixels[:, 30, 30] = np.nan
    source = write(tmp_path / "scene.tif", pixels, nodata=nodata)

    def network(tile):
        assert tile.max() < 0.6
        return np.full_like(tile, 1 if nodata == 1 else 0)

    result, _ = run(source, network)
    with rasterio.open(result) as file:
        missing = file.read_masks() == 0
        np.testing.assert_equal(file.nodata, nodata)
    expected = np.isnan(pixels) if np.isnan(nodata) else pixels == np.float32(nodata)
    np.testing.assert_array_equal(missing, expected)
    assert np.isnan(read(result)[0, 30, 30])


def test_tiles_without_values_are_not_shown_to_the_network(tmp_path):
    pixels = levels("uint8", 3, 64, 64)
    pixels[:, :32] = 255
    source = write(tmp_path / "scene.tif", pixels, nodata=255)
    shown = []
    result, _ = run(source, lambda x: shown.append(1) or x, tiling=Tiling(32, 0))
    assert len(shown) == 2
    np.testing.assert_array_equal(read(result), pixels)


def test_alpha_is_kept_and_shown_to_no_network(tmp_path):
    pixels = levels("uint8", 4, 40, 50)
    pixels[3, :, :20], pixels[:3, :, :20] = 0, 7
    source = write(tmp_path / "scene.tif", pixels, photometric="rgb", alpha="yes")
    for bands in (3, 1, None):
        result, summary = run(source, enlarger(2), scale=2, bands=bands)
        assert summary.bands == (1, 2, 3)
        np.testing.assert_array_equal(read(result), repeated(pixels, 2, 1))
        with rasterio.open(result) as file:
            assert file.colorinterp[3] == ColorInterp.alpha
            assert file.mask_flag_enums[0] == [MaskFlags.per_dataset, MaskFlags.alpha]


def test_a_fourth_band_marked_as_alpha_can_be_picked(tmp_path):
    pixels = levels("uint8", 4, 40, 50, low=0)
    source = write(tmp_path / "scene.tif", pixels, photometric="rgb", alpha="yes")
    result, _ = run(source, lambda x: 1 - x, bands=4, pick=(1, 2, 3, 4))
    np.testing.assert_array_equal(read(result), 255 - pixels)


@pytest.mark.parametrize("internal", [True, False])
def test_a_mask_of_the_file_is_kept(tmp_path, internal):
    pixels = levels("uint16", 3, 300, 50)
    mask = np.full((300, 50), 255, np.uint8)
    mask[20:200, 10:30] = 0
    source = write(tmp_path / "scene.tif", pixels, mask=mask if internal else None)
    if not internal:
        env = rasterio.Env(GDAL_TIFF_INTERNAL_MASK=False)
        with env, rasterio.open(source, "r+") as file:
            file.write_mask(mask)
        assert (tmp_path / "scene.tif.msk").exists()
    result, _ = run(source, enlarger(2), scale=2)
    with rasterio.open(result) as file:
        assert file.mask_flag_enums[0] == [MaskFlags.per_dataset]
        np.testing.assert_array_equal(file.read_masks(2), repeated(mask, 2))
    np.testing.assert_array_equal(read(result), repeated(pixels, 2, 1))
    assert not (tmp_path / "result.tif.msk").exists()


MEASURED = """
import pathlib, resource, sys
from common.restoration.tiles import Tiling
from enhancement import geotiff
source = pathlib.Path(sys.argv[1])
geotiff.convert(source, source.with_name("result.tif"),
                lambda x: x.repeat(2, 0).repeat(2, 1), scale=2, tiling=Tiling(256, 32))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""


@pytest.mark.slow
def test_a_large_scene_is_never_in_memory(tmp_path):
    """Its result has 0.9 GB, 2.6 GB in float32."""
    source, block = tmp_path / "scene.tif", levels("uint16", 3, 512, 6144)
    with rasterio.open(
        source, "w", driver="GTiff", width=6144, height=6144, count=3, dtype="uint16"
    ) as file:
        for row in range(0, 6144, 512):
            file.write(block, window=((row, row + 512), (0, 6144)))
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, str(source)],
        check=True,
        capture_output=True,
        text=True,
    )
    row_of_tiles = 512 * 12288 * 3 * 4
    assert int(done.stdout) < 2 * row_of_tiles + 256 * 2**20 + 150 * 2**20
