"""Sorting with a gradient, fast on CPUs, too.

XLA's CPU backend compares floats through a comparator that knows NaNs, and sorts
pairs, which a gradient needs for the order, through one that it cannot inline; both
take several times as long as whole numbers, and one sort runs on one thread. So floats
become integers of the same order, a value and its place share 64 bits, and rows are
sorted in parts that run side by side (benchmarks/README.md). Accelerators keep the
library's sort. The choice is made when a function is lowered.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import lax

# Parts that run side by side, where they have this many elements at least.
_PARTS, _LEAST = 8, 65_536


def sort(x: jax.Array) -> jax.Array:
    """Sorts the last axis, ascending.

    Reverse-mode differentiable once: the gradient of each sorted value goes to the
    place it came from. Of equal values any order is right. Not for NaNs, which come
    first or last by their sign.

    Args:
      x: `[..., N]`, floats; half precision is sorted as float32.

    Returns:
      float32 of the same shape.
    """
    x = x.astype(jnp.float32)
    return _sort(x.reshape(-1, x.shape[-1])).reshape(x.shape)


@jax.custom_vjp
def _sort(x: jax.Array) -> jax.Array:
    """Sorts `[R, N]`."""
    return lax.platform_dependent(x, cpu=_by_keys, default=lambda x: jnp.sort(x, -1))


def _forward(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns sorted values, and where each was, int32."""
    return lax.platform_dependent(x, cpu=_by_packed_keys, default=_by_pairs)


def _backward(places: jax.Array, cotangent: jax.Array) -> tuple[jax.Array]:
    return (
        lax.platform_dependent(
            places, cotangent, cpu=_scatter_in_parts, default=_scatter
        ),
    )


_sort.defvjp(_forward, _backward)


def _by_pairs(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    places = lax.broadcasted_iota(jnp.int32, x.shape, 1)
    values, places = lax.sort((x, places), dimension=1, num_keys=1, is_stable=False)
    return values, places


def _by_keys(x: jax.Array) -> jax.Array:
    return jnp.concatenate([_from_key(_sort_rows(_key(part))) for part in _parts(x)])


def _by_packed_keys(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    with jax.enable_x64(True):
        values, places = zip(*map(_unpacked, _parts(x)), strict=True)
        return jnp.concatenate(values), jnp.concatenate(places)


def _unpacked(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    places = lax.broadcasted_iota(jnp.int64, x.shape, 1)
    packed = _sort_rows((_key(x).astype(jnp.int64) << 32) | places)
    return _from_key((packed >> 32).astype(jnp.int32)), packed.astype(jnp.int32)


def _sort_rows(keys: jax.Array) -> jax.Array:
    return lax.sort(keys, dimension=1, is_stable=False)


def _scatter(places: jax.Array, values: jax.Array) -> jax.Array:
    """Puts each value of `[R, N]` at its place in its row.

    Row by row, so that rows that are spread over devices stay where they are.
    """

    def put(places: jax.Array, values: jax.Array) -> jax.Array:
        zeros = jnp.zeros_like(values)
        return zeros.at[places].set(
            values, unique_indices=True, mode="promise_in_bounds"
        )

    return jax.vmap(put)(places, values)


def _scatter_in_parts(places: jax.Array, values: jax.Array) -> jax.Array:
    parts = zip(_parts(places), _parts(values), strict=True)
    return jnp.concatenate([_scatter_flat(*part) for part in parts])


def _scatter_flat(places: jax.Array, values: jax.Array) -> jax.Array:
    """As `_scatter`, of one long row: XLA's CPU backend takes half the time for it."""
    rows, length = places.shape
    first = length * jnp.arange(rows, dtype=jnp.int32)[:, None]
    flat = jnp.zeros(rows * length, values.dtype)
    flat = flat.at[(places + first).reshape(-1)].set(
        values.reshape(-1), unique_indices=True, mode="promise_in_bounds"
    )
    return flat.reshape(rows, length)


def _parts(x: jax.Array) -> list[jax.Array]:
    """Cuts `[R, N]` into groups of rows."""
    rows = x.shape[0]
    count = max(min(_PARTS, rows, x.size // _LEAST), 1)
    return jnp.split(x, [rows * part // count for part in range(1, count)])


def _key(x: jax.Array) -> jax.Array:
    """Floats to integers in the same order: those of negative ones are turned round."""
    bits = lax.bitcast_convert_type(x, jnp.int32)
    return bits ^ ((bits >> 31) & 0x7FFFFFFF)


def _from_key(key: jax.Array) -> jax.Array:
    """Undoes `_key`, which is its own inverse on the bits."""
    bits = key ^ ((key >> 31) & 0x7FFFFFFF)
    return lax.bitcast_convert_type(bits, jnp.float32)
