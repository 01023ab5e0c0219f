"""Frozen classifiers: what they are loaded from, and their gradient."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors import numpy as safetensors

from common import config as configs
from common.checkpoint import weights
from common.errors import ConfigError, DataError
from common.models import frozen
from maxvit import config as maxvit_config
from maxvit import convert
from maxvit.tasks import Classification
from tests.maxvit import small

CLASSES = ("ant", "bee", "cat")
FILE = """from tests.common.models import test_frozen

def get_config(arg=None):
    return test_frozen.make_config(int(arg or 0) or None)
"""


def make_config(num_classes=None):
    """Of the smallest MaxViT; shared by the runs and the config file."""
    config = maxvit_config.default_config()
    config.data.image_size = (16, 24)
    config.data.num_classes = num_classes
    config.preprocess.normalization = "half"
    config.model.variant = "testing"
    config.model.depths, config.model.channels = (1,), (8,)
    config.total_steps = 1
    return config


def write_run(folder, config, variables):
    configs.save(config, folder, {})
    configs.write_json(folder / "class_names.json", CLASSES)
    weights.save(folder / "weights.safetensors", variables)
    return folder


@pytest.fixture(scope="module")
def variables():
    return small.filled(Classification(make_config(3)).model, (16, 24))


@pytest.fixture(scope="module")
def run(variables, tmp_path_factory):
    return write_run(tmp_path_factory.mktemp("run"), make_config(3), variables)


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("configs") / "tiny.py"
    path.write_text(FILE)
    return path


@pytest.fixture(scope="module")
def classifier(run):
    return frozen.load("maxvit", workdir=run)


@pytest.fixture(scope="module")
def images():
    rng = np.random.default_rng(1)
    return rng.integers(0, 256, (2, 16, 24, 3)).astype(np.float32)


def loss(classifier, images):
    logits = classifier.logits(images)
    return jnp.sum(logits * jnp.arange(1.0, 4.0)), logits


value_and_grad = jax.jit(
    jax.value_and_grad(loss, argnums=(0, 1), has_aux=True, allow_int=True)
)


def test_a_run_is_loaded_with_what_belongs_to_it(classifier, variables):
    assert classifier.class_names == CLASSES
    assert classifier.image_size == (16, 24)
    assert classifier.num_classes == 3
    jax.tree.map(np.testing.assert_array_equal, classifier.variables, variables)


def test_logits_are_those_of_the_evaluation(classifier, images):
    labels = np.array([1, 2], np.int32)
    batch = {"image": images.astype(np.uint8), "label": labels}
    evaluate = jax.jit(classifier.task.evaluate)
    expected = evaluate(classifier.variables, batch)
    (_, logits), _ = value_and_grad(classifier, images)
    assert logits.dtype == jnp.float32
    np.testing.assert_array_equal(jnp.argmax(logits, -1), expected["prediction"])
    log_p = jax.nn.log_softmax(logits)
    np.testing.assert_allclose(-log_p[[0, 1], labels], expected["loss"], rtol=1e-4)
    np.testing.assert_allclose(
        jnp.exp(log_p.max(-1)), expected["confidence"], rtol=1e-4
    )


def test_gradient_reaches_every_image_and_no_weight(classifier, images):
    _, (of_weights, of_images) = value_and_grad(classifier, images)
    assert np.all(np.isfinite(of_images))
    assert np.all(np.abs(of_images).max((1, 2, 3)) > 1e-6)
    assert not any(map(np.any, jax.tree.leaves(of_weights)))
    # Along one direction, against a difference of the values.
    direction = np.random.default_rng(2).normal(size=images.shape).astype(np.float32)
    above, below = (
        value_and_grad(classifier, images + step * direction)[0][0]
        for step in (0.5, -0.5)
    )
    np.testing.assert_allclose(above - below, np.sum(of_images * direction), rtol=0.02)


def test_weights_are_no_constants_of_the_program(classifier, images):
    jaxpr = jax.make_jaxpr(lambda c, x: c.logits(x))(classifier, images)
    # What is left: mean and deviation of normalisation, and tables of indices.
    floats = [c for c in jaxpr.consts if jnp.issubdtype(c.dtype, jnp.floating)]
    assert all(c.size <= 3 for c in floats)
    assert len(jaxpr.jaxpr.invars) == len(jax.tree.leaves(classifier.variables)) + 1


def test_images_on_many_devices_meet_the_weights(classifier):
    mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    place = jax.NamedSharding(mesh, jax.P("data"))
    images = jax.device_put(np.zeros((8, 16, 24, 3), np.float32), place)
    leaf = jax.tree.leaves(classifier.variables)[0]
    assert jax.jit(lambda x, y: x.sum() + y.sum())(leaf, images).shape == ()


def test_config_file_and_weights(classifier, run, file):
    again = frozen.load("maxvit", config=f"{file}:3", init_from=str(run))
    assert again.class_names == CLASSES
    jax.tree.map(np.testing.assert_array_equal, again.variables, classifier.variables)
    weights_file = str(run / "weights.safetensors")
    other = frozen.load("maxvit", config=f"{file}:3", init_from=weights_file)
    assert other.class_names == CLASSES
    # A config in place of the run's, whose weights stay.
    other = frozen.load("maxvit", config=f"{file}:3", workdir=run)
    assert other.class_names == CLASSES


def test_preprocessing_follows_published_weights(variables, file, tmp_path):
    safetensors.save_file(convert.to_timm(variables), tmp_path / "model.safetensors")
    expects = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
    expects |= {"crop_pct": 0.95, "crop_mode": "center"}
    (tmp_path / "config.json").write_text(json.dumps({"pretrained_cfg": expects}))
    classifier = frozen.load("maxvit", config=f"{file}:3", init_from=f"timm:{tmp_path}")
    preprocess = classifier.task.config.preprocess
    assert (preprocess.normalization, preprocess.eval_crop) == ("imagenet", "0.95")
    assert classifier.class_names == ("0", "1", "2")


def mistakes(run, file, tmp_path):
    """Yields arguments of `load` with a part of the message."""
    empty = tmp_path / "empty"
    empty.mkdir()
    restoration = tmp_path / "restoration"
    config = make_config(3)
    config.task = "restoration"
    configs.save(config, restoration, {})
    unfinished = tmp_path / "unfinished"
    configs.save(make_config(3), unfinished, {})
    broken = tmp_path / "broken.py"
    broken.write_text("1 / 0")
    yield "maxvitt", {"workdir": run}, "did you mean 'maxvit'"
    yield "maxvit", {}, "needs a run's directory, or a config file"
    yield "maxvit", {"workdir": empty}, f"no {empty}/config.json"
    yield "maxvit", {"workdir": restoration}, "unknown task 'restoration'"
    yield "maxvit", {"workdir": unfinished}, "no weights to use"
    yield "maxvit", {"config": f"{file}:3"}, "no weights to use"
    yield "maxvit", {"config": f"{file.parent}/tiy.py"}, f"did you mean '{file}'"
    yield "maxvit", {"config": str(broken)}, f"{broken}: ZeroDivisionError"
    yield "maxvit", {"config": str(file), "workdir": run}, "num_classes is needed"
    yield "maxvit", {"config": f"{file}:4", "workdir": run}, "num_classes=3"
    yield "maxvit", {"config": f"{file}:3", "init_from": str(empty)}, "no weights"


def test_mistakes_are_named_in_one_line(run, file, tmp_path):
    for name, arguments, message in mistakes(run, file, tmp_path):
        with pytest.raises(ConfigError) as error:
            frozen.load(name, **arguments)
        assert message in str(error.value), (arguments, str(error.value))
        assert "\n" not in str(error.value)
    with pytest.raises(DataError):
        frozen.load("maxvit", workdir=tmp_path)
