"""The blocks of the networks, in other words."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from deblur_diffusion import blocks


def image(*shape, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, shape).astype(np.float32)


def filled(block, *inputs):
    """Variables, none of them zero."""
    init = functools.partial(block.init, train=False)
    shapes = jax.eval_shape(init, jax.random.key(0), *inputs)
    rng = np.random.default_rng(0)
    return jax.tree.map(lambda x: rng.normal(0, 0.2, x.shape).astype("f"), shapes)


def conv(x, params, strides=1, up=False):
    kernel = params["kernel"]
    padding = [((size - 1) // 2, (size - 1) // 2) for size in kernel.shape[:2]]
    dimensions = ("NHWC", "HWIO", "NHWC")
    return params["bias"] + jax.lax.conv_general_dilated(
        x,
        kernel,
        (strides, strides),
        [(1, 1)] * 2 if up else padding,
        lhs_dilation=(2, 2) if up else None,
        dimension_numbers=dimensions,
    )


def swish(x):
    return x / (1 + jnp.exp(-x))


@pytest.mark.parametrize(
    ("sampling", "resampling"),
    [
        ("keep", "pool"),
        ("down", "pool"),
        ("up", "pool"),
        ("down", "conv"),
        ("up", "conv"),
    ],
)
@pytest.mark.parametrize(("conditional", "rescale"), [(True, False), (False, True)])
def test_block(sampling, resampling, conditional, rescale):
    """Step by step; the order of resampling and projection is the other one."""
    block = blocks.ResidualBlock(6, sampling, resampling, 0.0, rescale, jnp.float32)
    inputs = image(2, 4, 6, 3), image(2, 4, 6, 2, seed=1)
    inputs += (image(2, 5, seed=2) if conditional else None,)
    variables = filled(block, *inputs)

    def resampled(x, p, name):
        if sampling == "keep":
            return x
        if resampling == "conv":
            return conv(x, p[name], 2 if sampling == "down" else 1, sampling == "up")
        if sampling == "up":
            return jnp.repeat(jnp.repeat(x, 2, axis=1), 2, axis=2)
        return sum(x[:, i::2, j::2] for i in (0, 1) for j in (0, 1)) / 4

    def expected(variables, x, skip, noise):
        p = variables["params"]
        x = jnp.concatenate([x, skip], -1)
        y = conv(resampled(swish(x), p, "resample"), p["conv1"])
        if conditional:
            shift = swish(noise) @ p["noise"]["kernel"] + p["noise"]["bias"]
            y = y + shift[:, None, None]
        y = conv(swish(y), p["conv2"])
        shortcut = resampled(x, p, "shortcut")
        if sampling == "keep" or resampling == "pool":
            shortcut = conv(shortcut, p["shortcut"])
        return (y + shortcut) / (2**0.5 if rescale else 1)

    found = jax.jit(functools.partial(block.apply, train=False))(variables, *inputs)
    np.testing.assert_allclose(found, jax.jit(expected)(variables, *inputs), atol=2e-5)


def test_shortcut_is_the_input_where_nothing_changes():
    block = blocks.ResidualBlock(3, "keep", "pool", 0.0, False, jnp.float32)
    x = image(1, 4, 4, 3)
    variables = filled(block, x, None, None)
    assert set(variables["params"]) == {"conv1", "conv2"}
    variables["params"]["conv2"] = jax.tree.map(
        np.zeros_like, variables["params"]["conv2"]
    )
    np.testing.assert_array_equal(block.apply(variables, x, None, None, False), x)


def test_noise_features():
    levels = np.array([0.3, 0.9, 0.9999, 0.99999])
    found = np.asarray(blocks.noise_features(levels, 32))
    for level, row in zip(levels, found, strict=True):
        angles = [5000 * level**0.5 * 1e4 ** (-k / 16) for k in range(16)]
        expected = [*map(math.sin, angles), *map(math.cos, angles)]
        np.testing.assert_allclose(row, expected, atol=2e-3)  # of float32 angles
    # Levels at the end of sampling, which alpha_bar alone hardly tells apart.
    assert np.abs(found[2] - found[3]).max() > 0.1
