"""The two resizes of MAXIM: of its input pyramid, and of features between levels.

Both are what `jax.image.resize` computes in the official code. As dense matrices over
whole rows and columns, which is how that function works, the features' resizes would
cost more than the layers around them; here each output is a few weighted neighbours.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np


def nearest_down(images: jax.Array, factor: int) -> jax.Array:
    """Keeps one pixel of each `factor` x `factor`, by the half-pixel-centre rule.

    Args:
      images: `[B, H, W, C]`.
      factor: a power of two; 2 keeps the pixels 1, 3, 5, ... and 4 keeps 2, 6, 10, ...

    Returns:
      `[B, H // factor, W // factor, C]`.
    """
    height, width = (side // factor * factor for side in images.shape[1:3])
    return images[:, factor // 2 : height : factor, factor // 2 : width : factor]


def bilinear_up(x: jax.Array, factor: int) -> jax.Array:
    """Enlarges `[B, H, W, C]` by a whole factor, with half-pixel centres."""
    return _up(_up(x, factor, 1), factor, 2)


def bilinear_down(x: jax.Array, factor: int) -> jax.Array:
    """Shrinks `[B, H, W, C]` by an even factor that divides it, with antialiasing.

    The kernel is a triangle over `2 * factor` pixels, renormalised at the borders.
    """
    return _down(_down(x, factor, 1), factor, 2)


def _up(x: jax.Array, factor: int, axis: int) -> jax.Array:
    length = x.shape[axis]
    edges = [(0, 0)] * x.ndim
    edges[axis] = (1, 1)
    padded = jnp.pad(x, edges, mode="edge")
    before = jax.lax.slice_in_dim(padded, 0, length, axis=axis)
    after = jax.lax.slice_in_dim(padded, 2, length + 2, axis=axis)
    phases = []
    for phase in range(factor):
        offset = (phase + 0.5) / factor - 0.5
        neighbor = before if offset < 0 else after
        weight = abs(offset)
        phases.append((1 - weight) * x + weight * neighbor)
    shape = [*x.shape]
    shape[axis] *= factor
    return jnp.stack(phases, axis + 1).reshape(shape)


def _down(x: jax.Array, factor: int, axis: int) -> jax.Array:
    length = x.shape[axis] // factor
    # 1, 3, ..., 2 * factor - 1, and back.
    rising = np.arange(1, 2 * factor, 2)
    taps = np.concatenate([rising, rising[::-1]]) / (2 * factor**2)
    border = factor // 2
    widths = [(0, 0)] * x.ndim
    widths[axis] = (border, border)
    padded = jnp.pad(x, widths)
    total = sum(
        float(tap)
        * jax.lax.slice_in_dim(
            padded, start, start + factor * (length - 1) + 1, factor, axis
        )
        for start, tap in enumerate(taps)
    )
    inside = np.convolve(np.ones(x.shape[axis]), taps)[factor + border - 1 :: factor]
    shape = [1] * x.ndim
    shape[axis] = length
    return total * jnp.asarray(1 / inside[:length].reshape(shape), x.dtype)
