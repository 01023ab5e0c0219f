"""The projected distribution loss: how far feature distributions are apart.

Delbracio, Talebi and Milanfar 2021 (arXiv 2012.09289). The maps of a network of object
recognition are read as samples, one for each place, of which one-dimensional
projections are compared by their Wasserstein distances; where in the image a sample was
does not count. The paper's text was not at hand: that the channels are the projections,
p = 1, and means over places and channels are inferred (see enhancement/README.md).

    maps = trunks.features(variables, restored, taps)
    target_maps = trunks.features(variables, targets, taps)
    loss, layers = projected_distribution_loss(maps, target_maps)
"""

from __future__ import annotations

import functools
from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np

from common.config import unknown
from common.errors import ConfigError
from common.kernels.sort import sort
from common.losses.feature_layers import Layers, prepare, total

PROJECTIONS = ("axis", "random")
REDUCTIONS = ("mean", "sum_channels", "sum_all")
# Our choice: a block of directions that are projected on and sorted at once.
_BLOCK = 64


def projected_distribution_loss(
    features: Mapping[str, jax.Array],
    target_features: Mapping[str, jax.Array],
    weights: Mapping[str, float] | None = None,
    *,
    p: int = 1,
    projection: str = "axis",
    key: jax.Array | None = None,
    num_projections: int = _BLOCK,
    reduction: str = "mean",
    normalization: str | None = None,
    border: int = 0,
) -> tuple[jax.Array, Layers]:
    """Compares distributions of features, each image with its own target.

    The gradient pulls every sample to the target's sample of equal rank; at equality it
    is exactly 0. None goes to the targets. Reverse mode only.

    Args:
      features: layer -> `[B, H, W, C]`, in practice after ReLUs (`trunks.features`).
      target_features: the same layers, of the targets. Another number of places is
        allowed: the quantiles are then interpolated at as many as the fewer are.
      weights: layer -> its weight; layers that are not named are not compared. None: 1
        for each.
      p: 1, or 2 for squares. The root of a sum of squares is not taken.
      projection: "axis", the channels themselves, or "random": unit directions between
        them, which makes this the sliced Wasserstein distance of features.
      key: of random directions, to be a new one in each step.
      num_projections: random directions.
      reduction: "mean" over places and projections; "sum_channels", the mean over
        places and the sum over projections; or "sum_all". A weight beside a pixel loss
        is for one of them.
      normalization: of maps, see `feature_layers.prepare`.
      border: pixels of each map that do not count, see there.

    Returns:
      The loss, a float32 scalar: sum over layers, mean over images. And what each layer
      adds to it, weighted: layer -> float32 `[B]`.

    Raises:
      ConfigError: an argument that cannot be, or layers that are missing.
      ValueError: maps that do not fit together.
    """
    if p not in (1, 2):
        raise ConfigError(f"p={p!r} must be 1 or 2")
    if reduction not in REDUCTIONS:
        raise ConfigError(unknown("reduction", reduction, REDUCTIONS))
    if projection not in PROJECTIONS:
        raise ConfigError(unknown("projection", projection, PROJECTIONS))
    pairs = prepare(
        features, target_features, weights, normalization, border, same_size=False
    )
    drawn = projection == "random"
    keys = _split(key, num_projections, len(pairs)) if drawn else [None] * len(pairs)
    layers: Layers = {}
    for (name, (x, y, weight)), own in zip(pairs.items(), keys, strict=True):
        u, v = _samples(x), _samples(y)
        if own is None:
            distances = wasserstein(u, v, p)
        else:
            distances = _random(own, u, v, num_projections, p)
        places = min(x.shape[1] * x.shape[2], y.shape[1] * y.shape[2])
        layers[name] = weight * _reduce(distances, places, reduction)
    return total(layers)


def wasserstein(u: jax.Array, v: jax.Array, p: int = 1) -> jax.Array:
    """Returns the distance of one-dimensional distributions, to the power of p.

    Args:
      u: `[..., N]`, samples of equal weight.
      v: `[..., M]`, whose gradient is 0.
      p: 1 or 2.

    Returns:
      float32 `[...]`: mean of `|u_i - v_i|^p` over sorted samples.
    """
    count = min(u.shape[-1], v.shape[-1])
    v = jax.lax.stop_gradient(v)
    gap = _quantiles(sort(u), count) - _quantiles(sort(v), count)
    # Where both are 0, as behind ReLUs, the gradient of jnp.abs would be 1.
    size = jnp.where(gap == 0, 0.0, jnp.abs(gap)) if p == 1 else jnp.square(gap)
    return size.mean(-1)


def _quantiles(ordered: jax.Array, count: int) -> jax.Array:
    """Interpolates `[..., N]` at the middles of `count` equal parts, in order."""
    length = ordered.shape[-1]
    if length == count:
        return ordered
    place = (np.arange(count) + 0.5) / count * length - 0.5
    place = np.clip(place, 0, length - 1)
    low = np.floor(place).astype(np.int32)
    high = np.minimum(low + 1, length - 1)
    part = jnp.asarray(place - low, jnp.float32)
    return ordered[..., low] * (1 - part) + ordered[..., high] * part


def _samples(maps: jax.Array) -> jax.Array:
    """`[B, H, W, C]` -> `[B, C, H W]`: what is sorted lies together in memory."""
    batch, height, width, channels = maps.shape
    return maps.reshape(batch, height * width, channels).swapaxes(1, 2)


def _random(
    key: jax.Array, u: jax.Array, v: jax.Array, count: int, p: int
) -> jax.Array:
    """Distances of `[B, C, N]` and `[B, C, M]` along random directions: `[B, K]`."""
    directions = jax.random.normal(key, (count, u.shape[1]), jnp.float32)
    directions /= jnp.linalg.norm(directions, axis=1, keepdims=True)

    def along(direction: jax.Array) -> jax.Array:
        project = functools.partial(
            jnp.einsum, "c,bcn->bn", direction, precision="highest"
        )
        return wasserstein(project(u), project(v), p)

    return jax.lax.map(along, directions, batch_size=_BLOCK).T


def _reduce(distances: jax.Array, places: int, reduction: str) -> jax.Array:
    """`[B, K]` -> `[B]`."""
    if reduction == "mean":
        return distances.mean(1)
    total = distances.sum(1)
    return total * places if reduction == "sum_all" else total


def _split(key: jax.Array | None, count: int, layers: int) -> list[jax.Array]:
    if count < 1:
        raise ConfigError(f"num_projections={count} must be at least 1")
    if key is None:
        raise ConfigError('projection="random" needs a key, a new one in each step')
    return list(jax.random.split(key, layers))
