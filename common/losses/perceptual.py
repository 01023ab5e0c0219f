"""Losses that compare features place by place, or by their correlations.

Johnson et al. 2016 (arXiv 1603.08155): what networks see instead of pixels. Maps come
from `common.metrics.trunks`, layers and weights from `common.losses.feature_layers`.
"""

from __future__ import annotations

from collections.abc import Mapping

import jax
import jax.numpy as jnp

from common.errors import ConfigError
from common.losses.feature_layers import Layers, prepare, total


def feature_distance(
    features: Mapping[str, jax.Array],
    target_features: Mapping[str, jax.Array],
    weights: Mapping[str, float] | None = None,
    p: int = 1,
    *,
    normalization: str | None = None,
    border: int = 0,
) -> tuple[jax.Array, Layers]:
    """Returns the mean of `|x - y|^p` over the elements of each map: VGG-L1, VGG-L2.

    SRGAN (arXiv 1609.04802) has p = 2, ESRGAN (arXiv 1809.00219) p = 1. No root is
    taken. The gradient is exactly 0 where both are equal, as behind ReLUs where both
    are 0.

    Args:
      features: layer -> `[B, H, W, C]`.
      target_features: the same shapes; no gradient goes here.
      weights: layer -> weight; see `feature_layers.prepare`.
      p: 1 or 2.
      normalization: None, "target_std" or "unit"; see `feature_layers.prepare`.
      border: pixels of each map that are not compared.

    Returns:
      The loss, a float32 scalar: the sum over layers, averaged over the batch. And what
      each layer adds, weighted: layer -> float32 `[B]`.

    Raises:
      ConfigError, ValueError: `p`, or see `feature_layers.prepare`.
    """
    if p not in (1, 2):
        raise ConfigError(f"p={p!r} must be 1 or 2")
    pairs = prepare(features, target_features, weights, normalization, border)
    layers = {}
    for name, (x, y, weight) in pairs.items():
        gap = x - y
        # The gradient of jnp.abs at 0 is 1.
        size = gap * jnp.sign(gap) if p == 1 else jnp.square(gap)
        layers[name] = weight * size.mean((1, 2, 3))
    return total(layers)


def gram(
    features: Mapping[str, jax.Array],
    target_features: Mapping[str, jax.Array],
    weights: Mapping[str, float] | None = None,
    *,
    normalization: str | None = None,
    border: int = 0,
) -> tuple[jax.Array, Layers]:
    """Returns the Frobenius norm of the difference of two Gram matrices.

    That of a map, read as N = H W samples `X` of C features, is `X^T X / N`, `[C, C]`:
    neither is it divided by C, as Johnson et al. do, nor the norm by the number of its
    elements, nor is the norm squared. The gradient is exactly 0 where maps are equal.

    Args:
      features: layer -> `[B, H, W, C]`.
      target_features: the same shapes; no gradient goes here.
      weights: layer -> weight; see `feature_layers.prepare`.
      normalization: None, "target_std" or "unit"; see `feature_layers.prepare`.
      border: pixels of each map that are not compared.

    Returns:
      As `feature_distance`.

    Raises:
      ConfigError, ValueError: see `feature_layers.prepare`.
    """
    pairs = prepare(features, target_features, weights, normalization, border)
    return total({k: weight * _gram_gap(x, y) for k, (x, y, weight) in pairs.items()})


def _gram_gap(x: jax.Array, y: jax.Array) -> jax.Array:
    """Returns the distance `[B]` of the Gram matrices of `[B, H, W, C]`."""
    # X^T X - Y^T Y is P + P^T for P = (X - Y)^T (X + Y) / 2: one product in place of
    # two, and exactly 0 where X = Y.
    half = jnp.einsum("bhwc,bhwd->bcd", x - y, x + y, precision="highest") / 2
    gap = (half + half.swapaxes(1, 2)) / (x.shape[1] * x.shape[2])
    square = jnp.square(gap).sum((1, 2))
    zero = square == 0
    return jnp.where(zero, 0.0, jnp.sqrt(jnp.where(zero, 1.0, square)))
