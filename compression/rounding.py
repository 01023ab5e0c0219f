"""Rounding of quantised coefficients, exact and with a gradient."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp

from common.config import unknown
from common.errors import ConfigError


def hard(values: jax.Array) -> jax.Array:
    """Rounds to the nearest integer, halves away from zero, as libjpeg quantises.

    The gradient is zero.
    """
    return jnp.sign(values) * jnp.floor(jnp.abs(values) + 0.5)


def straight_through(values: jax.Array) -> jax.Array:
    """Rounds, with the gradient of the identity."""
    return values + jax.lax.stop_gradient(hard(values) - values)


def cubic(values: jax.Array) -> jax.Array:
    """Returns `r + (x - r)**3` with the rounded `r`: Shin and Song 2017.

    A value near a half is moved by three eighths only, so distortion is less than that
    of a real file.
    """
    rounded = jax.lax.stop_gradient(hard(values))
    rest = values - rounded
    return rounded + rest * rest * rest


def noise(values: jax.Array, key: jax.Array) -> jax.Array:
    """Adds uniform noise of [-1/2, 1/2), as Balle et al. 2017 (1611.01704) do."""
    return values + jax.random.uniform(key, values.shape, values.dtype, -0.5, 0.5)


ROUNDINGS: dict[str, Callable[..., jax.Array]] = {
    "hard": hard,
    "straight_through": straight_through,
    "cubic": cubic,
    "noise": noise,
}


def check(rounding: str, key: jax.Array | None) -> None:
    """Refuses an unknown rounding, and noise without a key.

    Raises:
      ConfigError: it is one of the two.
    """
    if rounding not in ROUNDINGS:
        raise ConfigError(unknown("rounding", rounding, ROUNDINGS))
    if rounding == "noise" and key is None:
        raise ConfigError("rounding 'noise' needs a key")


def clip(values: jax.Array, low: float, high: float) -> jax.Array:
    """Clips, with the gradient of the identity."""
    return values + jax.lax.stop_gradient(jnp.clip(values, low, high) - values)


@jax.custom_vjp
def bounded(values: jax.Array, low: float, high: float) -> jax.Array:
    """Clips, with the gradient of the identity where a descent leads back inside.

    A parameter outside its bounds goes on to be pulled back and is not pushed further,
    which a projection after each step would do, too.
    """
    return jnp.clip(values, low, high)


def _bounded_forward(values, low, high):
    return jnp.clip(values, low, high), (values, low, high)


def _bounded_backward(saved, gradient):
    values, low, high = saved
    # A descent moves against the gradient.
    outward = ((values <= low) & (gradient > 0)) | ((values >= high) & (gradient < 0))
    return jnp.where(outward, 0, gradient), None, None


bounded.defvjp(_bounded_forward, _bounded_backward)
