"""GeoTIFF scenes: where they lie, their tags, and files that fail."""

import builtins
import errno
import os
import subprocess
import sys

import numpy as np
import pytest

from common.errors import ConfigError, DataError
from enhancement import geotiff

rasterio = pytest.importorskip("rasterio")
from rasterio.control import GroundControlPoint  # noqa: E402
from rasterio.crs import CRS  # noqa: E402
from rasterio.enums import ColorInterp  # noqa: E402
from rasterio.rpc import RPC  # noqa: E402
from rasterio.transform import Affine  # noqa: E402

from tests.enhancement.geotiff_scenes import (  # noqa: E402
    PLACE,
    TILING,
    enlarger,
    levels,
    read,
    run,
    same,
    write,
)

TURNED = Affine(0.3, 0.1, 500_000, 0.1, -0.3, 4_200_000)
pytestmark = pytest.mark.filterwarnings(
    "ignore::rasterio.errors.NotGeoreferencedWarning",
    "ignore:Use `@`:PendingDeprecationWarning",  # which rasterio does not
)


@pytest.mark.parametrize("point", ["Area", "Point"])
@pytest.mark.parametrize("place", [PLACE, TURNED])
def test_the_result_lies_where_the_scene_lies(tmp_path, point, place):
    source = write(tmp_path / "scene.tif", levels("uint8", 1, 33, 47), transform=place)
    with rasterio.open(source, "r+") as file:
        file.update_tags(AREA_OR_POINT=point)
        file.transform = place
    result, _ = run(source, enlarger(4), scale=4)
    with rasterio.open(source) as before, rasterio.open(result) as after:
        np.testing.assert_allclose(before.transform, place)
        pixel = np.array([1 / 4, 1 / 4, 1, 1 / 4, 1 / 4, 1])
        np.testing.assert_allclose(after.transform[:6], before.transform[:6] * pixel)
        np.testing.assert_allclose(after.bounds, before.bounds, rtol=0, atol=1e-6)
        assert after.crs == before.crs == CRS.from_epsg(32633)
        assert after.shape == (33 * 4, 47 * 4)
        assert after.tags()["AREA_OR_POINT"] == point


def test_a_scene_without_coordinates(tmp_path, caplog):
    pixels = levels("uint8", 1, 20, 20)
    source = write(tmp_path / "scene.tif", pixels, crs=None, transform=None)
    result, _ = run(source, enlarger(2), scale=2)
    assert "does not say where on the ground it lies" in caplog.text
    with rasterio.open(result) as file:
        assert file.crs is None
        assert file.transform == Affine.identity()


def test_tags_and_names_are_kept(tmp_path):
    source = write(
        tmp_path / "scene.tif", levels("uint16", 5, 20, 20), photometric="minisblack"
    )
    kinds = [ColorInterp.blue, ColorInterp.green, ColorInterp.red]
    kinds += [ColorInterp.nir, ColorInterp.undefined]
    with rasterio.open(source, "r+") as file:
        file.colorinterp = kinds
        file.update_tags(TIFFTAG_DATETIME="2026:11:28 12:00:00", SATELLITE="one")
        file.update_tags(ns="PRODUCT", cloudCover="0.1")
        file.update_tags(2, WAVELENGTH="560", STATISTICS_MEAN="7")
        file.descriptions = tuple("bgrni")
        file.scales, file.offsets = (0.1,) * 5, (0, 0, 0, 0, -3)
        file.units = ("W",) * 5
    result, _ = run(source, enlarger(2), scale=2)
    with rasterio.open(source) as before, rasterio.open(result) as after:
        for name in ("colorinterp", "descriptions", "scales", "offsets", "units"):
            assert getattr(after, name) == getattr(before, name)
        assert after.tags() == before.tags()
        assert after.tags(ns="PRODUCT") == {"cloudCover": "0.1"}
        assert after.tags(2) == {"WAVELENGTH": "560"}
    assert sorted(x.name for x in tmp_path.glob("result*")) == ["result.tif"]


