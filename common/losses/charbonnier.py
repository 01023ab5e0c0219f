"""The Charbonnier loss: an L1 that is smooth at zero."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from common.config import unknown
from common.errors import ConfigError
from common.losses.difference import difference

DISTANCES = ("element", "pixel")


def charbonnier(
    prediction: jax.Array,
    target: jax.Array,
    epsilon: float = 1e-3,
    distance: str = "element",
) -> jax.Array:
    """Returns the mean of `sqrt(d**2 + epsilon**2)` of every example.

    The penalty is that of Charbonnier et al. (1994, "Two deterministic half-quadratic
    regularization algorithms for computed imaging"), `epsilon` that of MAXIM (arXiv
    2201.02973). MAXIM writes the norm of a whole image and does not say how it is
    reduced; like the code family it comes from (MPRNet, arXiv 2102.02808) the default
    takes the root of every element and then the mean. The value of a perfect
    prediction is `epsilon`, not 0.

    Args:
      prediction: `[B, ..., C]`; computed in float32 whatever the type.
      target: of the same shape and scale.
      epsilon: where the penalty turns from quadratic to linear, greater than 0.
      distance: what `d` is: `"element"`, the difference of each element, or
        `"pixel"`, the length of the difference vector of each pixel's channels.

    Returns:
      float32 `[B]`.

    Raises:
      ConfigError: unknown `distance` or an `epsilon` that is not positive.
      ValueError: the shapes differ.
    """
    if distance not in DISTANCES:
        raise ConfigError(unknown("charbonnier distance", distance, DISTANCES))
    # Not `epsilon <= 0`, which a NaN would pass. At 0 the gradient is 0 / 0.
    if not epsilon > 0:
        raise ConfigError(f"charbonnier's epsilon={epsilon} must be greater than 0")
    square = jnp.square(difference(prediction, target))
    if distance == "pixel":
        square = square.sum(-1)
    return jnp.sqrt(square + epsilon**2).mean(tuple(range(1, square.ndim)))
