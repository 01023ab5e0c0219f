"""Types of activations, by name."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

from common.errors import ConfigError


def float_type(value: Any) -> Any:
    """Returns a type of floats, given as such or by its name.

    Raises:
      ConfigError: it is none.
    """
    try:
        dtype = jnp.dtype(value)
    except TypeError as error:
        raise ConfigError(f"dtype={value!r} is no type of numbers") from error
    if not jnp.issubdtype(dtype, jnp.floating):
        raise ConfigError(f"dtype={value!r} must be of floats")
    return dtype
