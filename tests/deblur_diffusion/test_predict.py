"""Images of any size, tiles, and what lies beside a result."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from absl.testing import flagsaver
from PIL import Image

from common.checkpoint import weights
from common.errors import ConfigError, DataError
from common.restoration.tiles import Tiling
from deblur_diffusion import config as configs
from deblur_diffusion import flags, models, predict, sampler, tiled
from deblur_diffusion.tasks import Deblurring

QUICK = sampler.Preset(3, 0.3, 2)


@pytest.fixture(scope="module")
def network():
    """One level, so that a pixel looks no further than a small tile is large."""
    fields = {"multipliers": (1, 1), "num_blocks": 1, "dropout": 0.0}
    model = models.create("testing", **fields)
    image = jnp.zeros((1, 8, 8, 3))
    shapes = jax.eval_shape(model.init, jax.random.key(0), image)
    rng = np.random.default_rng(0)
    params = jax.tree.map(
        lambda x: rng.normal(0, 0.08, x.shape).astype(np.float32), shapes
    )
    return model, params


@pytest.fixture
def image():
    return np.random.default_rng(1).random((37, 51, 3)).astype(np.float32)


def test_results_have_the_size_of_the_image_and_are_the_mean(network, image):
    made = predict.deblur(*network, image, QUICK)
    assert made.samples.shape == (2, 37, 51, 3)
    np.testing.assert_allclose(made.image, made.samples.mean(0), atol=1e-6)
    assert np.abs(made.samples[0] - made.samples[1]).max() > 0.01
    again = predict.deblur(*network, image, QUICK)
    np.testing.assert_array_equal(again.image, made.image)
    other = predict.deblur(*network, image, QUICK, seed=1)
    assert np.abs(other.image - made.image).max() > 0.01


def test_the_predictor_alone_draws_nothing(network, image):
    made = predict.deblur(*network, image, None)
    assert made.samples is None
    assert made.image.shape == image.shape


def test_tiles_make_the_samples_of_the_whole(network):
    model, params = network
    image = np.random.default_rng(2).random((96, 64, 3)).astype(np.float32)
    radius = model.receptive_radius
    tiling = Tiling(2 * radius + 16, 2 * radius, radius, model.size_multiple)
    assert tiling.cuts(96, 64)
    whole = predict.deblur(model, params, image, QUICK)
    cut = predict.deblur(model, params, image, QUICK, tiling=tiling)
    np.testing.assert_allclose(cut.samples, whole.samples, atol=2e-5)


def test_tiles_that_share_less_share_their_noise(network):
    """The seam is that of the networks, and not of independent noise."""
    model, params = network
    image = np.random.default_rng(2).random((64, 64, 3)).astype(np.float32)
    whole = predict.deblur(model, params, image, QUICK).samples
    cut = predict.deblur(model, params, image, QUICK, tiling=Tiling(32, 8)).samples
    assert np.abs(cut - whole).mean() < 0.2 * whole.std()


def run(home, **given):
    config = configs.default_config()
    config.data.source = "fake"
    config.data.pairs = True
    config.schedule.warmup_steps = None
    configs.shrink(config)
    task = Deblurring(config)
    spec = task.batch_spec(1)
    shapes = jax.eval_shape(task.init, jax.random.key(0), spec)
    rng = np.random.default_rng(0)
    params = jax.tree.map(
        lambda x: rng.normal(0, 0.02, x.shape).astype(np.float32), shapes
    )
    weights.save(home / "weights.npz", params)
    given = {"input": str(home / "in"), "output": str(home / "out")} | given
    with flagsaver.flagsaver(**given):
        predict.run(task, config, None, str(home / "weights.npz"))


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setattr(predict.compile_cache, "use", lambda: None)
    (tmp_path / "in").mkdir()
    Image.new("RGB", (20, 12), (200, 90, 30)).save(tmp_path / "in/a.png")
    return tmp_path


def test_samples_and_where_they_differ(home, capsys):
    run(home, sampling_steps=2, num_samples=2, keep_samples=True)
    names = {path.name for path in (home / "out").iterdir()}
    assert names == {"a.png", "a_sample0.png", "a_sample1.png", "a_deviation.png"}
    pixels = [np.asarray(Image.open(home / "out" / name)) for name in sorted(names)]
    assert pixels[0].shape == (12, 20, 3)
    assert pixels[1].shape == (12, 20)  # the map is grey
    assert pixels[1].max() == 255
    out = capsys.readouterr().out
    assert "20 x 12, samples differ by up to" in out


def test_one_result(home):
    run(home, preset="predictor_only")
    assert [path.name for path in (home / "out").iterdir()] == ["a.png"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"preset": "best"}, "--preset"),
        ({"preset": "predictor_only", "sampling_steps": 3}, "draws no samples"),
        ({"eta": 2.0}, "--eta"),
        ({"num_samples": 0}, "--num_samples"),
        ({"num_samples": 1, "keep_samples": True}, "--keep_samples"),
        ({"ensemble": True}, "--ensemble"),
        ({"tile": 21}, "multiple of 2"),
    ],
)
def test_flags_that_cannot_be(home, given, message):
    with pytest.raises(ConfigError, match=message):
        run(home, **given)


def test_presets_and_what_replaces_them():
    chosen = predict.chosen
    assert chosen(flags.PredictOptions("distortion")) == (10, 0.5, 8)
    assert chosen(flags.PredictOptions("perceptual", steps=100)) == (100, 0.02, 1)
    assert chosen(flags.PredictOptions(steps=900, beta_max=0.7)) == (500, 0.5, 1)
    assert chosen(flags.PredictOptions(keep=True)).num_samples == 8
    assert chosen(flags.PredictOptions("predictor_only")) is None


def test_images_that_are_none(network):
    with pytest.raises(DataError, match="0, 1"):
        predict.deblur(*network, np.full((8, 8, 3), 200.0), QUICK)
    with pytest.raises(DataError, match="multiples of"):
        tiled.sample(
            jax.random.key(0),
            *network,
            np.zeros((9, 8, 3), np.float32),
            *QUICK,
            Tiling(8, 0),
        )
