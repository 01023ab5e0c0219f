"""The frequency loss: L1 between the Fourier transforms of two images."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental.custom_partitioning import custom_partitioning
from jax.sharding import NamedSharding, PartitionSpec

from common.config import unknown
from common.errors import ConfigError
from common.losses.difference import difference

DISTANCES = ("parts", "modulus")
NORMS = ("backward", "ortho")


def frequency(
    prediction: jax.Array,
    target: jax.Array,
    distance: str = "parts",
    norm: str = "backward",
) -> jax.Array:
    """Returns the mean absolute difference of the 2-D spectra of every example.

    The term of MIMO-UNet (arXiv 2108.05054) that MAXIM (arXiv 2201.02973) adds with
    weight 0.1. MAXIM states neither how a complex difference is measured nor how
    the transform is scaled; the defaults are those of MIMO-UNet's code. The gradient
    is zero where the spectra are equal. Only first derivatives in reverse mode exist.

    Args:
      prediction: `[B, H, W, C]`; computed in float32 whatever the type.
      target: of the same shape and scale.
      distance: of two coefficients: `"parts"`, the mean of the absolute real and the
        absolute imaginary difference, or `"modulus"`, the modulus of the complex
        difference.
      norm: `"backward"`, no scaling, so that the loss of white noise grows like
        `sqrt(H * W)`, or `"ortho"`, divided by that.

    Returns:
      float32 `[B]`.

    Raises:
      ConfigError: unknown `distance` or `norm`.
      ValueError: the shapes differ or are not those of images.
    """
    if distance not in DISTANCES:
        raise ConfigError(unknown("frequency distance", distance, DISTANCES))
    if norm not in NORMS:
        raise ConfigError(unknown("frequency norm", norm, NORMS))
    if prediction.ndim != 4:
        raise ValueError(f"images are [B, H, W, C], given {prediction.shape}")
    # The transform is linear: one of the difference, not two.
    loss = _loss(difference(prediction, target), distance)
    height, width = prediction.shape[1:3]
    return loss / math.sqrt(height * width) if norm == "ortho" else loss


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def _loss(images: jax.Array, distance: str) -> jax.Array:
    return _partitioned(_spectrum_mean, distance)(images)


def _forward(images: jax.Array, distance: str) -> tuple[jax.Array, jax.Array]:
    return _partitioned(_value_and_gradient, distance)(images)


def _backward(
    distance: str, gradient: jax.Array, cotangent: jax.Array
) -> tuple[jax.Array]:
    del distance
    return (cotangent[:, None, None, None] * gradient,)


_loss.defvjp(_forward, _backward)


def _spectrum_mean(images: jax.Array, distance: str) -> jax.Array:
    """Returns the mean absolute coefficient `[B]` of `[B, H, W, C]`."""
    height, width, channels = images.shape[1:]
    half = jnp.fft.rfft2(images, axes=(1, 2))
    size = _modulus(half) if distance == "modulus" else _parts(half)
    # Not a matrix product, which an accelerator would round to half precision.
    total = (size.sum((1, 3)) * _column_weights(width)).sum(1)
    return total / (height * width * channels)


def _column_weights(width: int) -> jax.Array:
    """Returns how often each column of the half spectrum stands in the full one.

    The spectrum of a real image is its own mirrored conjugate, so a column and its
    mirror hold the same absolute values. The first column, and the middle one of an
    even width, are their own mirrors.
    """
    column = jnp.arange(width // 2 + 1)
    return jnp.where((column > 0) & (2 * column < width), 2.0, 1.0)


def _parts(spectrum: jax.Array) -> jax.Array:
    return (_absolute(spectrum.real) + _absolute(spectrum.imag)) / 2


def _absolute(values: jax.Array) -> jax.Array:
    """The absolute value, with gradient 0 at 0; that of `jnp.abs` is 1 there."""
    return values * jax.lax.stop_gradient(jnp.sign(values))


def _modulus(spectrum: jax.Array) -> jax.Array:
    """The modulus, with gradient 0 at 0, where that of the root is infinite."""
    square = jnp.square(spectrum.real) + jnp.square(spectrum.imag)
    zero = square == 0
    return jnp.where(zero, 0.0, jnp.sqrt(jnp.where(zero, 1.0, square)))


def _value_and_gradient(
    images: jax.Array, distance: str
) -> tuple[jax.Array, jax.Array]:
    """Returns the loss `[B]` and the gradient `[B, H, W, C]` of its sum.

    No example's loss depends on another's image, so this is all there is to know.
    """
    value, pull = jax.vjp(lambda x: _spectrum_mean(x, distance), images)
    return value, pull(jnp.ones_like(value))[0]


@functools.cache
def _partitioned(function: Callable[..., Any], distance: str) -> Any:
    """Returns `function` of images so that it runs where its examples are.

    XLA does not divide a Fourier transform, not even along the batch: left alone,
    every device would gather and transform the images of all of them.
    """

    def local(images: jax.Array) -> Any:
        return function(images, distance)

    wrapped = custom_partitioning(local)

    def partition(mesh: Any, arguments: Any, results: Any) -> Any:
        spec = arguments[0].sharding.spec
        rows = NamedSharding(mesh, PartitionSpec(spec[0] if spec else None))
        return mesh, local, jax.tree.map(lambda _: rows, results), (rows,)

    output = "b" if function is _spectrum_mean else "b, b h w c"
    wrapped.def_partition(
        partition=partition,
        sharding_rule=f"b h w c -> {output}",
        need_replication_factors=("h", "w", "c"),
    )
    return wrapped
