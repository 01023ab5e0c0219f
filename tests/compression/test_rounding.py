import jax
import jax.numpy as jnp
import numpy as np
import pytest

from common.errors import ConfigError
from compression import rounding

VALUES = np.array([-2.5, -1.2, -0.5, -0.3, 0.0, 0.49, 0.5, 1.5, 2.5, 7.0], np.float32)
ROUNDED = np.array([-3, -1, -1, 0, 0, 0, 1, 2, 3, 7], np.float32)


def gradient(function, values=VALUES):
    return jax.grad(lambda x: jnp.sum(function(x)))(jnp.asarray(values))


def test_halves_are_rounded_away_from_zero():
    np.testing.assert_array_equal(rounding.hard(jnp.asarray(VALUES)), ROUNDED)
    assert not np.any(gradient(rounding.hard))


def test_straight_through_is_exact_with_gradient_one():
    np.testing.assert_array_equal(
        rounding.straight_through(jnp.asarray(VALUES)), ROUNDED
    )
    np.testing.assert_array_equal(gradient(rounding.straight_through), 1)


def test_cubic_keeps_the_cube_of_the_rest():
    rest = VALUES - ROUNDED
    np.testing.assert_allclose(
        rounding.cubic(jnp.asarray(VALUES)), ROUNDED + rest**3, atol=1e-6
    )
    np.testing.assert_allclose(gradient(rounding.cubic), 3 * rest**2, atol=1e-6)


def test_noise_is_uniform_and_passes_gradients():
    values = jnp.full(20_000, 3.0)
    noisy = np.asarray(rounding.noise(values, jax.random.key(0)))
    assert 2.5 <= noisy.min() < 2.51
    assert 3.49 < noisy.max() <= 3.5
    assert noisy.var() == pytest.approx(1 / 12, rel=0.03)
    passed = gradient(lambda x: rounding.noise(x, jax.random.key(0)))
    np.testing.assert_array_equal(passed, 1)


def test_clip_lets_gradients_pass():
    values = jnp.asarray([-5.0, 10.0, 300.0])
    np.testing.assert_array_equal(rounding.clip(values, 0, 255), [0, 10, 255])
    np.testing.assert_array_equal(
        gradient(lambda x: rounding.clip(x, 0, 255), values), 1
    )


@pytest.mark.parametrize("sign", [1, -1])
def test_bounded_stops_only_what_leads_outside(sign):
    values = jnp.asarray([-1.0, 0.0, 0.5, 1.0, 2.0])
    passed = gradient(lambda x: sign * rounding.bounded(x, 0.0, 1.0), values)
    # A descent subtracts the gradient: positive ones lead down.
    expected = {1: [0, 0, 1, 1, 1], -1: [-1, -1, -1, 0, 0]}[sign]
    np.testing.assert_array_equal(passed, expected)
    np.testing.assert_array_equal(rounding.bounded(values, 0.0, 1.0), [0, 0, 0.5, 1, 1])


def test_wrong_choices_are_named():
    with pytest.raises(ConfigError, match="did you mean 'cubic'"):
        rounding.check("cubik", None)
    with pytest.raises(ConfigError, match="needs a key"):
        rounding.check("noise", None)
