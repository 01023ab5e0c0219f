"""The projected distribution loss: known values, SciPy, properties."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import wasserstein_distance

from common.errors import ConfigError
from common.losses.balance import gradient_ratio
from common.losses.projected_distribution import (
    projected_distribution_loss,
    wasserstein,
)

_I = np.arange(36).reshape(1, 6, 3, 2)
A = ((7 * _I) % 11 / 10).astype(np.float32)
B = ((5 * _I) % 13 / 10).astype(np.float32)


def loss(x, y, **options):
    return projected_distribution_loss({"a": x}, {"a": y}, **options)[0]


@pytest.fixture
def maps():
    rng = np.random.default_rng(0)
    return np.maximum(rng.normal(size=(2, 3, 8, 6, 5)), 0).astype(np.float32)


def test_known_values():
    per_channel = wasserstein(
        A.reshape(1, 18, 2).swapaxes(1, 2), B.reshape(1, 18, 2).swapaxes(1, 2)
    )
    np.testing.assert_allclose(per_channel, [[0.0833333, 0.1222222]], atol=1e-6)
    np.testing.assert_allclose(loss(A, B), 0.1027778, atol=1e-6)
    np.testing.assert_allclose(
        loss(A, B, reduction="sum_channels"), 0.2055556, atol=1e-6
    )
    np.testing.assert_allclose(
        loss(A, B, reduction="sum_all"), 18 * 0.2055556, rtol=1e-5
    )
    # Of POT, sliced_wasserstein_distance with the axes as projections.
    np.testing.assert_allclose(np.sqrt(loss(A, B, p=2)), 0.12583057, atol=1e-6)


def test_known_gradients():
    v = jnp.array([2.5, 0.2, 3.5, 0.9])
    target = jnp.arange(4.0)
    gradient = jax.grad(lambda v: 4 * wasserstein(v, target))(v)
    np.testing.assert_array_equal(gradient, [1, 1, 1, -1])
    gradient = jax.grad(lambda v: 4 * wasserstein(v, target, 2))(v)
    np.testing.assert_allclose(gradient, [1.0, 0.4, 1.0, -0.2], atol=1e-6)


def test_a_shift_is_its_own_distance(maps):
    np.testing.assert_allclose(loss(maps[0], maps[0] + 0.25), 0.25, atol=1e-6)


def test_places_do_not_count_and_channels_do(maps):
    x, y = maps
    moved = np.random.default_rng(1).permutation(x.reshape(3, 48, 5), axis=1)
    np.testing.assert_allclose(loss(moved.reshape(x.shape), y), loss(x, y), rtol=1e-6)
    x = x * np.arange(1, 6, dtype=np.float32)  # unlike channels
    assert abs(loss(x[..., ::-1], y) - loss(x, y)) > 1e-3


def test_at_most_the_distance_of_places(maps):
    assert loss(*maps) <= np.abs(maps[0] - maps[1]).mean()


def test_equals_scipy_also_for_unequal_counts(maps):
    x, y = maps[0].reshape(3, 48, 5), maps[1].reshape(3, 48, 5)
    expected = [
        [wasserstein_distance(x[b, :, c], y[b, :, c]) for c in range(5)]
        for b in range(3)
    ]
    found = wasserstein(x.swapaxes(1, 2), y.swapaxes(1, 2))
    np.testing.assert_allclose(found, expected, atol=1e-6)
    # Quantiles of smooth distributions, at as many places as the fewer samples are.
    x, y = np.linspace(0, 1, 1000), 0.5 + 2 * np.linspace(0, 1, 250)
    for u, v in ((x, y), (y, x)):
        found = wasserstein(jnp.float32(u), jnp.float32(v))
        np.testing.assert_allclose(found, wasserstein_distance(u, v), rtol=1e-3)


def test_maps_of_other_sizes(maps):
    x = jnp.asarray(maps[0])
    twice = jnp.repeat(x, 2, axis=1)  # the same distribution
    layers = projected_distribution_loss({"a": x}, {"a": twice})[1]
    assert layers["a"].shape == (3,)
    np.testing.assert_allclose(layers["a"], 0, atol=0.02)


@pytest.mark.parametrize(
    "options", [{}, {"p": 2}, {"projection": "random", "key": jax.random.key(0)}]
)
def test_no_gradient_at_equality_and_none_for_targets(maps, options):
    x, y = map(jnp.asarray, maps)
    value, gradient = jax.value_and_grad(lambda x: loss(x, maps[0], **options))(x)
    assert value == 0
    np.testing.assert_array_equal(gradient, 0)
    np.testing.assert_array_equal(jax.grad(lambda y: loss(x, y, **options))(y), 0)
    assert np.abs(jax.grad(lambda x: loss(x, y, **options))(x)).max() > 0


def test_each_image_has_its_own_target(maps):
    x, y = maps
    single = [loss(x[i : i + 1], y[i : i + 1]) for i in range(3)]
    np.testing.assert_allclose(loss(x, y), np.mean(single), rtol=1e-6)


def test_layers_are_weighted_and_add_up(maps):
    x, y = {"a": maps[0], "b": maps[0][:, ::2]}, {"a": maps[1], "b": maps[1][:, ::2]}
    total, layers = projected_distribution_loss(x, y, {"a": 0.5, "b": 2.0})
    np.testing.assert_allclose(total, np.mean(layers["a"] + layers["b"]), rtol=1e-6)
    np.testing.assert_allclose(
        layers["a"].mean(), 0.5 * loss(x["a"], y["a"]), rtol=1e-6
    )


def test_random_directions_agree_with_one_by_one(maps):
    x, y = maps
    key = jax.random.key(3)
    found = loss(x, y, projection="random", key=key, num_projections=70)
    drawn = jax.random.normal(jax.random.split(key, 1)[0], (70, 5))
    directions = drawn / np.linalg.norm(drawn, axis=1, keepdims=True)
    expected = [
        wasserstein_distance(x[b].reshape(-1, 5) @ d, y[b].reshape(-1, 5) @ d)
        for b in range(3)
        for d in np.asarray(directions)
    ]
    np.testing.assert_allclose(found, np.mean(expected), rtol=1e-4)


def test_half_precision_agrees(maps):
    x, y = map(jnp.asarray, maps)
    step = jax.jit(jax.vmap(jax.value_and_grad(lambda x, y: loss(x[None], y[None]))))
    full, half = step(x, y), step(x.astype(jnp.bfloat16), y.astype(jnp.bfloat16))
    np.testing.assert_allclose(half[0], full[0], rtol=1e-2)
    # The sign of a gap is that of the rounded values, so a few elements turn round.
    same = np.isclose(half[1].astype(jnp.float32), full[1], rtol=1e-2)
    assert same.mean() > 0.95


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"p": 3}, "p=3"),
        ({"projection": "axes"}, "did you mean 'axis'"),
        ({"reduction": "avg"}, "reduction"),
        ({"projection": "random"}, "needs a key"),
        (
            {"projection": "random", "key": jax.random.key(0), "num_projections": 0},
            "num_projections=0",
        ),
        ({"weights": {"b": 1.0}}, "layer of the features"),
    ],
)
def test_what_cannot_be_is_refused(maps, options, message):
    with pytest.raises(ConfigError, match=message):
        loss(*maps, **options)


def test_gradient_ratio_makes_both_pull_equally(maps):
    x, y = jnp.asarray(maps[0]), jnp.asarray(maps[1])
    pixel = lambda x: jnp.square(x - y).mean()  # noqa: E731
    other = lambda x: 7 * loss(x, y)  # noqa: E731
    ratio = gradient_ratio(pixel, other, x)
    lengths = [jnp.linalg.norm(jax.grad(f)(x).ravel()) for f in (pixel, other)]
    np.testing.assert_allclose(ratio * lengths[1], lengths[0], rtol=1e-5)
    assert gradient_ratio(pixel, lambda x: 0 * x.sum(), x) == 0
