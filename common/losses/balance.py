"""How much one loss of an image must weigh to pull as strongly as another."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp

Loss = Callable[[jax.Array], jax.Array]


def gradient_ratio(reference: Loss, other: Loss, images: jax.Array) -> jax.Array:
    """Returns `||d reference / d images|| / ||d other / d images||`.

    The weight of the other loss that makes both pull equally. A weight that was found
    so depends on no scale of features, layers or reductions, where weights of feature
    losses do not carry over from one implementation to the next.

    Args:
      reference: images to a scalar, as a pixel loss.
      other: images to a scalar, as a feature loss.
      images: `[B, H, W, C]`, where both are looked at: what a network makes.

    Returns:
      A float32 scalar; 0 where the other loss has no gradient.
    """
    ours, theirs = (
        jnp.linalg.norm(jax.grad(loss)(images).astype(jnp.float32).reshape(-1))
        for loss in (reference, other)
    )
    return jnp.where(theirs > 0, ours / jnp.where(theirs > 0, theirs, 1.0), 0.0)
