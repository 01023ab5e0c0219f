"""Shuffles, their initial values, and resampling with fixed weights."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from common.errors import ConfigError
from enhancement import blocks
from tests.enhancement.test_networks import image, quick


def test_shuffle_and_back():
    x = image(2, 3, 5, 12)
    y = blocks.pixel_shuffle(jnp.asarray(x), 2)
    assert y.shape == (2, 6, 10, 3)
    np.testing.assert_array_equal(y[:, 1::2, ::2], x[..., 6:9])  # row 1, column 0
    np.testing.assert_array_equal(blocks.pixel_unshuffle(y, 2), x)


@pytest.mark.parametrize(
    ("scale", "factors"), [(1, []), (3, [3]), (4, [2, 2]), (8, [2, 2, 2]), (6, [2, 3])]
)
def test_factors(scale, factors):
    assert blocks.shuffle_factors(scale) == factors


@pytest.mark.parametrize("scale", [0, 5, 7, 10])
def test_scales_that_shuffles_do_not_make(scale):
    with pytest.raises(ConfigError, match="scale="):
        blocks.shuffle_factors(scale)


@pytest.mark.parametrize("factors", [(2,), (3,), (2, 2)])
def test_initial_upsampling_repeats_pixels(factors):
    upsampler = blocks.Upsampler(factors, 4, jnp.float32)
    start = quick(upsampler.init_with_output)
    y, variables = start(jax.random.key(0), image(1, 4, 5, 6))
    y, last = np.asarray(y), factors[-1]
    np.testing.assert_array_equal(
        y, y[:, ::last, ::last].repeat(last, 1).repeat(last, 2)
    )
    # And the pixels that are repeated differ, as do their channels.
    assert len(np.unique(y)) == y.size // last**2
    kernel = variables["params"]["conv0"]["kernel"]
    assert kernel.std() == pytest.approx((3 * 9 * 6) ** -0.5, rel=0.1)


def cubic_matrix(length, scale):
    """Keys' weights pixel by pixel, edges clamped."""
    matrix = np.zeros((length * scale, length))
    for row in range(length * scale):
        place = (row + 0.5) / scale - 0.5
        for pixel in range(int(np.floor(place)) - 1, int(np.floor(place)) + 3):
            d = abs(place - pixel)
            weight = 1.5 * d**3 - 2.5 * d**2 + 1
            if d > 1:
                weight = -0.5 * d**3 + 2.5 * d**2 - 4 * d + 2
            matrix[row, min(max(pixel, 0), length - 1)] += weight * (d < 2)
    return matrix


@pytest.mark.parametrize("scale", [1, 2, 3, 4])
def test_bicubic(scale):
    x = image(2, 5, 7, 3)
    y = quick(lambda x: blocks.bicubic(x, scale))(x)
    rows, columns = cubic_matrix(5, scale), cubic_matrix(7, scale)
    expected = np.einsum("yh,xw,bhwc->byxc", rows, columns, x)
    np.testing.assert_allclose(y, expected, atol=1e-6)
    jaxs = quick(lambda x: jax.image.resize(x, y.shape, "cubic", antialias=False))(x)
    inside = np.s_[:, 2 * scale : -2 * scale, 2 * scale : -2 * scale]
    np.testing.assert_allclose(y[inside], jaxs[inside], atol=1e-5)


@pytest.mark.parametrize("function", [blocks.bicubic, blocks.upsample_means])
def test_a_constant_stays_constant(function):
    x = jnp.full((1, 3, 4, 2), 0.7)
    np.testing.assert_allclose(function(x, 3), 0.7, atol=1e-6)


@pytest.mark.parametrize("scale", [1, 2, 3, 4, 8])
def test_means_stay_means(scale):
    x = image(2, 5, 7, 3)
    back = quick(lambda x: blocks.block_means(blocks.upsample_means(x, scale), scale))
    np.testing.assert_allclose(back(x), x, atol=1e-6)


def test_means_of_a_cubic_are_those_of_its_halves():
    """The edges are of fourth order, so inside a parabola is met exactly."""
    edges = np.arange(25) / 2
    halves = np.diff(edges**3 / 3 - edges**2) * 2  # of x**2 - 2 x
    x = halves.reshape(1, 1, 12, 2).mean(-1)[..., None].astype(np.float32)
    y = blocks.upsample_means(jnp.asarray(x), 2)
    np.testing.assert_allclose(y[0, 0, 4:-4, 0], halves[4:-4], rtol=1e-5)


@pytest.mark.parametrize("scale", [1, 2, 3, 4])
@pytest.mark.parametrize("radius", [0, 1, 6])
def test_bicubic_radius(scale, radius):
    """Of what lies so far from a block, the pixels with a weight."""
    matrix = cubic_matrix(40, scale)
    rows = matrix[20 * scale - radius : 21 * scale + radius]
    used = np.flatnonzero(np.abs(rows).max(0) > 1e-9)
    found = blocks.bicubic_radius(scale, radius)
    assert (used[0], used[-1]) == (20 - found, 20 + found)
