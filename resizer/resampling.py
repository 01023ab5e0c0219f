"""Resizing with fixed weights: what the learned resizer corrects, and its rival.

Sample i of n lies at `(i + 0.5) * size / n - 0.5`, and beyond the edge is the edge:
half pixel centres, as `tf.image.resize` of TensorFlow 2 and PyTorch's
`align_corners=False`. Without antialiasing, their default too, a smaller image is made
of few pixels of the large one, which `jax.image.resize` does only when asked.
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np

from common.config import unknown
from common.errors import ConfigError

METHODS = ("linear", "nearest", "cubic", "lanczos3", "lanczos5")


def resize(
    images: jax.Array,
    size: tuple[int, int],
    method: str = "linear",
    antialias: bool = False,
) -> jax.Array:
    """Resizes images, each axis by its own factor.

    Args:
      images: `[B, H, W, C]`, any float type.
      size: height and width of the result.
      method: one of `METHODS`.
      antialias: whether a smaller image averages over all pixels of the large one.

    Returns:
      `[B, *size, C]` of the same type.

    Raises:
      ConfigError: unknown method.
    """
    if method not in METHODS:
        raise ConfigError(unknown("method of resizing", method, METHODS))
    if images.shape[1:3] == tuple(size):
        return images
    if method == "linear" and not antialias:
        # Rows first: they are whole in memory, and then there are fewer columns.
        for axis, side in enumerate(size, 1):
            if images.shape[axis] != side:
                images = _linear(images, axis, side)
        return images
    shape = (images.shape[0], *size, images.shape[-1])
    return jax.image.resize(images, shape, method, antialias)


@functools.partial(jax.custom_vjp, nondiff_argnums=(1, 2))
def _linear(x: jax.Array, axis: int, size: int) -> jax.Array:
    """Resizes one axis from two neighbours each, not with a dense matrix.

    For 448 to 224 pixels the matrix would take more products than the whole resizer.
    """
    low, high, share = _neighbours(x.shape[axis], size)
    return _pick(x, axis, low, 1 - share) + _pick(x, axis, high, share)


def _pick(x: jax.Array, axis: int, index: np.ndarray, weight: np.ndarray) -> jax.Array:
    """Takes weighted rows or columns."""
    shape = [1] * x.ndim
    shape[axis] = len(index)
    picked = jnp.take(x, jnp.asarray(index), axis, mode="clip")
    return picked * jnp.asarray(weight.reshape(shape), x.dtype)


def _linear_forward(x, axis, size):
    return _linear(x, axis, size), jax.ShapeDtypeStruct(x.shape, x.dtype)


def _linear_backward(axis, size, image, gradient):
    """Picks what each pixel gave: scattering goes one by one on XLA's CPU backend."""
    length = image.shape[axis]
    low, high, share = _neighbours(length, size)
    if size > length:
        matrix = np.zeros((size, length), np.float32)
        np.add.at(matrix, (np.arange(size), low), 1 - share)
        np.add.at(matrix, (np.arange(size), high), share)
        spread = jnp.tensordot(gradient, jnp.asarray(matrix, image.dtype), (axis, 0))
        return (jnp.moveaxis(spread, -1, axis),)
    # Samples of a smaller image are at least a pixel apart: to each of them a pixel is
    # the first neighbour of one at most, and the second of one at most.
    spread = jnp.zeros((), image.dtype)
    for index, weight in ((low, 1 - share), (high, share)):
        place, given = np.zeros(length, np.int32), np.zeros(length, np.float32)
        place[index[weight > 0]] = np.flatnonzero(weight > 0)
        given[index] += weight
        spread += _pick(gradient, axis, place, given)
    return (spread,)


_linear.defvjp(_linear_forward, _linear_backward)


def _neighbours(length: int, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns the two pixels of each sample, and the share of the second."""
    place = (np.arange(size) + 0.5) * length / size - 0.5
    low = np.floor(place).astype(np.int32)
    share = (place - low).astype(np.float32)
    return np.clip(low, 0, length - 1), np.clip(low + 1, 0, length - 1), share
