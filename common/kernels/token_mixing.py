"""Mixing of tokens inside blocks and across grids by one shared matrix (gMLP, Mixer).

The tokens of a group stand along the first axis, `[T, N, C]`: then the mix is the
product of two matrices, whatever the number of groups and channels, and layers on the
channels work as on a map. XLA makes the change of layout part of the elementwise
operation before it, and the way back part of the one behind.
"""

from __future__ import annotations

import jax

from common.kernels import partition

_PARTITIONS = {
    "block": (partition.window_partition, partition.window_reverse),
    "grid": (partition.grid_partition, partition.grid_reverse),
}


def to_tokens(x: jax.Array, kind: str, size: tuple[int, int]) -> jax.Array:
    """Gathers the tokens of each group.

    Args:
      x: `[B, H, W, C]`.
      kind: "block": the tokens of a group are neighbours; "grid": they are spaced
        evenly over the whole map.
      size: `(P, Q)`, tokens along the sides of a group.

    Returns:
      `[P * Q, N, C]`: tokens in row-major order, `N = B * H/P * W/Q` groups.

    Raises:
      ConfigError: a side does not divide.
    """
    cut, _ = _PARTITIONS[kind]
    return cut(x, size).swapaxes(0, 1)


def to_map(
    tokens: jax.Array, kind: str, size: tuple[int, int], shape: tuple[int, ...]
) -> jax.Array:
    """Undoes `to_tokens` for a map of this shape, whatever its channels."""
    _, stitch = _PARTITIONS[kind]
    return stitch(tokens.swapaxes(0, 1), size, (shape[1], shape[2]))


def mix(tokens: jax.Array, kernel: jax.Array, bias: jax.Array | None) -> jax.Array:
    """Makes each token a weighted sum of the tokens of its group.

    Args:
      tokens: `[T, N, C]`.
      kernel: `[T, T]`, from tokens in to tokens out.
      bias: `[T]`, added to the tokens out, or None.

    Returns:
      `[T, N, C]`.
    """
    flat = tokens.reshape(tokens.shape[0], -1)
    y = (kernel.T @ flat).reshape(-1, *tokens.shape[1:])
    return y if bias is None else y + bias[:, None, None]
