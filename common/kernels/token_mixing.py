"""Mixing of tokens inside blocks and across grids by one shared matrix (gMLP, Mixer).

The tokens of a group stand along the first axis, `[T, N, C]`: then the mix is the
product of two matrices, whatever the number of groups and channels, and layers on the
channels work as on a map. XLA makes the change of layout part of the elementwise
operation before it, and the way back part of the one behind.
"""

from __future__ import annotations

import jax

from common.kernels.partition import divided


def block_tokens(x: jax.Array, block: tuple[int, int]) -> jax.Array:
    """Gathers the neighbours of each block.

    Args:
      x: `[B, H, W, C]`.
      block: `(P, Q)`, the sides of a block.

    Returns:
      `[P * Q, N, C]`: tokens in row-major order, `N = B * H/P * W/Q` blocks.

    Raises:
      ConfigError: a side does not divide by the block's.
    """
    batch, rows, cols, channels = divided(x.shape, block, "block")
    x = x.reshape(batch, rows, block[0], cols, block[1], channels)
    return x.transpose(2, 4, 0, 1, 3, 5).reshape(block[0] * block[1], -1, channels)


def block_map(
    tokens: jax.Array, block: tuple[int, int], shape: tuple[int, ...]
) -> jax.Array:
    """Puts tokens back, the inverse of `block_tokens`; `shape` is the map's."""
    batch, rows, cols, _ = divided(shape, block, "block")
    x = tokens.reshape(*block, batch, rows, cols, -1).transpose(2, 3, 0, 4, 1, 5)
    return x.reshape(*shape[:3], -1)


def grid_tokens(x: jax.Array, grid: tuple[int, int]) -> jax.Array:
    """Gathers tokens that lie `H/G` rows and `W/K` columns apart, over the whole map.

    Args:
      x: `[B, H, W, C]`.
      grid: `(G, K)`, tokens along the sides.

    Returns:
      `[G * K, N, C]`: tokens in row-major order, `N = B * H/G * W/K` grids.

    Raises:
      ConfigError: a side does not divide by the grid's.
    """
    batch, rows, cols, channels = divided(x.shape, grid, "grid")
    x = x.reshape(batch, grid[0], rows, grid[1], cols, channels)
    return x.transpose(1, 3, 0, 2, 4, 5).reshape(grid[0] * grid[1], -1, channels)


def grid_map(
    tokens: jax.Array, grid: tuple[int, int], shape: tuple[int, ...]
) -> jax.Array:
    """Puts tokens back, the inverse of `grid_tokens`; `shape` is the map's."""
    batch, rows, cols, _ = divided(shape, grid, "grid")
    x = tokens.reshape(*grid, batch, rows, cols, -1).transpose(2, 0, 3, 1, 4, 5)
    return x.reshape(*shape[:3], -1)


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
