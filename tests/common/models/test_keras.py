"""Networks of Keras: as Keras computes them, and with weights that Keras wrote."""

import subprocess
import sys
from pathlib import Path

import h5py
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from common.checkpoint import matching, weights
from common.errors import ConfigError, DataError
from common.models import keras_graph, keras_weights, registry
from tests.common.models import by_hand

# Keras copies arrays in a way that NumPy will no longer have.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
CLASSES = 7
MEAN, DEVIATION = (np.array(v, np.float32) for v in keras_weights._NORMALIZATION)


def images(side=32):
    rng = np.random.default_rng(2)
    return rng.normal(size=(2, side, side, 3)).astype(np.float32)


def random(rng, name, shape):
    """An array that keeps maps within bounds."""
    if name in ("gamma", "moving_variance"):
        return rng.uniform(0.5, 1.5, shape).astype(np.float32)
    scale = np.sqrt(2 / np.prod(shape[:-1])) if name == "kernel" else 0.3
    # Of a depthwise kernel nothing is summed over its channels.
    if len(shape) == 4 and shape[-1] == 1:
        scale = np.sqrt(2 / np.prod(shape[:2]))
    return (scale * rng.normal(size=shape)).astype(np.float32)


def original(name, classes=CLASSES, side=32):
    """The model of Keras itself, in its shape for this size."""
    keras = keras_graph.library()
    make = getattr(keras.applications, keras_graph.NETWORKS[name].function)
    options = {"input_shape": (side, side, 3), "classifier_activation": None}
    return keras_graph._abstractly(
        lambda: make(weights=None, classes=classes, **options)
    )


class Values:
    """Random values of a model of Keras, by layer and variable."""

    def __init__(self, model, seed=0):
        self.model, self.arrays = model, {}
        rng = np.random.default_rng(seed)
        for layer in model.layers:
            for variable in layer.weights:
                name = f"{layer.name}/{variable.name}"
                self.arrays[name] = random(rng, variable.name, variable.shape)
                if name.endswith("/count"):
                    self.arrays[name] = np.zeros((), np.int32)
                elif name.endswith("/mean"):
                    self.arrays[name] = MEAN
                elif name.endswith("/variance"):
                    self.arrays[name] = np.square(DEVIATION)

    def ours(self):
        statistics = keras_graph.STATISTICS
        return matching.nest(
            {
                f"{'batch_stats' if k.endswith(statistics) else 'params'}/{k}": v
                for k, v in self.arrays.items()
                if k.split("/")[1] not in ("mean", "variance", "count")
            }
        )

    def save(self, path):
        keras = keras_graph.library()
        with keras.StatelessScope() as scope:
            for layer in self.model.layers:
                for variable in layer.weights:
                    array = self.arrays[f"{layer.name}/{variable.name}"]
                    scope.add_update((variable, jnp.asarray(array)))
            if path.name.endswith(".weights.h5"):
                self.model.save_weights(path)
            else:
                # What Keras still reads but no longer writes for weights alone.
                from keras.src.legacy.saving import legacy_h5_format

                with h5py.File(path, "w") as file:
                    legacy_h5_format.save_weights_to_hdf5_group(file, self.model)

    def logits(self, x):
        def arrays(variables):
            layers = {id(v): k for k in self.model.layers for v in k.weights}
            return [
                self.arrays[f"{layers[id(v)].name}/{v.name}"]
                if id(v) in layers
                else jnp.zeros(v.shape, v.dtype)
                for v in variables
            ]

        @jax.jit
        def call(trainable, rest, x):
            return self.model.stateless_call(trainable, rest, x, training=False)[0]

        for layer in self.model.layers:
            if isinstance(layer, keras_graph.library().layers.Normalization):
                # It computed these of its variables when it had no values.
                shape = (1, 1, 1, 3)
                layer.mean = MEAN.reshape(shape)
                layer.variance = np.square(DEVIATION).reshape(shape)
        trainable = arrays(self.model.trainable_variables)
        return call(trainable, arrays(self.model.non_trainable_variables), x)


@pytest.fixture(scope="module")
def mobilenet():
    return Values(original("mobilenet_v2"))


def check_equal(name, values, side=32):
    """What Keras computes of images that it normalises itself, or that we do."""
    x = images(side)
    theirs = 255 * (x * DEVIATION + MEAN) if name == "efficientnet_b0" else x
    network = registry.backbone(name, CLASSES)
    logits = jax.jit(network.apply)(values.ours(), x)
    np.testing.assert_allclose(logits, values.logits(theirs), rtol=1e-3, atol=1e-3)
    assert np.std(logits) > 0.01


def test_logits_are_those_of_keras(mobilenet):
    check_equal("mobilenet_v2", mobilenet)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["densenet121", "efficientnet_b0", "inception_v3"])
