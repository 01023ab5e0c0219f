"""The distance of score histograms: known values, and safe where they are equal."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import wasserstein_distance

from common.errors import ConfigError, DataError
from common.losses.emd import earth_movers_distance

VOTES = np.array([0, 1, 5, 17, 38, 36, 15, 6, 5, 1])
UNIFORM = np.full(10, 0.1)


def one_hot(score):
    return np.eye(10)[score - 1]


@pytest.mark.parametrize(
    ("p", "q", "first", "second"),
    [
        (one_hot(1), one_hot(10), 0.9, 0.948683),
        (one_hot(5), one_hot(6), 0.1, 0.316228),
        (UNIFORM, one_hot(1), 0.45, 0.533854),
        (VOTES / 124, UNIFORM, 0.139516, 0.161922),
    ],
)
def test_golden_values(p, q, first, second):
    for r, expected in ((1, first), (2, second)):
        found = earth_movers_distance(jnp.array(p), jnp.array(q), r)
        assert float(found) == pytest.approx(expected, abs=1e-6)
        assert float(earth_movers_distance(jnp.array(q), jnp.array(p), r)) == found


def test_first_order_is_that_of_scipy():
    p, q = np.random.default_rng(0).dirichlet(np.ones(10), (2, 6)).astype(np.float32)
    scores = np.arange(1, 11)
    expected = [
        wasserstein_distance(scores, scores, *pair) / 10
        for pair in zip(p, q, strict=True)
    ]
    found = earth_movers_distance(jnp.array(p), jnp.array(q), 1)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize("r", [1, 2])
def test_gradient_where_the_histograms_are_equal(r):
    p = jnp.array(UNIFORM)
    distance, gradient = jax.value_and_grad(earth_movers_distance)(p, p, r)
    assert distance == 0
    np.testing.assert_array_equal(gradient, 0)
    apart = jax.grad(earth_movers_distance)(p, jnp.array(one_hot(10)), r)
    assert np.all(np.isfinite(apart))
    assert apart[0] > apart[-1]  # it wants less of score 1 and more of 10


@pytest.mark.parametrize(
    ("p", "message"),
    [
        ([[0.5, 0.5], [0.5, 0.6]], r"histogram \[1\] sums to 1.1 "),
        ([[0.5, 0.5], [-0.5, 1.5]], r"least share -0.5"),
        ([[0.5, 0.5], [np.nan, 0.5]], r"histogram \[1\] sums to nan"),
        ([[1.0], [1.0]], "of one shape"),
        ([0.5, 0.5], "of one shape"),
    ],
)
def test_what_is_no_histogram(p, message):
    with pytest.raises(DataError, match=message):
        earth_movers_distance(jnp.array(p), jnp.full((2, 2), 0.5))


def test_orders_below_one_are_no_distance():
    with pytest.raises(ConfigError, match=r"r of at least 1, given 0\.5"):
        earth_movers_distance(jnp.array(UNIFORM), jnp.array(UNIFORM), 0.5)
