"""What pixel losses start from."""

from __future__ import annotations

import jax
import jax.numpy as jnp


def difference(prediction: jax.Array, target: jax.Array) -> jax.Array:
    """Returns `prediction - target` in float32, without broadcasting.

    Raises:
      ValueError: the shapes differ.
    """
    if prediction.shape != target.shape:
        raise ValueError(
            f"prediction {prediction.shape} and target {target.shape} differ in shape"
        )
    return prediction.astype(jnp.float32) - target.astype(jnp.float32)
