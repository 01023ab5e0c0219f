"""The loss with its calibrated weight, and what configs may say."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from common.checkpoint import matching, weights
from common.errors import ConfigError
from common.restoration.tiles import Tiling
from enhancement import config as configs
from enhancement import recipes
from enhancement.feature_losses import NAMES, FeatureLoss
from enhancement.tasks import Restoration

RNG = np.random.default_rng(0)


def config_of(task="denoise", **fields):
    config = recipes.recipe(task)
    config.data.source = "fake"
    if task == "deblur":
        config.data.pairs = True
    configs.shrink(config)
    with config.unlocked():
        config.update_from_flattened_dict(fields)
    return config


def task_of(task="denoise", **fields):
    return Restoration(config_of(task, **fields))


def batch_of(task):
    return {
        name: jnp.asarray(RNG.random(spec.shape), jnp.float32)
        if spec.dtype == jnp.float32
        else jnp.asarray(RNG.integers(0, 256, spec.shape), spec.dtype)
        for name, spec in task.batch_spec(2).items()
    }


@pytest.mark.parametrize("pixel", ["l1", "l2", "charbonnier"])
def test_pixel_losses_are_their_formulas(pixel):
    task = task_of(**{"loss.pixel": pixel})
    ours, target = RNG.random((2, 3, 8, 8, 3))
    gap = ours - target
    expected = {
        "l1": np.abs(gap),
        "l2": gap**2,
        "charbonnier": np.sqrt(gap**2 + 1e-6),
    }[pixel].mean((1, 2, 3))
    found = task._pixel_loss(jnp.float32(ours), jnp.float32(target))
    np.testing.assert_allclose(found, expected, rtol=1e-5)


class Squares:
    """A feature loss whose gradient is known."""

    def __init__(self, factor):
        self.factor = factor

    def variables(self):
        return {"factor": jnp.float32(self.factor)}

    def __call__(self, variables, images, targets, key):
        return variables["factor"] * jnp.square(images - targets).mean((1, 2, 3))


def calibrated(steps, ratio=0.5, calibration_steps=2):
    """Returns weights that a loss of seven squares gets beside one of one square."""
    fields = {"loss.feature": "pdl", "loss.pixel": "l2", "loss.ratio": ratio}
    fields |= {"loss.trunk_weights": "random"}
    fields |= {"loss.calibration_steps": calibration_steps}
    task = task_of(**fields)
    task.feature_loss = Squares(7.0)
    batch = batch_of(task)
    variables = dict(task.init(jax.random.key(0), batch))
    found = []
    step = jax.jit(task.loss)
    for number in range(steps):
        if number == 2:  # from here on it must not count
            task.feature_loss.factor = 70.0
        given = {**variables, "frozen": task.frozen()}
        out = step(given, batch, jax.random.key(number))
        variables |= {"calibration": out.model_state["calibration"]}
        found.append(float(out.metrics["feature_weight"][0]))
        expected = out.metrics["pixel_loss"] + found[-1] * out.metrics["feature_loss"]
        np.testing.assert_allclose(out.loss, expected, rtol=1e-5)
    return found, variables["calibration"]


def test_weight_is_calibrated_on_the_first_batches_and_stays():
    found, state = calibrated(4)
    np.testing.assert_allclose(found, [0.5 / 7] * 4, rtol=1e-4)
    assert state["batches"] == 2


def test_a_given_weight_needs_no_calibration():
    task = task_of(
        **{
            "loss.feature": "pdl",
            "loss.trunk_weights": "random",
            "loss.weight": 3.0,
        }
    )
    task.feature_loss = Squares(1.0)
    batch = batch_of(task)
    variables = task.init(jax.random.key(0), batch)
    assert variables["calibration"]["batches"] == 0
    given = {**variables, "frozen": task.frozen()}
    out = task.loss(given, batch, jax.random.key(0))
    np.testing.assert_array_equal(out.metrics["feature_weight"], [3, 3])


def test_a_loss_through_a_network_pulls_to_the_target():
    """One small step against the gradient makes it less; at the target it is least."""
    loss = FeatureLoss("pdl", "vgg19", "random", "shallow")
    variables = loss.variables()
    target = jnp.asarray(RNG.random((1, 16, 16, 3)), jnp.float32)
    image = jnp.clip(target + 0.2, 0, 1)

    @jax.jit
    def value_and_gradient(image):
        return jax.value_and_grad(
            lambda x: loss(variables, x, target, jax.random.key(0)).sum()
        )(image)

    value, gradient = value_and_gradient(image)
    length = jnp.sqrt(jnp.sum(gradient**2))
    nearer, _ = value_and_gradient(image - 0.05 * gradient / length)
    least, _ = value_and_gradient(target)
    assert least < nearer < value


def test_every_name_is_a_loss():
    for name in NAMES:
        FeatureLoss(name, "alex" if name == "lpips" else "vgg19", "random")


@pytest.mark.parametrize("task", recipes.RECIPES)
def test_inputs_and_results_have_the_sizes_of_the_task(task):
    made = task_of(task)
    spec = made.batch_spec(2)
    variables = jax.eval_shape(made.init, jax.random.key(0), spec)
    restorer = made.restorer(variables)
    shape = jax.eval_shape(restorer.apply, variables, spec["image"]).shape
    assert shape == spec["target"].shape
    assert restorer.scale == (4 if task == "superresolution" else 1)


def test_images_of_any_size_are_enlarged_and_tiles_make_no_seam():
    task = task_of("superresolution", **{"degradation.parameters.factor": 2})
    variables = task.init(jax.random.key(0), batch_of(task))
    restorer = task.restorer(variables)
    image = RNG.random((61, 75, 3)).astype(np.float32)
    whole = restorer(image)
    assert whole.shape == (122, 150, 3)
    radius = restorer.radius
    tiles = restorer(image, tiling=Tiling(2 * radius + 16, 2 * radius, radius))
    np.testing.assert_allclose(tiles, whole, atol=1e-5)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"loss.pixel": "l3"}, "config.loss.pixel"),
        ({"loss.feature": "pld", "loss.trunk_weights": "random"}, "did you mean 'pdl'"),
        ({"loss.feature": "pdl"}, "trunk_weights"),
        (
            {
                "loss.feature": "pdl",
                "loss.trunk_weights": "random",
                "loss.layers": "deep",
            },
            "preset of feature layers",
        ),
        (
            {
                "loss.feature": "pdl",
                "loss.trunk": "alex",
                "loss.trunk_weights": "random",
            },
            "tap of alex",
        ),
        (
            {
                "loss.feature": "pdl",
                "loss.trunk_weights": "random",
                "loss.options": {"q": 1},
            },
            "option of pdl",
        ),
        ({"loss.ratio": 0.0}, "config.loss.ratio"),
        ({"loss.weight": -1.0}, "config.loss.weight"),
        ({"loss.epsilon": 0.0}, "config.loss.epsilon"),
        ({"model.name": "edrs"}, "unknown network"),
        ({"model.options.width": 3}, "unknown field of restoration"),
        ({"evaluation.border": -1}, "config.evaluation.border"),
        ({"loss.wieght": 1.0}, "wieght"),
    ],
)
def test_wrong_fields(fields, message):
    with pytest.raises(ConfigError, match=message):
        task_of(**fields)


def test_sizes_that_do_not_fit():
    with pytest.raises(ConfigError, match="multiple of 4"):
        task_of("superresolution", **{"data.image_size": 30})
    with pytest.raises(ConfigError, match="no multiples of 4"):
        task_of("deblur", **{"data.image_size": 30})


def test_weights_begin_a_second_phase_and_a_first_one(tmp_path):
    """Whatever the phases: a calibration is of one run."""
    plain = task_of()
    feature = task_of(**{"loss.feature": "pdl", "loss.trunk_weights": "random"})
    fixed = task_of(
        **{
            "loss.feature": "pdl",
            "loss.trunk_weights": "random",
            "loss.weight": 0.1,
        }
    )
    made = {}
    for name, task in (("plain", plain), ("feature", feature), ("fixed", fixed)):
        target = jax.eval_shape(task.init, jax.random.key(0), task.batch_spec(1))
        ones = jax.tree.map(lambda x: np.ones(x.shape, x.dtype), target)
        weights.save(tmp_path / f"{name}.npz", ones)
        made[name] = task, target
    for task, target in made.values():
        for name in made:
            found = task.read_weights(str(tmp_path / f"{name}.npz"), target)
            wanted = dict(matching.leaves(target))
            assert set(found) == set(wanted)
            assert all(not found[n] for n in found if n.startswith("calibration/"))


def test_a_mosaic_has_colours_and_is_not_turned():
    task = task_of("demosaic")
    variables = task.init(jax.random.key(0), batch_of(task))
    restorer = task.restorer(variables)
    assert restorer.mosaic
    image = np.repeat(RNG.random((118, 90, 1)), 3, -1).astype(np.float32)
    radius = restorer.radius
    tiles = Tiling(2 * radius + 8, 2 * radius, radius, multiple=2)
    np.testing.assert_allclose(
        restorer(image, tiling=tiles), restorer(image), atol=1e-5
    )
    with pytest.raises(ConfigError, match="mosaic"):
        restorer(image, ensemble=True)
