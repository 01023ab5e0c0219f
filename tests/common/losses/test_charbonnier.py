"""The Charbonnier loss against its formula in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from common.errors import ConfigError
from common.losses.charbonnier import charbonnier


@pytest.fixture
def pair():
    rng = np.random.default_rng(0)
    return rng.normal(size=(2, 3, 5, 7, 3)).astype(np.float32)


def test_value_is_the_formula_of_every_example(pair):
    prediction, target = pair
    square = (prediction.astype(np.float64) - target) ** 2
    expected = np.sqrt(square + 1e-6).mean((1, 2, 3))
    result = charbonnier(prediction, target)
    assert result.shape == (3,)
    np.testing.assert_allclose(result, expected, rtol=1e-6)
    expected = np.sqrt(square.sum(-1) + 0.25).mean((1, 2))
    result = charbonnier(prediction, target, 0.5, "pixel")
    np.testing.assert_allclose(result, expected, rtol=1e-6)


def test_equal_images_cost_epsilon_and_have_no_gradient(pair):
    image = jnp.asarray(pair[0])
    for distance in ("element", "pixel"):
        loss = lambda x, d=distance: charbonnier(x, image, 1e-3, d).sum()  # noqa: E731
        value, gradient = jax.value_and_grad(loss)(image)
        np.testing.assert_allclose(value, 3e-3, rtol=1e-6)
        np.testing.assert_array_equal(gradient, 0)


def test_gradient_is_that_of_l1_far_from_zero(pair):
    prediction, target = pair + np.float32([[[[[[3]]]]], [[[[[-3]]]]]])[:, 0]
    gradient = jax.grad(lambda x: charbonnier(x, target).sum())(prediction)
    np.testing.assert_allclose(gradient, 1 / (5 * 7 * 3), rtol=1e-5)


def test_half_precision_is_computed_in_float32(pair):
    prediction, target = (jnp.asarray(x, jnp.bfloat16) for x in pair)
    result = charbonnier(prediction, target)
    assert result.dtype == jnp.float32
    exact = charbonnier(prediction.astype(jnp.float32), target.astype(jnp.float32))
    np.testing.assert_allclose(result, exact, rtol=1e-6)


def test_what_is_refused(pair):
    prediction, target = pair
    with pytest.raises(ConfigError, match="did you mean 'pixel'"):
        charbonnier(prediction, target, distance="pixels")
    for epsilon in (0.0, -1.0, float("nan")):
        with pytest.raises(ConfigError, match="epsilon"):
            charbonnier(prediction, target, epsilon)
    # It would broadcast, and the loss would mean nothing.
    with pytest.raises(ValueError, match="differ in shape"):
        charbonnier(prediction, target[..., :1])