def test_the_others_are_those_of_keras(name, tmp_path):
    side = 80 if name == "inception_v3" else 32
    model = original(name, side=side)
    keras_graph._renumber(model)
    values = Values(model)
    check_equal(name, values, side)
    for path in (tmp_path / "w.weights.h5", tmp_path / "w.h5"):
        values.save(path)
        found = matching.nest(keras_weights.read(path, values.ours()))
        jax.tree.map(np.testing.assert_array_equal, found, values.ours())


def test_names_do_not_depend_on_what_was_made_before():
    models = [keras_graph.original("inception_v3", classes) for classes in (0, 3)]
    names = [{k.name for k in model.layers if k.weights} for model in models]
    assert names[1] - names[0] == {"predictions"}
    assert names[0] >= {"conv2d", "conv2d_93", "batch_normalization_93"}
    assert len(names[0]) == 2 * 94


def test_training_updates_statistics_and_features_are_pooled(mobilenet):
    network = registry.backbone("mobilenet_v2", 0, norm_momentum=0.75)
    variables = mobilenet.ours()
    variables["params"] = {
        k: v for k, v in variables["params"].items() if k != "predictions"
    }

    @jax.jit
    def train(variables):
        return network.apply(variables, images(), train=True, mutable=["batch_stats"])

    features, new = train(variables)
    assert (features.shape, features.dtype) == ((2, 1280), jnp.float32)
    assert jax.tree.structure(new["batch_stats"]) == jax.tree.structure(
        variables["batch_stats"]
    )
    x = by_hand.same_pad(images().transpose(0, 3, 1, 2), 3, 2)
    kernel = mobilenet.arrays["Conv1/kernel"].transpose(3, 2, 0, 1)
    x = by_hand.conv(x, kernel, None, 2)
    old, found = (tree["batch_stats"]["bn_Conv1"] for tree in (variables, new))
    for array, value in (
        ("moving_mean", x.mean((0, 2, 3))),
        ("moving_variance", x.var((0, 2, 3))),
    ):
        expected = 0.75 * old[array] + 0.25 * value
        np.testing.assert_allclose(found[array], expected, rtol=1e-3, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mobilenet_v2", "efficientnet_b0", "inception_v2"])
def test_training_fits_a_batch(name):
    """Forward, backward and the paths that are dropped."""
    network = registry.backbone(name, 8, image_size=64, norm_momentum=0.8)
    x = np.random.default_rng(0).normal(size=(8, 64, 64, 3)).astype(np.float32)
    variables = jax.jit(network.init)(jax.random.key(0), x[:1])

    def loss(params, statistics, key):
        logits, new = network.apply(
            {"params": params, "batch_stats": statistics},
            x,
            train=True,
            mutable=["batch_stats"],
            rngs={"dropout": key},
        )
        log_p = jax.nn.log_softmax(logits)
        return -jnp.mean(jnp.diagonal(log_p)), new["batch_stats"]

    @jax.jit
    def step(params, statistics, key):
        (value, statistics), gradient = jax.value_and_grad(loss, has_aux=True)(
            params, statistics, key
        )
        params = jax.tree.map(lambda p, g: p - 0.02 * g, params, gradient)
        return value, params, statistics

    args = variables["params"], variables["batch_stats"]
    values = [float(step(*args, jax.random.key(k))[0]) for k in (0, 0, 1)]
    assert values[0] == values[1]
    assert (values[0] != values[2]) == (name != "mobilenet_v2")
    for k in range(20):
        value, *args = step(*args, jax.random.key(k))
    assert value < 0.7 * values[0]


@pytest.mark.parametrize("name", ["m.weights.h5", "m.h5"])
def test_files_of_keras_are_read(name, mobilenet, tmp_path):
    path, target = tmp_path / name, mobilenet.ours()
    mobilenet.save(path)
    found = registry.read_weights("mobilenet_v2", path, target)
    variables, report = matching.match(target, found)
    report.raise_if_any()
    jax.tree.map(np.testing.assert_array_equal, variables, target)
    # Without a classifier, or with one of another width.
    classifier = target["params"].pop("predictions")
    headless = keras_weights.read(path, target)
    assert found.keys() - headless.keys() == {
        "params/predictions/kernel",
        "params/predictions/bias",
    }
    target["params"]["predictions"] = {k: v[..., :3] for k, v in classifier.items()}
    other = keras_weights.read(path, target)
    assert other["params/predictions/kernel"].shape == (1280, CLASSES)


def test_arrays_with_these_names_are_read(mobilenet, tmp_path):
    target = mobilenet.ours()
    np.savez(tmp_path / "keras.npz", **mobilenet.arrays)
    weights.save(tmp_path / "ours.safetensors", target)
    for name in ("keras.npz", "ours.safetensors"):
        found = matching.nest(keras_weights.read(tmp_path / name, target))
        jax.tree.map(np.testing.assert_array_equal, found, target)
    np.savez(tmp_path / "keras.npz", **{"Conv1/kernel": np.ones(1)})
    with pytest.raises(ConfigError, match="259 of 262 arrays are missing, as bn_Conv1"):
        keras_weights.read(tmp_path / "keras.npz", target)


def test_a_network_that_normalises_otherwise_is_refused():
    # The published files call the deviation a variance: its root comes in twice.
    for variance in (DEVIATION, np.square(DEVIATION)):
        arrays = {"n/mean": MEAN, "n/variance": variance}
        keras_weights._check_input(Path("w.h5"), arrays)
    message = r"w\.h5: its layer 'n' has mean .* variance \[1\.0, 1\.0, 1\.0\], so"
    with pytest.raises(ConfigError, match=message):
        keras_weights._check_input(Path("w.h5"), arrays | {"n/variance": np.ones(3)})


def test_mistakes_are_named_in_one_line(mobilenet, tmp_path):
    target, path = mobilenet.ours(), tmp_path / "m.weights.h5"
    mobilenet.save(path)
    whole = path.read_bytes()

    def refuse(message, path=path, target=target, kind=ConfigError):
        with pytest.raises(kind, match=message) as error:
            keras_weights.read(path, target)
        assert "\n" not in str(error.value)

    # Only the name of its first layer counts to know a network.
    efficientnet = {"params": {"stem_conv": {"kernel": np.zeros(1)}}}
    refuse("holds no weights of efficientnet_b0", target=efficientnet)
    refuse("of none of mobilenet_v2, densenet121", target={"params": {}})
    refuse(r"from \.h5, .* files, given m\.pkl", path="m.pkl")
    refuse("no weight file", path=tmp_path / "n.h5", kind=DataError)
    path.write_bytes(whole[: len(whole) // 2])
    refuse("truncated or broken")
    path.write_bytes(b"no HDF5")
    refuse("truncated or broken")
    path.write_bytes(whole)
    with h5py.File(path, "r+") as file:
        name = next(iter(file["layers/conv2d/vars"]))
        del file[f"layers/conv2d/vars/{name}"]
    refuse("holds no weights of mobilenet_v2")
    (tmp_path / "other.h5").write_bytes(whole)
    with h5py.File(path, "r+") as file:
        link = h5py.ExternalLink(tmp_path / "other.h5", f"layers/conv2d/vars/{name}")
        file[f"layers/conv2d/vars/{name}"] = link
    refuse("holds no weights of mobilenet_v2: .* ExternalLink")
    path.write_bytes(whole)
    with h5py.File(path, "r+") as file:
        file[f"layers/conv2d/vars/{name}"][0, 0, 0, 0] = np.nan
    refuse("Conv1/kernel .* not finite")
    with h5py.File(path, "r+") as file:
        file["more"] = "text"
    refuse("more holds object, expected numbers")
    with h5py.File(path, "w") as file:
        file.create_dataset("x", (2**20, 2**20), np.float32, chunks=True)
    refuse("bytes of arrays, more than the limit")


def test_options_that_cannot_be():
    with pytest.raises(ConfigError, match="unknown dtype of mobilenet_v2 'float16'"):
        registry.backbone("mobilenet_v2", dtype="float16")
    with pytest.raises(ConfigError, match=r"norm_momentum is 1\.0, expected one in"):
        registry.backbone("mobilenet_v2", norm_momentum=1.0)
    with pytest.raises(ConfigError, match="did you mean 'mobilenet_v2'"):
        keras_graph.find("mobilenet_v3")


def test_another_backend_is_named(monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "tensorflow")
    with pytest.raises(ConfigError, match=r"backend 'tensorflow' .*BACKEND=jax"):
        keras_graph.library()
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    keras = keras_graph.library()
    # Somebody imported it before, with another backend.
    monkeypatch.setattr(keras.config, "backend", lambda: "torch")
    with pytest.raises(ConfigError, match="has the backend 'torch'"):
        keras_graph.library()


CODE = """
import sys, jax
from common.models import keras_backbone, keras_weights, registry
registry.backbone("mobilenet_v2", 3)
assert "keras" not in sys.modules
before = dict(jax.config.values)
from common.models import keras_graph
keras_graph.trunk("mobilenet_v2", "float32")
assert "keras" in sys.modules
changed = {k for k, v in jax.config.values.items() if v != before[k]}
assert not changed, changed
assert not {"tensorflow", "torch"} & set(sys.modules)
assert jax.numpy.ones(3).dtype == "float32"
"""


def test_keras_is_imported_late_and_leaves_jax_as_it_is():
    subprocess.run([sys.executable, "-c", CODE], check=True)
