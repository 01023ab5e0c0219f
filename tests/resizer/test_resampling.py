"""The fixed resize: golden values, peers of it, and its gradient."""

import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from common.errors import ConfigError
from resizer import resampling
from tests.resizer.small import noise, quick

PATH = pathlib.Path(__file__).parents[1] / "golden" / "resizer.json"
GOLDEN = json.loads(PATH.read_text())
SIZES = [(12, 6), (12, 3), (12, 4), (10, 7), (11, 4), (7, 10), (5, 15), (9, 9), (6, 1)]


@pytest.mark.parametrize("case", GOLDEN["resize"], ids=lambda c: str(c["to"]))
def test_golden_lines(case):
    line = jnp.asarray(case["from"], jnp.float32)
    wide, high = line[None, None, :, None], line[None, :, None, None]
    out = resampling.resize(wide, (1, len(case["to"])), antialias=case["antialias"])
    np.testing.assert_allclose(out[0, 0, :, 0], case["to"], atol=1e-5)
    out = resampling.resize(high, (len(case["to"]), 1), antialias=case["antialias"])
    np.testing.assert_allclose(out[0, :, 0, 0], case["to"], atol=1e-5)


@pytest.mark.parametrize("case", GOLDEN["square"], ids=["plain", "antialias"])
def test_golden_square(case):
    image = jnp.arange(16.0).reshape(1, 4, 4, 1)
    out = resampling.resize(image, (2, 2), antialias=case["antialias"])
    np.testing.assert_allclose(out[0, :, :, 0], case["to"], atol=1e-5)


@pytest.mark.parametrize("axis", [1, 2])
@pytest.mark.parametrize(("length", "size"), SIZES)
def test_values_and_gradients_are_those_of_jax(axis, length, size):
    """Which resizes by dense matrices, and differentiates them."""
    shape = [2, 3, 3, 2]
    shape[axis] = length
    x = noise(*shape)
    goal = list(shape)
    goal[axis] = size

    def theirs(x):
        return jax.image.resize(x, goal, "linear", antialias=False)

    def ours(x):
        return resampling.resize(x, tuple(goal[1:3]))

    @quick
    def both(x):
        slopes = [
            jax.grad(lambda x, f=f: jnp.sum(f(x) ** 3))(x) for f in (ours, theirs)
        ]
        return (ours(x), theirs(x)), slopes

    for mine, expected in both(x):
        np.testing.assert_allclose(mine, expected, atol=2e-5)


def test_same_size_is_the_image_itself():
    x = jnp.ones((1, 4, 5, 3), jnp.bfloat16)
    assert resampling.resize(x, (4, 5)) is x
    assert resampling.resize(x, (2, 7)).dtype == jnp.bfloat16


@pytest.mark.parametrize("method", resampling.METHODS[1:])
def test_other_methods(method):
    x = noise(1, 8, 8, 1)
    for antialias in (False, True):
        resize = quick(lambda x, a=antialias: resampling.resize(x, (4, 3), method, a))
        assert resize(x).shape == (1, 4, 3, 1)
        np.testing.assert_allclose(resize(jnp.ones_like(x)), 1, atol=1e-5)


def test_unknown_method():
    with pytest.raises(ConfigError, match="did you mean 'linear'"):
        resampling.resize(jnp.ones((1, 4, 4, 1)), (2, 2), "lineer")