def test_control_points_and_camera_models_are_scaled(tmp_path):
    source = write(
        tmp_path / "scene.tif", levels("uint8", 1, 20, 30), crs=None, transform=None
    )
    ones = [1.0] * 20
    with rasterio.open(source, "r+") as file:
        crs = CRS.from_epsg(4326)
        corners = [(0, 0), (0, 30), (20, 30)]
        points = [
            GroundControlPoint(row=row, col=col, x=col / 10, y=-row / 10, z=5)
            for row, col in corners
        ]
        file.gcps = points, crs
        file.rpcs = RPC(
            *(0, 500, 40, 1),
            *(ones, ones, 9.5, 10, 15, 1),
            *(ones, ones, 14.5, 15),
        )
    result, _ = run(source, enlarger(3), scale=3)
    with rasterio.open(source) as before, rasterio.open(result) as after:
        assert before.rpcs.line_off == 9.5
        points, crs = after.gcps
        assert crs == CRS.from_epsg(4326)
        assert [(x.row, x.col) for x in points] == [(0, 0), (0, 90), (60, 90)]
        assert [(x.x, x.y, x.z) for x in points][2] == (3, -2, 5)
        model = after.rpcs
        assert (model.line_off, model.samp_off) == (29.5, 44.5)
        assert (model.line_scale, model.samp_scale) == (30, 45)
        assert model.lat_off == before.rpcs.lat_off


