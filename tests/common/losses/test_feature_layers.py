"""Presets, and what is done with maps before they are compared."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from common.errors import ConfigError
from common.losses import feature_layers
from common.metrics import trunks


def maps(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def test_presets_are_taps_of_vgg19():
    after = trunks.tap_names("vgg19")
    known = {*after, *(name.replace("relu", "conv") for name in after)}
    for name in feature_layers.PRESETS:
        weights = feature_layers.find(name)
        assert weights.keys() <= known
        assert min(weights.values()) > 0
    assert list(feature_layers.find("esrgan").values()) == [0.1, 0.1, 1, 1, 1]
    assert list(feature_layers.find("gdf").values()) == [1, 0.5, 0.1, 0.075, 0.075]
    feature_layers.find("single")["relu4_2"] = 7.0  # A copy.
    assert feature_layers.find("single") == {"relu4_2": 1.0}
    with pytest.raises(ConfigError, match="layers 'esrgn'; did you mean 'esrgan'"):
        feature_layers.find("esrgn")


def test_layers_come_in_the_order_of_the_weights_as_float32():
    x, y = ({k: jnp.asarray(maps(1, 2, 2, 3)) for k in "abc"} for _ in range(2))
    x = {k: v.astype(jnp.bfloat16) for k, v in x.items()}
    pairs = feature_layers.prepare(x, y, {"c": 2.0, "a": 0.5})
    assert [(k, pair.weight) for k, pair in pairs.items()] == [("c", 2.0), ("a", 0.5)]
    assert all(m.dtype == np.float32 for pair in pairs.values() for m in pair[:2])
    assert list(feature_layers.prepare(x, y)) == list("abc")
    assert feature_layers.prepare(x, y)["b"].weight == 1


@pytest.mark.parametrize("normalization", [None, "target_std", "unit"])
def test_no_gradient_goes_to_the_target(normalization):
    def loss(x, y):
        pair = feature_layers.prepare({"a": x}, {"a": y}, None, normalization)["a"]
        return jnp.sum(jnp.sin(pair.features - 2 * pair.target))

    x, y = maps(2, 1, 3, 4, 5)
    ours, theirs = jax.grad(loss, (0, 1))(x, y)
    assert np.all(ours != 0)
    np.testing.assert_array_equal(theirs, 0)


def test_normalizations():
    x, y = maps(2, 2, 4, 3, 5) * np.array([1, 10]).reshape(2, 1, 1, 1)
    y[1] = 3  # A map without variance stays what it is.
    pair = feature_layers.prepare({"a": x}, {"a": y}, None, "target_std")["a"]
    std = np.array([y[0].std(), 1])[:, None, None, None]
    np.testing.assert_allclose(pair.features, x / std, rtol=1e-5)
    np.testing.assert_allclose(pair.target, y / std, rtol=1e-5)
    x[0, 1, 1] = 0
    pair = feature_layers.prepare({"a": x}, {"a": y}, None, "unit")["a"]
    length = np.linalg.norm(pair.features, axis=-1)
    expected = np.ones((2, 4, 3))
    expected[0, 1, 1] = 0
    np.testing.assert_allclose(length, expected, rtol=1e-5)
    slope = jax.grad(lambda x: feature_layers.unit(x)[..., 0].sum())(x)
    assert np.isfinite(slope).all()


def test_the_border_is_cut_off_before_normalisation():
    x, y = maps(2, 1, 6, 7, 2)
    y[:, 0] = 1e6
    pair = feature_layers.prepare({"a": x}, {"a": y}, None, "target_std", 2)["a"]
    inside = y[:, 2:-2, 2:-2]
    np.testing.assert_allclose(pair.target, inside / inside.std(), rtol=1e-5)
    np.testing.assert_allclose(pair.features, x[:, 2:-2, 2:-2] / inside.std(), 1e-5)


def test_another_size_where_it_is_allowed():
    x, y = {"a": maps(1, 4, 4, 2)}, {"a": maps(1, 3, 5, 2)}
    pair = feature_layers.prepare(x, y, same_size=False)["a"]
    assert (pair.features.shape, pair.target.shape) == ((1, 4, 4, 2), (1, 3, 5, 2))
    with pytest.raises(ValueError, match=r"a: maps \(1, 4, 4, 2\) and .* differ"):
        feature_layers.prepare(x, y)
    for other in (maps(2, 4, 4, 2), maps(1, 4, 4, 3)):
        with pytest.raises(ValueError, match="differ"):
            feature_layers.prepare(x, {"a": other}, same_size=False)


def test_what_is_refused():
    x = {"relu1_1": maps(1, 4, 5, 2)}
    for arguments, message in (
        ((x, x, {"relu1_2": 1.0}), "layer of the features 'relu1_2'; did you mean 'r"),
        ((x, {}, None), "layer of the targets 'relu1_1' "),
        (({}, x, None), "layer of the features 'relu1_1' "),
        (({}, {}, None), "at least one layer"),
        ((x, x, {"relu1_1": -1.0}), "weight of relu1_1=-1.0"),
        ((x, x, {"relu1_1": float("nan")}), "weight of relu1_1=nan"),
        ((x, x, None, "units"), "did you mean 'unit'"),
        ((x, x, None, None, -1), "border=-1"),
    ):
        with pytest.raises(ConfigError, match=message):
            feature_layers.prepare(*arguments)
    with pytest.raises(ValueError, match="border of 2 leaves nothing of a side of 4"):
        feature_layers.prepare(x, x, border=2)
    with pytest.raises(ValueError, match=r"maps are \[B, H, W, C\]"):
        feature_layers.prepare({"a": maps(3)}, {"a": maps(3)})
