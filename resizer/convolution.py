"""Convolutions between few channels, in the form that is fast on CPUs.

XLA's CPU backend is slow at the gradient of a small kernel, and at a convolution to
three channels. Both are one matrix product when one axis of the kernel is unrolled on
each of its sides. Elsewhere the library's are used.
"""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp

_LAYOUT = ("NHWC", "HWIO", "NHWC")


def conv_general_dilated(
    x: jax.Array, kernel: jax.Array, strides: Any, padding: Any, **options: Any
) -> jax.Array:
    """Takes the place of `lax.conv_general_dilated` in an `nn.Conv`.

    Args:
      x: `[B, H, W, C]`.
      kernel: `[S, S, C, D]` with an odd S.
      strides: all 1.
      padding: "SAME".
      **options: `precision`; all others are those of a plain convolution.

    Returns:
      `[B, H, W, D]`.
    """
    del strides, padding
    return _conv(x, kernel, options.get("precision"))


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _conv(x: jax.Array, kernel: jax.Array, precision: Any) -> jax.Array:
    library = functools.partial(_library, precision=precision)
    if kernel.shape[3] >= kernel.shape[2]:
        return library(x, kernel)
    product = functools.partial(_product, precision=precision)
    return jax.lax.platform_dependent(x, kernel, cpu=product, default=library)


def _forward(x, kernel, precision):
    return _conv(x, kernel, precision), (x, kernel)


def _backward(precision, saved, gradient):
    x, kernel = saved
    library = functools.partial(_library, precision=precision)
    (of_x,) = jax.linear_transpose(lambda x: library(x, kernel), x)(gradient)

    def by_library(x: jax.Array, gradient: jax.Array) -> jax.Array:
        return jax.linear_transpose(lambda k: library(x, k), kernel)(gradient)[0]

    by_product = functools.partial(
        _kernel_gradient, size=kernel.shape[0], precision=precision
    )
    of_kernel = jax.lax.platform_dependent(
        x, gradient, cpu=by_product, default=by_library
    )
    return of_x, of_kernel


_conv.defvjp(_forward, _backward)


def _library(x: jax.Array, kernel: jax.Array, precision: Any) -> jax.Array:
    return jax.lax.conv_general_dilated(
        x, kernel, (1, 1), "SAME", dimension_numbers=_LAYOUT, precision=precision
    )


def _product(x: jax.Array, kernel: jax.Array, precision: Any) -> jax.Array:
    """Convolves along the rows by a product, then adds the rows of the kernel up.

    The product is `[B H W, S C]` by `[S C, S D]`: what each row of the kernel makes of
    each row of the image.
    """
    size, _, channels, width = kernel.shape
    batch, height, columns, _ = x.shape
    flat = kernel.transpose(1, 2, 0, 3).reshape(size * channels, size * width)
    rows = jax.lax.dot_general(
        _beside(x, size).reshape(-1, size * channels),
        flat,
        (((1,), (0,)), ((), ())),
        precision=precision,
    ).reshape(batch, height, columns, size, width)
    half = size // 2
    rows = jnp.pad(rows, ((0, 0), (half, half), (0, 0), (0, 0), (0, 0)))
    parts = (rows[:, u : u + height, :, u] for u in range(size))
    return functools.reduce(jnp.add, parts)


def _kernel_gradient(
    x: jax.Array, gradient: jax.Array, size: int, precision: Any
) -> jax.Array:
    """Returns the gradient of the kernel, `[S, S, C, D]`.

    Each tap is the product of the image moved by so many columns with the gradient
    moved by as many rows the other way; one product of all moved ones has all taps.
    """
    channels, width = x.shape[3], gradient.shape[3]
    half, height = size // 2, x.shape[1]
    padded = jnp.pad(gradient, ((0, 0), (half, half), (0, 0), (0, 0)))
    above = [padded[:, u : u + height] for u in reversed(range(size))]
    found = jax.lax.dot_general(
        _beside(x, size).reshape(-1, size * channels),
        jnp.concatenate(above, -1).reshape(-1, size * width),
        (((0,), (0,)), ((), ())),
        precision=precision,
        preferred_element_type=jnp.float32,
    ).reshape(size, channels, size, width)
    return found.transpose(2, 0, 1, 3).astype(x.dtype)


def _beside(x: jax.Array, size: int) -> jax.Array:
    """Puts an image beside itself, moved by columns: `[B, H, W, S C]`."""
    half, columns = size // 2, x.shape[2]
    padded = jnp.pad(x, ((0, 0), (0, 0), (half, half), (0, 0)))
    return jnp.concatenate([padded[:, :, v : v + columns] for v in range(size)], -1)
