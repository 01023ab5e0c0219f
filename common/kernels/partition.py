"""Block and grid partitions: reshapes and transposes between maps and token groups.

Both cut a map into groups of equally many tokens, over which attention or a gMLP
runs. A *window* is a contiguous patch, so it mixes locally. A member of a *grid*
group is spaced evenly over the whole image, so it mixes globally at the same cost
(arXiv 2204.01697 section 3.2, figure 3).

The four functions take sizes that divide. Their token groups are
`[B * groups, tokens, C]`, row-major in both the groups and the tokens. The batch
stays the outermost part of the first axis, so a batch-sharded map partitions without
communication. `Partition` takes every size: it pads the map and says which tokens are
padding. `common.kernels.reference` spells out what all of them mean.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from common.errors import ConfigError
from common.size import Size, height_width


def window_partition(x: jax.Array, window: Size) -> jax.Array:
    """Cuts a map into contiguous windows.

    Args:
      x: `[B, H, W, C]`.
      window: side, or `(P, Q)`, of one window.

    Returns:
      `[B * H/P * W/Q, P * Q, C]`.

    Raises:
      ConfigError: if a side does not divide by the window's.
    """
    p, q = height_width(window)
    batch, rows, cols, channels = _divided(x.shape, (p, q), "window")
    x = x.reshape(batch, rows, p, cols, q, channels).swapaxes(2, 3)
    return x.reshape(batch * rows * cols, p * q, channels)


def window_reverse(tokens: jax.Array, window: Size, size: Size) -> jax.Array:
    """Stitches windows back together, the inverse of `window_partition`.

    Args:
      tokens: `[B * H/P * W/Q, P * Q, C]`.
      window: side, or `(P, Q)`, of one window.
      size: side, or `(H, W)`, of the map.

    Returns:
      `[B, H, W, C]`.

    Raises:
      ConfigError: if a side does not divide by the window's.
    """
    p, q = height_width(window)
    h, w = height_width(size)
    _, rows, cols, channels = _divided((1, h, w, tokens.shape[-1]), (p, q), "window")
    x = tokens.reshape(-1, rows, cols, p, q, channels).swapaxes(2, 3)
    return x.reshape(-1, h, w, channels)


def grid_partition(x: jax.Array, grid: Size) -> jax.Array:
    """Gathers groups of tokens that lie `H/G` rows and `W/K` columns apart.

    Args:
      x: `[B, H, W, C]`.
      grid: side, or `(G, K)`, of the grid of tokens in one group.

    Returns:
      `[B * H/G * W/K, G * K, C]`.

    Raises:
      ConfigError: if a side does not divide by the grid's.
    """
    g, k = height_width(grid)
    batch, rows, cols, channels = _divided(x.shape, (g, k), "grid")
    x = x.reshape(batch, g, rows, k, cols, channels).transpose(0, 2, 4, 1, 3, 5)
    return x.reshape(batch * rows * cols, g * k, channels)


def grid_reverse(tokens: jax.Array, grid: Size, size: Size) -> jax.Array:
    """Spreads grid groups back over the map, the inverse of `grid_partition`.

    Args:
      tokens: `[B * H/G * W/K, G * K, C]`.
      grid: side, or `(G, K)`, of the grid of tokens in one group.
      size: side, or `(H, W)`, of the map.

    Returns:
      `[B, H, W, C]`.

    Raises:
      ConfigError: if a side does not divide by the grid's.
    """
    g, k = height_width(grid)
    h, w = height_width(size)
    _, rows, cols, channels = _divided((1, h, w, tokens.shape[-1]), (g, k), "grid")
    x = tokens.reshape(-1, rows, cols, g, k, channels).transpose(0, 3, 1, 4, 2, 5)
    return x.reshape(-1, h, w, channels)


@dataclasses.dataclass(frozen=True)
class Partition:
    """The windows or grids of maps of one size, whatever that size.

    A side that does not divide is padded with zeros at the bottom or right. Every
    group then has at least one token of the map: padding is shorter than a window, and
    the first members of grids stand within one step, which no side is shorter than.

    Attributes:
      kind: "window" or "grid".
      size: `(H, W)` of the maps.
      group: `(P, Q)`, tokens along the sides of a group.
    """

    kind: str
    size: tuple[int, int]
    group: tuple[int, int]

    @property
    def padded(self) -> tuple[int, int]:
        """`(H, W)` of the padded map."""
        height, width = (
            -(-side // part) * part
            for side, part in zip(self.size, self.group, strict=True)
        )
        return height, width

    def split(self, x: jax.Array) -> jax.Array:
        """Groups the tokens of maps.

        Args:
          x: `[B, H, W, C]`.

        Returns:
          `[B, groups, P * Q, C]`.
        """
        batch, *_, channels = x.shape
        if self.padded != self.size:
            (height, width), (full_height, full_width) = self.size, self.padded
            x = jnp.pad(
                x, ((0, 0), (0, full_height - height), (0, full_width - width), (0, 0))
            )
        cut = window_partition if self.kind == "window" else grid_partition
        return cut(x, self.group).reshape(
            batch, -1, self.group[0] * self.group[1], channels
        )

    def join(self, tokens: jax.Array) -> jax.Array:
        """Puts tokens back in place, the inverse of `split`.

        Args:
          tokens: `[B, groups, P * Q, C]`.

        Returns:
          `[B, H, W, C]`.
        """
        stitch = window_reverse if self.kind == "window" else grid_reverse
        tokens = tokens.reshape(-1, *tokens.shape[2:])
        x = stitch(tokens, self.group, self.padded)
        return x[:, : self.size[0], : self.size[1]]

    def mask(self) -> np.ndarray | None:
        """Which tokens are of the map: bool `[groups, P * Q]`, None when all are."""
        if self.padded == self.size:
            return None
        inside = []  # per axis: bool [groups, members]
        for side, full, part in zip(self.size, self.padded, self.group, strict=True):
            if self.kind == "window":
                positions = np.arange(full).reshape(-1, part)
            else:
                positions = np.arange(full).reshape(part, -1).T
            inside.append(positions < side)
        rows, cols = inside
        both = rows[:, None, :, None] & cols[None, :, None, :]
        return both.reshape(len(rows) * len(cols), -1)


def _divided(shape, parts: tuple[int, int], kind: str) -> tuple[int, int, int, int]:
    """Returns batch, groups along each axis and channels.

    Raises:
      ConfigError: a side is no multiple of the part's.
    """
    batch, height, width, channels = shape
    if height % parts[0] or width % parts[1]:
        raise ConfigError(
            f"a map of {height} x {width} does not divide into a {kind} of "
            f"{parts[0]} x {parts[1]}; both sides must be multiples"
        )
    return batch, height // parts[0], width // parts[1], channels
