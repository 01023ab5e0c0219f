"""Feature distances and Gram matrices against NumPy in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from common.errors import ConfigError
from common.losses.perceptual import feature_distance, gram

SHAPES = {"relu1_2": (3, 6, 5, 4), "relu2_2": (3, 3, 2, 7)}
WEIGHTS = {"relu1_2": 0.1, "relu2_2": 2.0}


@pytest.fixture
def pair():
    rng = np.random.default_rng(0)
    return [
        # Zeros in both, as behind ReLUs.
        {k: np.maximum(rng.normal(size=s), 0).astype(np.float32) for k, s in both}
        for both in (SHAPES.items(),) * 2
    ]


def grams(maps):
    samples = maps.astype(np.float64).reshape(len(maps), -1, maps.shape[-1])
    return samples.swapaxes(1, 2) @ samples / samples.shape[1]


def expected(kind, x, y):
    if kind == "gram":
        return np.linalg.norm(grams(x) - grams(y), axis=(1, 2))
    power = {"l1": 1, "l2": 2}[kind]
    return (np.abs(x.astype(np.float64) - y) ** power).mean((1, 2, 3))


LOSSES = {
    "l1": feature_distance,
    "l2": lambda *a, **k: feature_distance(*a, p=2, **k),
    "gram": gram,
}


@pytest.mark.parametrize("kind", LOSSES)
def test_values_by_layer_and_in_all(kind, pair):
    loss, layers = jax.jit(LOSSES[kind])(*pair, WEIGHTS)
    assert list(layers) == list(WEIGHTS)
    for name, weight in WEIGHTS.items():
        assert (layers[name].shape, layers[name].dtype) == ((3,), np.float32)
        value = weight * expected(kind, pair[0][name], pair[1][name])
        np.testing.assert_allclose(layers[name], value, rtol=1e-5)
    np.testing.assert_allclose(loss, sum(layers.values()).mean(), rtol=1e-6)
    plain = LOSSES[kind](*pair)[1]
    np.testing.assert_allclose(plain["relu2_2"], layers["relu2_2"] / 2, rtol=1e-6)


@pytest.mark.parametrize("kind", LOSSES)
def test_gradient_is_that_of_the_definition(kind, pair):
    name, (x, y) = "relu2_2", [maps["relu2_2"] for maps in pair]
    loss = lambda x: LOSSES[kind]({name: x}, {name: y})[0]  # noqa: E731
    slope = jax.jit(jax.grad(loss))(x)
    direction = np.random.default_rng(1).normal(size=x.shape)
    direction[(x == 0) & (y == 0)] = 0  # L1 has a kink there.
    ends = [expected(kind, x + s * 1e-6 * direction, y).mean() for s in (1, -1)]
    found = np.vdot(slope, direction)
    np.testing.assert_allclose(found, (ends[0] - ends[1]) / 2e-6, rtol=1e-3)


@pytest.mark.parametrize("kind", LOSSES)
def test_equal_maps_have_no_loss_and_no_gradient(kind, pair):
    loss = lambda x: LOSSES[kind](x, pair[0])[0]  # noqa: E731
    value, slope = jax.jit(jax.value_and_grad(loss))(pair[0])
    assert value == 0
    for array in slope.values():
        np.testing.assert_array_equal(array, 0)


def test_zeros_in_both_have_no_gradient(pair):
    slope = jax.grad(lambda x: feature_distance(x, pair[1])[0])(pair[0])["relu1_2"]
    x, y = (maps["relu1_2"] for maps in pair)
    ties = (x == 0) & (y == 0)
    assert ties.any()
    np.testing.assert_array_equal(slope == 0, ties)


def test_places_count_for_distances_and_not_for_gram(pair):
    x, y = pair
    turned = {k: v[:, ::-1] for k, v in x.items()}
    np.testing.assert_allclose(gram(turned, y)[0], gram(x, y)[0], rtol=1e-5)
    apart = feature_distance(turned, y)[0] - feature_distance(x, y)[0]
    assert abs(apart) > 1e-4


def test_what_comes_before(pair):
    x, y = ({k: 5 * v for k, v in maps.items()} for maps in pair)
    for kind, loss in LOSSES.items():
        # A scale that maps and targets share has no influence.
        for how in ("unit", "target_std"):
            ours, theirs = (loss(*p, normalization=how)[0] for p in ((x, y), pair))
            np.testing.assert_allclose(ours, theirs, rtol=1e-4)
        cut = [{k: v[:, 1:-1, 1:-1] for k, v in maps.items()} for maps in pair]
        only = {"relu1_2": 1.0}
        value = loss(*pair, only, border=1)[0]
        np.testing.assert_allclose(value, loss(*cut, only)[0], rtol=1e-6)
        half = [{k: jnp.asarray(v, jnp.bfloat16) for k, v in m.items()} for m in pair]
        assert loss(*half)[0].dtype == np.float32, kind


def test_what_is_refused(pair):
    for p in (0, 3, 1.5):
        with pytest.raises(ConfigError, match="must be 1 or 2"):
            feature_distance(*pair, p=p)
    other = pair[1] | {"relu1_2": pair[1]["relu1_2"][:, 1:]}
    for loss in (feature_distance, gram):
        with pytest.raises(ValueError, match="differ in shape"):
            loss(pair[0], other)