def left(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("dtype", ["complex64", "float64", "uint32", "int8"])
def test_types_that_are_not_supported(tmp_path, dtype):
    source = write(tmp_path / "scene.tif", np.ones((1, 4, 4), dtype))
    with pytest.raises(DataError, match=f"is of {dtype}; supported are uint8, uint16"):
        run(source)


def test_palettes_are_not_supported(tmp_path):
    source = tmp_path / "scene.tif"
    write(source, np.ones((1, 4, 4), np.uint8), photometric="palette")
    with rasterio.open(source, "r+") as file:
        file.write_colormap(1, {1: (255, 0, 0)})
    with pytest.raises(DataError, match="palette"):
        run(source)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_a_scene_without_any_value(tmp_path, dtype):
    source = write(tmp_path / "scene.tif", np.zeros((3, 9, 9), dtype), nodata=0)
    with pytest.raises(DataError, match=r"scene\.tif has no valid pixel"):
        run(source)
    assert left(tmp_path) == ["scene.tif"]


@pytest.mark.parametrize(("given", "warned"), [(b"-9\0", 0), (b".5\0", 1)])
def test_a_nodata_value_that_no_pixel_has(tmp_path, caplog, given, warned):
    source = write(tmp_path / "scene.tif", levels("uint8", 1, 9, 9, low=0), nodata=77)
    source.write_bytes(source.read_bytes().replace(b"77\0", given))
    result, _ = run(source)
    assert caplog.text.count("no pixel of uint8 is 0.5, its nodata value") == warned
    np.testing.assert_array_equal(read(result), read(source))
    with rasterio.open(result) as file:
        assert file.nodata is None


def test_floats_of_another_range_need_one(tmp_path):
    source = write(tmp_path / "scene.tif", levels("float32", 1, 9, 9))
    with pytest.raises(DataError, match=r"has values in \[\d.*value_range=low,high"):
        run(source)
    run(source, value_range=(0, 2000))


@pytest.mark.parametrize("content", [b"", b"no image", b"II*\0\x08\0\0\0"])
def test_what_is_no_tiff(tmp_path, content):
    source = tmp_path / "scene.tif"
    source.write_bytes(content)
    with pytest.raises(DataError, match=r"^[^\n]*scene.tif cannot be read: [^\n]+$"):
        run(source)
    assert left(tmp_path) == ["scene.tif"]


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_a_truncated_file(tmp_path, dtype):
    source = write(tmp_path / "scene.tif", levels(dtype, 3, 90, 90), compress=None)
    os.truncate(source, source.stat().st_size * 2 // 3)
    with pytest.raises(DataError, match=r"^[^\n]*scene.tif cannot be read: [^\n]+$"):
        run(source)
    assert left(tmp_path) == ["scene.tif"]


def test_no_such_file(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        run(tmp_path / "scene.tif")


def test_a_scene_is_not_replaced(tmp_path):
    source = write(tmp_path / "scene.tif", levels("uint8", 1, 9, 9))
    (tmp_path / "link.tif").symlink_to(source)
    for result in (source, tmp_path / "link.tif"):
        with pytest.raises(ConfigError, match="would replace the scene"):
            geotiff.convert(source, result, same, scale=1, tiling=TILING)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("result.png", {}, r"must be a \.tif or \.tiff file"),
        ("result.tif", {"scale": 0}, "scale=0"),
        ("result.tif", {"value_range": (1, 1)}, "value_range=1,1"),
        ("result.tif", {"value_range": (0, np.nan)}, "value_range=0,nan"),
    ],
)
def test_arguments_that_cannot_be(tmp_path, name, options, message):
    source = write(tmp_path / "scene.tif", levels("uint8", 1, 9, 9))
    options = {"scale": 1, "tiling": TILING} | options
    with pytest.raises(ConfigError, match=message):
        geotiff.convert(source, tmp_path / name, same, **options)


def test_networks_that_do_not_fit(tmp_path):
    source = write(tmp_path / "scene.tif", levels("uint8", 3, 9, 9))
    with pytest.raises(ValueError, match=r"made \[9, 9, 3\] .* expected \[18, 18, 3\]"):
        run(source, scale=2)
    with pytest.raises(ValueError, match=r"made \[9, 9, 1\]"):
        run(source, lambda tile: tile[..., :1])
    with pytest.raises(DataError, match="1 of 243 restored values are not finite"):
        run(
            source, lambda tile: np.where(np.arange(243).reshape(9, 9, 3), tile, np.inf)
        )
    assert left(tmp_path) == ["scene.tif"]


def test_a_full_disk_leaves_nothing_and_an_older_result(tmp_path, monkeypatch):
    source = write(tmp_path / "scene.tif", levels("uint16", 1, 90, 90))
    result, _ = run(source)
    before = result.read_bytes()

    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(rasterio.io.DatasetWriter, "write", full)
    with pytest.raises(OSError, match="No space left"):
        run(source)
    assert left(tmp_path) == ["result.tif", "scene.tif"]
    assert result.read_bytes() == before


LIMITED = """
import pathlib, resource, sys
from common.restoration.tiles import Tiling
from enhancement import geotiff
limit = int(sys.argv[2])
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
source = pathlib.Path(sys.argv[1])
try:
    geotiff.convert(source, source.with_name("result.tif"), lambda x: x, scale=1,
                    tiling=Tiling(256, 0))
except OSError as error:
    print(error)
"""


@pytest.mark.parametrize("share", [0.001, 0.5, 0.99])
def test_a_disk_that_really_is_full(tmp_path, share):
    """GDAL itself says nothing of blocks that it cannot write while it closes."""
    source = write(tmp_path / "scene.tif", levels("uint16", 1, 300, 300, high=60000))
    result, _ = run(source)
    limit = int(result.stat().st_size * share)
    result.unlink()
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(source), str(limit)],
        check=True,
        capture_output=True,
        text=True,
    )
    assert "result.tif cannot be written: " in done.stdout
    assert left(tmp_path) == ["scene.tif"]


def test_without_rasterio_it_says_what_to_install(tmp_path, monkeypatch):
    source = write(tmp_path / "scene.tif", levels("uint8", 1, 9, 9))
    usual = builtins.__import__

    def without(name, *rest):
        if name.startswith("rasterio"):
            raise ImportError(f"No module named {name!r}")
        return usual(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ConfigError, match=r'pip install "multiaxis\[geo\]"'):
        run(source)
