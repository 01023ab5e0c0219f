"""The loss: its formula, its levels, and how the predictor learns."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from common.errors import ConfigError
from deblur_diffusion import config as configs
from deblur_diffusion import schedule
from deblur_diffusion.tasks import Deblurring, to_model, training_levels

RNG = np.random.default_rng(0)


def task_of(**fields):
    config = configs.default_config()
    config.data.source = "fake"
    config.data.pairs = True
    config.schedule.warmup_steps = None
    configs.shrink(config)
    with config.unlocked():
        config.update_from_flattened_dict(fields)
    return Deblurring(config)


@pytest.fixture(scope="module")
def made():
    task = task_of(**{"model.options.dropout": 0.0})
    spec = task.batch_spec(4)
    batch = {
        name: RNG.integers(0, 256, spec[name].shape).astype(np.uint8)
        for name in ("image", "target")
    }
    shapes = jax.eval_shape(task.init, jax.random.key(0), spec)
    params = jax.tree.map(
        lambda x: RNG.normal(0, 0.05, x.shape).astype(np.float32), shapes
    )
    return task, params, batch


def test_noise_that_is_not_found_costs_its_mean_size(made):
    """Of a network that says 0: the mean of |n|, the root of 2 / pi."""
    task, params, batch = made
    nothing = jax.tree.map(np.zeros_like, params)
    out = jax.jit(task.loss)(nothing, batch, jax.random.key(0))
    assert out.loss.shape == (4,)
    assert float(out.loss.mean()) == pytest.approx(np.sqrt(2 / np.pi), rel=0.02)


def test_the_predictor_learns_through_the_noisy_residual(made):
    task, params, batch = made
    loss = lambda p: task.loss(p, batch, jax.random.key(1)).loss.mean()  # noqa: E731
    gradient = jax.jit(jax.grad(loss))(params)["params"]
    sizes = jax.tree.map(lambda x: np.abs(x).max(), gradient["predictor"])
    assert max(jax.tree.leaves(sizes)) > 1e-6
    assert max(map(np.max, map(np.abs, jax.tree.leaves(gradient["denoiser"])))) > 1e-6


def test_loss_is_that_of_the_noise_in_the_residual(made, monkeypatch):
    """With the networks replaced: the residual is of the sharp image and the guess."""
    task, params, batch = made
    seen = {}

    def apply(variables, *args, method, train, rngs):
        assert train
        if method == "predict":
            return 0.5 * args[0]
        seen["z"], seen["level"], seen["given"] = args
        return jnp.zeros_like(args[0])

    class Model:
        pass

    model = Model()
    model.apply = apply
    monkeypatch.setattr(task, "model", model)
    key = jax.random.key(2)
    out = task.loss(params, batch, key)
    blurry, sharp = to_model(batch["image"]), to_model(batch["target"])
    noise = jax.random.normal(jax.random.split(key, 4)[1], sharp.shape)
    level = seen["level"][:, None, None, None]
    expected = jnp.sqrt(level) * (sharp - 0.5 * blurry) + jnp.sqrt(1 - level) * noise
    np.testing.assert_allclose(seen["z"], expected, atol=1e-6)
    np.testing.assert_array_equal(seen["given"], blurry)
    np.testing.assert_allclose(out.loss, jnp.abs(noise).mean((1, 2, 3)), rtol=1e-6)
    assert len(set(np.asarray(seen["level"]).tolist())) == 4  # one for each image


def test_levels_are_uniform_in_steps_and_between_neighbours(made):
    task = made[0]
    drawn = np.asarray(task._draw_levels(jax.random.key(0), 20_000))
    levels = training_levels(*schedule.TRAINING)
    assert drawn.min() >= levels[-1]
    assert drawn.max() <= 1
    # A share of s of the levels is above that of step (1 - s) T.
    for share in (0.25, 0.5, 0.75):
        limit = levels[round((1 - share) * 2000)]
        assert (drawn < limit).mean() == pytest.approx(share, abs=0.015)


def test_regression_is_by_squares_and_has_no_denoiser_to_run(made):
    task = task_of(**{"loss.name": "regression", "model.options.dropout": 0.0})
    _, params, batch = made
    out = task.loss(params, batch, jax.random.key(0))
    guess = task.model.apply(params, to_model(batch["image"]), method="predict")
    expected = jnp.square(guess - to_model(batch["target"])).mean((1, 2, 3))
    np.testing.assert_allclose(out.loss, expected, rtol=1e-5)
    restored = task.restorer(params)(np.float32(batch["image"][0] / 255))
    np.testing.assert_allclose(restored, (guess[0] + 1) / 2, atol=1e-5)


def test_evaluation_scores_samples_and_the_predictor(made):
    task, params, batch = made
    example = {
        "image": batch["image"][0],
        "target": batch["target"][0],
        "id": np.int32(0),
    }
    first, again = (task.evaluator(params)(example) for _ in range(2))
    assert first == again
    assert np.isfinite([first["psnr"], first["psnr_predictor"]]).all()
    assert first["psnr"] != first["psnr_predictor"]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"loss.name": "difusion"}, "did you mean 'diffusion'"),
        ({"loss.name": "regression", "model.variant": "plain"}, "no predictor"),
        ({"loss.beta_max": 2.0}, "beta_max"),
        ({"loss.steps": 0}, "steps"),
        ({"model.variant": "residul"}, "did you mean 'residual'"),
        ({"model.options.width": 3}, "unknown field"),
        ({"evaluation.num_samples": 0}, "num_samples"),
        ({"data.image_size": 33}, "multiple of 2"),
    ],
)
def test_wrong_fields(fields, message):
    with pytest.raises(ConfigError, match=message):
        task_of(**fields)
