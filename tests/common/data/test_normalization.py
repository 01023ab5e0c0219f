"""Normalisation against values computed by hand."""

import jax.numpy as jnp
import numpy as np
import pytest

from common.data.normalization import normalize
from common.errors import ConfigError


@pytest.mark.parametrize(
    ("style", "black", "white"),
    [
        ("half", [-1, -1, -1], [1, 1, 1]),
        ("unit", [0, 0, 0], [1, 1, 1]),
        (
            "imagenet",
            [-0.485 / 0.229, -0.456 / 0.224, -0.406 / 0.225],
            [0.515 / 0.229, 0.544 / 0.224, 0.594 / 0.225],
        ),
    ],
)
def test_black_and_white(style, black, white):
    images = np.zeros((2, 1, 1, 3), np.uint8)
    images[1] = 255
    result = normalize(jnp.asarray(images), style)
    assert result.dtype == jnp.float32
    np.testing.assert_allclose(result[:, 0, 0], [black, white], rtol=1e-6)


def test_dtype_is_of_the_result_only():
    images = jnp.full((1, 1, 1, 3), 37, jnp.uint8)
    expected = normalize(images, "imagenet").astype(jnp.bfloat16)
    np.testing.assert_array_equal(normalize(images, "imagenet", jnp.bfloat16), expected)


def test_unknown_style():
    with pytest.raises(ConfigError, match=r"'imagnet'; did you mean 'imagenet'"):
        normalize(jnp.zeros((1, 1, 1, 3)), "imagnet")
