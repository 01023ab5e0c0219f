"""Weights for a model around a backbone: its own, or of the backbone alone."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from common.checkpoint import matching, weights
from common.errors import ConfigError, DataError
from common.models import backbone_weights, registry


@pytest.fixture(scope="module")
def inner():
    """Variables of a ResNet-18, with numbers that tell its arrays apart."""
    network = registry.backbone("resnet18", 0, image_size=32)
    images = jnp.zeros((1, 32, 32, 3))
    abstract = jax.eval_shape(network.init, jax.random.key(0), images)
    leaves = matching.leaves(abstract)
    flat = {name: np.full(x.shape, i, x.dtype) for i, (name, x) in enumerate(leaves)}
    return matching.nest(flat)


def around(inner):
    """A model that has them as its backbone, and a head."""
    model = {group: {"backbone": tree} for group, tree in inner.items()}
    model["params"]["head"] = {"kernel": np.ones((512, 10), np.float32)}
    return model


def test_of_the_whole_model(inner, tmp_path):
    path = tmp_path / "model.safetensors"
    weights.save(path, around(inner))
    found = backbone_weights.read("resnet18", str(path), around(inner))
    assert found.keys() == dict(matching.leaves(around(inner))).keys()
    np.testing.assert_array_equal(found["params/head/kernel"], 1)


def test_of_the_backbone_alone(inner, tmp_path):
    path = tmp_path / "backbone.safetensors"
    weights.save(path, inner)
    found = backbone_weights.read("resnet18", str(path), around(inner))
    expected = {
        name.replace("/", "/backbone/", 1): array
        for name, array in matching.leaves(inner)
    }
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array)
    assert backbone_weights.load_own(str(path), around(inner)) is None


def test_a_model_in_which_the_network_is_deeper_is_another(inner, tmp_path):
    path = tmp_path / "model.safetensors"
    weights.save(path, around(inner))
    deeper = around(around(inner))
    assert backbone_weights.load_own(str(path), deeper) is None
    assert backbone_weights.load_own(str(path), around(inner)) is not None


def test_nothing_that_can_be_read(inner, tmp_path):
    with pytest.raises(DataError, match=r"searched .*none\.npz"):
        backbone_weights.read("resnet18", str(tmp_path / "none.npz"), around(inner))
    with pytest.raises(ConfigError, match="published weights of cnniqa are not read"):
        backbone_weights.read("cnniqa", str(tmp_path / "none.npz"), around(inner))
