"""Gaussian noise that belongs to pixels, whatever part of an image is computed."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.extend.random import threefry_2x32

# A counter gives two numbers, so that three channels need two counters for each pixel.
CHANNELS = 3


def field(
    key: jax.Array,
    height: int,
    width: int,
    origin: tuple[int | jax.Array, int | jax.Array] = (0, 0),
) -> jax.Array:
    """Returns a window of the noise of an endless plane.

    Two windows agree where they overlap: tiles of an image share their noise, and a
    padded image has that of the image itself. `jax.random.normal` depends on the shape.

    Args:
      key: a typed key of the threefry generator.
      height: of the window.
      width: of the window.
      origin: row and column of its upper left pixel, not negative.

    Returns:
      float32 `[height, width, 3]`.
    """
    words = jax.random.key_data(key)
    rows = jnp.arange(height, dtype=jnp.uint32) + jnp.asarray(origin[0], jnp.uint32)
    columns = jnp.arange(width, dtype=jnp.uint32) + jnp.asarray(origin[1], jnp.uint32)
    row, column = (x.reshape(-1) for x in jnp.meshgrid(rows, columns, indexing="ij"))
    # The highest bit of the row tells the two counters of a pixel apart.
    counters = jnp.concatenate([row, row | jnp.uint32(1 << 31), column, column])
    bits = threefry_2x32((words[0], words[1]), counters)
    drawn = _normal(bits.reshape(4, height, width)[:CHANNELS])
    return jnp.moveaxis(drawn, 0, -1)


def _normal(bits: jax.Array) -> jax.Array:
    """Turns uint32 into normal numbers by the inverse of their distribution."""
    # 23 random bits as the fraction of a float in [1, 2).
    ones = lax.bitcast_convert_type((bits >> 9) | jnp.uint32(0x3F800000), jnp.float32)
    low = np.nextafter(np.float32(-1), np.float32(0))
    uniform = jnp.maximum(low, (ones - 1) * (1 - low) + low)
    return np.float32(math.sqrt(2)) * lax.erf_inv(uniform)
