"""Losses that compare features wherever they are: contextual (CX) and bilateral (CoBi).

CX is of Mechrez et al. 2018 (arXiv 1803.02077) with the axes and constants of its
authors' code, roimehrez/contextualLoss; CoBi of Zhang et al. 2019 (arXiv 1905.05169,
"Zoom to Learn, Learn to Zoom").

Both look at the distances of all places of one map to all of the other, a matrix of
`(H W)^2` elements for each image. It is never whole in memory: `chunk` of its rows are,
once forward and, for CX, once again backward.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np

from common.config import unknown
from common.errors import ConfigError
from common.losses.feature_layers import Layers, Pair, prepare, total, unit

CENTERS = ("batch", "image")
# Added to the least distance of a row, from the authors' code.
_EPSILON = 1e-5


def contextual(
    features: Mapping[str, jax.Array],
    target_features: Mapping[str, jax.Array],
    weights: Mapping[str, float] | None = None,
    *,
    sigma: float = 0.5,
    center: str = "batch",
    max_positions: int | None = None,
    key: jax.Array | None = None,
    border: int = 0,
    chunk: int = 256,
) -> tuple[jax.Array, Layers]:
    """Returns the contextual loss.

    With `i` a place of the image and `j` one of its target, of features less the mean
    of the target's: `d_ij = (1 - cos(x_i, y_j)) / 2`; `r_ij = d_ij / (min over j of
    d_ij + 1e-5)`; `w_ij = exp((1 - r_ij) / sigma)`; `CX_ij = w_ij / (sum over j of
    w_ij)`; `CX` is the mean over `j` of the maximum over `i` of `CX_ij`, and the loss
    `-log CX`. So each place of the image spreads one unit over the target, and each
    place of the target counts the best that it gets. Of several equal ones the gradient
    goes to the first. At equality it is near 0, not exactly 0. Reverse mode only.

    Args:
      features: layer -> `[B, H, W, C]`; the authors took convolutions before their
        ReLUs, `feature_layers.find("cx")`.
      target_features: the same layers; another height and width are allowed. No
        gradient goes here.
      weights: layer -> weight; see `feature_layers.prepare`.
      sigma: width of the weights `w`, above 0; 0.5 in the authors' configuration.
      center: what the target's mean is taken over: "batch", all places of all images of
        the batch, as in the authors' code, which trains with one image; or "image",
        each its own, so that no image's loss depends on the others.
      max_positions: where a map has more places, so many are drawn, the same for all
        images and, if they are of one size, for both maps, before anything else. The
        authors draw 65 x 65 = 4225. None: all.
      key: of that draw, to be a new one in each step.
      border: pixels of each map that are left out.
      chunk: rows of the matrix that are in memory at once, in each image.

    Returns:
      The loss, a float32 scalar: the sum over layers, averaged over the batch. And what
      each layer adds, weighted: layer -> float32 `[B]`, from near 0 to log(H W).

    Raises:
      ConfigError, ValueError: an argument that cannot be, or see
        `feature_layers.prepare`.
    """
    if not sigma > 0:
        raise ConfigError(f"sigma={sigma} must be greater than 0")
    pairs = _pairs(features, target_features, weights, border, center, chunk)
    layers = {}
    for number, (name, pair) in enumerate(pairs.items()):
        chosen = _positions(pair, max_positions, key, number)
        x, y = _directions(pair, chosen, center)
        best = _best(x, y, float(sigma), min(chunk, x.shape[1]))
        layers[name] = -pair.weight * jnp.log(best.mean(1))
    return total(layers)


def cobi(
    features: Mapping[str, jax.Array],
    target_features: Mapping[str, jax.Array],
    weights: Mapping[str, float] | None = None,
    *,
    spatial_weight: float = 0.1,
    center: str = "batch",
    max_positions: int | None = None,
    key: jax.Array | None = None,
    border: int = 0,
    chunk: int = 256,
) -> tuple[jax.Array, Layers]:
    """Returns the contextual bilateral loss, in the paper's form: nearest neighbours.

    The mean over places `i` of the image of the minimum over places `j` of the target
    of `d_ij + spatial_weight * s_ij` (equation 3 of the paper). `d` is the distance of
    features of `contextual`, `s` the Euclidean distance of the places, whose
    coordinates go from 0 to 1 along each side. The paper fixes neither the scale of `s`
    nor the weight: both are our choice, as is that features are centred. Public code
    often has another form, the weighted mean of two affinities like `CX_ij`.

    At equality it is 0 and so is the gradient, both but for rounding: features count by
    the square of their difference there.

    Args:
      features: see `contextual`.
      target_features: see `contextual`.
      weights: see `contextual`.
      spatial_weight: 0 or more; 0 forgets where features are.
      center: see `contextual`.
      max_positions: see `contextual`.
      key: see `contextual`.
      border: see `contextual`.
      chunk: see `contextual`.

    Returns:
      As `contextual`; each layer in `[0, 1 + sqrt(2) spatial_weight]`.

    Raises:
      ConfigError, ValueError: see `contextual`.
    """
    if not spatial_weight >= 0:
        raise ConfigError(f"spatial_weight={spatial_weight} must be at least 0")
    pairs = _pairs(features, target_features, weights, border, center, chunk)
    layers = {}
    for number, (name, pair) in enumerate(pairs.items()):
        chosen = _positions(pair, max_positions, key, number)
        x, y = _directions(pair, chosen, center)
        here, there = (
            _grid(*maps.shape[1:3])[places]
            for maps, places in zip(pair[:2], chosen, strict=True)
        )
        here, there = here * spatial_weight, there * spatial_weight
        nearest = _nearest(x, y, here, there, min(chunk, x.shape[1]))
        found = jnp.take_along_axis(y, nearest[..., None], 1)
        # Of unit vectors this is (1 - cos) / 2, without the rounding error near 0.
        distance = jnp.square(x - found).sum(-1) / 4
        distance += _length(here - there[nearest])
        layers[name] = pair.weight * distance.mean(1)
    return total(layers)


def _pairs(
    features: Mapping[str, jax.Array],
    target_features: Mapping[str, jax.Array],
    weights: Mapping[str, float] | None,
    border: int,
    center: str,
    chunk: int,
) -> dict[str, Pair]:
    if center not in CENTERS:
        raise ConfigError(unknown("center", center, CENTERS))
    if chunk < 1:
        raise ConfigError(f"chunk={chunk} must be at least 1")
    return prepare(features, target_features, weights, border=border, same_size=False)


def _positions(
    pair: Pair, limit: int | None, key: jax.Array | None, layer: int
) -> list[jax.Array]:
    """Returns places of both maps, `[N]` and `[M]`, as indices of their pixels."""
    counts = [maps.shape[1] * maps.shape[2] for maps in pair[:2]]
    if limit is None or max(counts) <= limit:
        return [jnp.arange(count) for count in counts]
    if limit < 1:
        raise ConfigError(f"max_positions={limit} must be at least 1")
    if key is None:
        raise ConfigError(
            f"max_positions={limit} needs a key, a new one in each step: maps have "
            f"{max(counts)} places"
        )
    # From one key maps of one size get the same places.
    key = jax.random.fold_in(key, layer)
    return [jax.random.permutation(key, count)[:limit] for count in counts]


def _directions(
    pair: Pair, chosen: list[jax.Array], center: str
) -> tuple[jax.Array, jax.Array]:
    """Returns unit vectors `[B, N, C]` and `[B, M, C]` of features at places."""
    x, y = (
        maps.reshape(len(maps), -1, maps.shape[-1])[:, places]
        for maps, places in zip(pair[:2], chosen, strict=True)
    )
    mean = y.mean((0, 1) if center == "batch" else 1, keepdims=True)
    return unit(x - mean), unit(y - mean)


def _affinity(x: jax.Array, y: jax.Array, sigma: float) -> jax.Array:
    """Returns `CX_ij` of `[B, N, C]` and `[B, M, C]`: `[B, N, M]`."""
    distance = (1 - _cosine(x, y)) / 2
    least = distance.min(-1, keepdims=True)
    return jax.nn.softmax((1 - distance / (least + _EPSILON)) / sigma)


def _cosine(x: jax.Array, y: jax.Array) -> jax.Array:
    # In half precision the least distances would drown.
    return jnp.einsum("bnc,bmc->bnm", x, y, precision="highest")


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _best(x: jax.Array, y: jax.Array, sigma: float, chunk: int) -> jax.Array:
    """Returns the largest affinity that each of `y` gets: `[B, M]`.

    An affinity depends on its own row alone, so that rows can be seen chunk by chunk.
    Differentiated by itself, the running maximum would be kept after every chunk.
    """
    return _search(x, y, sigma, chunk)[0]


def _search(
    x: jax.Array, y: jax.Array, sigma: float, chunk: int
) -> tuple[jax.Array, jax.Array]:
    """Returns the largest affinities and the first rows that have them, `[B, M]`."""
    count = x.shape[1]

    def step(
        found: tuple[jax.Array, jax.Array], rows: tuple[jax.Array, jax.Array]
    ) -> tuple[tuple[jax.Array, jax.Array], None]:
        number, block = rows
        inside = number < count  # Rows that fill up the last chunk are none.
        affinity = jnp.where(inside[:, None], _affinity(block, y, sigma), -1)
        value, row = affinity.max(1), number[affinity.argmax(1)]
        first = jnp.where(value > found[0], row, found[1])
        # Unlike a choice by comparison, the maximum keeps a NaN.
        return (jnp.maximum(value, found[0]), first), None

    shape = y.shape[:2]
    start = (jnp.full(shape, -1, jnp.float32), jnp.zeros(shape, jnp.int32))
    return jax.lax.scan(step, start, (_numbers(count, chunk), _blocks(x, chunk)))[0]


def _forward(
    x: jax.Array, y: jax.Array, sigma: float, chunk: int
) -> tuple[jax.Array, tuple[jax.Array, jax.Array, jax.Array]]:
    best, row = _search(x, y, sigma, chunk)
    return best, (x, y, row)


def _backward(
    sigma: float,
    chunk: int,
    saved: tuple[jax.Array, jax.Array, jax.Array],
    cotangent: jax.Array,
) -> tuple[jax.Array, jax.Array]:
    x, y, row = saved

    def step(_: None, rows: tuple[jax.Array, jax.Array]) -> tuple[None, jax.Array]:
        number, block = rows
        pull = jax.vjp(lambda block: _affinity(block, y, sigma), block)[1]
        chosen = row[:, None] == number[:, None]
        return None, pull(jnp.where(chosen, cotangent[:, None], 0))[0]

    count = x.shape[1]
    parts = jax.lax.scan(step, None, (_numbers(count, chunk), _blocks(x, chunk)))[1]
    whole = parts.swapaxes(0, 1).reshape(len(x), -1, x.shape[2])
    # No gradient goes to the target, as `prepare` says.
    return whole[:, :count], jnp.zeros_like(y)


_best.defvjp(_forward, _backward)


def _nearest(
    x: jax.Array, y: jax.Array, here: jax.Array, there: jax.Array, chunk: int
) -> jax.Array:
    """Returns the number of the nearest of `y` for each of `x`: `[B, N]`.

    Args:
      x: unit vectors `[B, N, C]`.
      y: unit vectors `[B, M, C]`.
      here: weighted coordinates of `x`, `[N, 2]`.
      there: those of `y`, `[M, 2]`.
      chunk: rows that are compared at once.
    """
    x, y = jax.lax.stop_gradient((x, y))
    here = _blocks(here[None], chunk)[:, 0]

    def step(_: None, rows: tuple[jax.Array, jax.Array]) -> tuple[None, jax.Array]:
        places, block = rows
        apart = _length(places[:, None] - there)
        return None, ((1 - _cosine(block, y)) / 2 + apart).argmin(-1)

    parts = jax.lax.scan(step, None, (here, _blocks(x, chunk)))[1]
    return parts.swapaxes(0, 1).reshape(len(x), -1)[:, : x.shape[1]]


def _blocks(x: jax.Array, chunk: int) -> jax.Array:
    """`[B, N, C]` -> `[ceil(N / chunk), B, chunk, C]`, filled up with zeros."""
    x = jnp.pad(x, ((0, 0), (0, -x.shape[1] % chunk), (0, 0)))
    return x.reshape(len(x), -1, chunk, x.shape[2]).swapaxes(0, 1)


def _numbers(count: int, chunk: int) -> jax.Array:
    """Numbers of the rows of `_blocks`, `[ceil(N / chunk), chunk]`."""
    return jnp.arange(count + -count % chunk, dtype=jnp.int32).reshape(-1, chunk)


def _grid(height: int, width: int) -> jax.Array:
    """Returns the middles of pixels, in [0, 1] along each side: `[H W, 2]`."""
    sides = [(np.arange(side) + 0.5) / side for side in (height, width)]
    grid = np.stack(np.meshgrid(*sides, indexing="ij"), -1)
    return jnp.asarray(grid.reshape(-1, 2), jnp.float32)


def _length(offsets: jax.Array) -> jax.Array:
    return jnp.sqrt(jnp.square(offsets).sum(-1))
