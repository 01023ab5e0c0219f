"""The quality network: blind to brightness and contrast, the mean of its patches."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from skimage import data

from common.errors import ConfigError
from common.models import cnniqa


@pytest.fixture(scope="module")
def network():
    model = cnniqa.create("cnniqa", 3, kernels=4, hidden=8)
    return model, model.init(jax.random.key(0), jnp.zeros((1, 64, 64, 3)))


def photo(height, width):
    return jnp.array(data.astronaut()[None, 100 : 100 + height, 200 : 200 + width] / 60)


def test_normalized_values_know_no_brightness_and_contrast():
    x = photo(64, 64)
    z = cnniqa._normalize(x, 0.0)
    np.testing.assert_allclose(cnniqa._normalize(3 * x + 0.5, 0.0), z, atol=1e-2)
    assert z.shape == x.shape
    flat = jnp.full((1, 32, 32, 3), 1.7)
    np.testing.assert_allclose(cnniqa._normalize(flat, 0.05), 0, atol=1e-2)
    # by hand, at one pixel
    window = np.asarray(x[0, 17:24, 27:34, 1])
    expected = (x[0, 20, 30, 1] - window.mean()) / window.std()
    assert float(z[0, 20, 30, 1]) == pytest.approx(float(expected), rel=1e-3)


def test_an_image_is_the_mean_of_its_patches(network):
    """But for what a convolution sees beyond their borders, which is little."""
    model, variables = network
    x = photo(64, 96)
    whole = model.apply(variables, x)
    halves = [model.apply(variables, x[:, :, a : a + 32]) for a in (0, 32, 64)]
    np.testing.assert_allclose(whole, sum(halves) / 3, atol=0.15 * np.abs(whole).max())
    beyond = jnp.pad(x, ((0, 0), (0, 31), (0, 31), (0, 0)), "symmetric")
    assert model.apply(variables, beyond).shape == (1, 3)
    assert model.apply(variables, x[:, :20, :20]).shape == (1, 3)


def test_dropout_is_for_training(network):
    model, variables = network
    x = photo(64, 64)
    one, two = (
        model.apply(variables, x, train=True, rngs={"dropout": jax.random.key(k)})
        for k in (0, 1)
    )
    assert np.abs(one - two).max() > 1e-4
    with pytest.raises(ConfigError, match="unknown quality network"):
        cnniqa.create("cnniq", 3)
