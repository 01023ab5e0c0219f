"""`--mode=predict`: scenes and pictures, from flags to files."""

import jax
import numpy as np
import pytest
from absl.testing import flagsaver
from PIL import Image

from common.checkpoint import weights
from common.errors import ConfigError, DataError
from enhancement import command, recipes
from enhancement import config as configs
from enhancement.satellite_task import SatelliteSR
from enhancement.tasks import Restoration

rasterio = pytest.importorskip("rasterio")
from tests.enhancement import geotiff_scenes as scenes  # noqa: E402


@pytest.fixture(autouse=True)
def _no_cache(monkeypatch):
    monkeypatch.setattr(command.compile_cache, "use", lambda: None)


@pytest.fixture
def home(tmp_path):
    (tmp_path / "in").mkdir()
    scenes.write(tmp_path / "in/a.tif", scenes.levels("uint16", 3, 20, 30))
    return tmp_path


def run(home, options=(), **given):
    config = configs.satellite_config()
    config.total_steps = 2
    configs.shrink(config)
    config.data.source = "bundled"
    config.data.name = "photos"
    with config.unlocked():
        config.model.options.update(dict(options))
    task = SatelliteSR(config)
    # Weights of nothing: what is left is the bicubic image.
    shapes = jax.eval_shape(task.init, jax.random.key(0), task.batch_spec(1))
    nothing = jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), shapes)
    weights.save(home / "nothing.npz", nothing)
    given = {"input": str(home / "in"), "output": str(home / "out")} | given
    with flagsaver.flagsaver(**given):
        command.run(task, config, None, str(home / "nothing.npz"))


def test_a_scene_is_enlarged_and_stays_where_it_is(home, capsys):
    run(home, tile=24)
    with rasterio.open(home / "in/a.tif") as a, rasterio.open(home / "out/a.tif") as b:
        assert b.shape == (40, 60)
        assert b.dtypes == a.dtypes
        assert b.crs == a.crs
        np.testing.assert_allclose(b.bounds, a.bounds)
        # Bicubic keeps the mean of what it enlarges, but for the borders.
        np.testing.assert_allclose(b.read().mean(), a.read().mean(), rtol=0.01)
    assert "60 x 40, bands 1, 2, 3, black and white at 0 and" in capsys.readouterr().out


def test_bands_by_choice_one_by_one_and_too_few(home):
    scenes.write(home / "in/a.tif", scenes.levels("uint8", 5, 20, 30))
    with pytest.raises(DataError, match="1 of 1"):
        run(home)  # five bands, and a network of three
    run(home, bands=["5", "3", "1"])
    assert scenes.read(home / "out/a.tif").shape == (3, 40, 60)
    run(home, {"shared_bands": True})
    assert scenes.read(home / "out/a.tif").shape == (5, 40, 60)


def test_values_by_choice(home):
    run(home, value_range=["0", "4095"])
    given, made = scenes.read(home / "in/a.tif"), scenes.read(home / "out/a.tif")
    np.testing.assert_allclose(made.mean(), given.mean(), rtol=0.01)


def test_pictures_stay_pictures(home, capsys):
    (home / "in/a.tif").unlink()
    Image.new("RGB", (10, 8), (90, 90, 90)).save(home / "in/b.png")
    run(home)
    with Image.open(home / "out/b.png") as image:
        assert image.size == (20, 16)
        assert np.unique(np.asarray(image)).tolist() == [90]
    assert "20 x 16" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"bands": ["1", "x"]}, "not numbers"),
        ({"value_range": ["1"]}, "LOW,HIGH"),
        ({"tile": 8, "tile_overlap": 8}, "tile_overlap"),
    ],
)
def test_flags_that_cannot_be(home, given, message):
    with pytest.raises(ConfigError, match=message):
        run(home, **given)
    assert not (home / "out/a.tif").exists()


def test_scenes_and_pictures_do_not_mix(home):
    Image.new("RGB", (10, 8)).save(home / "in/b.png")
    with pytest.raises(ConfigError, match="scenes"):
        run(home)
    (home / "in/a.tif").unlink()
    with pytest.raises(ConfigError, match="GeoTIFF"):
        run(home, bands=["1"])


def test_opacity_grows_with_the_picture(home):
    (home / "in/a.tif").unlink()
    pixels = np.full((8, 10, 4), 90, np.uint8)
    pixels[:, 5:, 3] = 255
    Image.fromarray(pixels).save(home / "in/b.png")
    run(home)
    with Image.open(home / "out/b.png") as image:
        assert (image.mode, image.size) == ("RGBA", (20, 16))
        alpha = np.asarray(image)[..., 3]
    np.testing.assert_array_equal(alpha[:, :9], 90)
    np.testing.assert_array_equal(alpha[:, 11:], 255)


def test_a_grey_raw_image_becomes_a_coloured_one(home):
    (home / "in/a.tif").unlink()
    mosaic = np.random.default_rng(0).integers(0, 256, (12, 16)).astype(np.uint8)
    Image.fromarray(mosaic).save(home / "in/raw.png")
    config = recipes.recipe("demosaic")
    config.data.source = "fake"
    configs.shrink(config)
    task = Restoration(config)
    shapes = jax.eval_shape(task.init, jax.random.key(0), task.batch_spec(1))
    rng = np.random.default_rng(1)
    params = jax.tree.map(
        lambda x: rng.normal(0, 0.3, x.shape).astype(np.float32), shapes
    )
    weights.save(home / "weights.npz", params)
    with flagsaver.flagsaver(input=str(home / "in"), output=str(home / "out")):
        command.run(task, config, None, str(home / "weights.npz"))
    with Image.open(home / "out/raw.png") as image:
        assert image.mode == "RGB"
        pixels = np.asarray(image).astype(int)
    assert np.abs(pixels[..., 0] - pixels[..., 2]).max() > 10
