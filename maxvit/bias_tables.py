"""Tables of relative positions for other windows than those they were trained for.

Another image size means other windows (its side / 32), and a table has one entry for
every offset within a window. Official code resizes it bilinearly, with half-pixel
centres and without antialiasing, and so do we. timm resizes otherwise when it loads
weights at another size, so a resized model's logits differ from timm's.
"""

import collections
from collections.abc import Mapping
from typing import Any

import numpy as np

_NAME = "/relative_bias"


def resize(table: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resizes a table; the same array where the size is the same.

    Args:
      table: `[heads, 2P-1, 2Q-1]`.
      size: of the two last axes.

    Returns:
      `[heads, *size]`, float32.
    """
    table = np.asarray(table, np.float32)
    for axis, length in ((1, size[0]), (2, size[1])):
        if table.shape[axis] != length:
            weights = _weights(table.shape[axis], length)
            table = np.moveaxis(np.tensordot(weights, table, (1, axis)), 0, axis)
    return table


def _weights(old: int, new: int) -> np.ndarray:
    """Returns `[new, old]`: what each new entry takes of its two old neighbours."""
    # The centre of new entry i lies at (i + 1/2) old / new - 1/2, here times 2 new;
    # beyond the outer old centres nothing changes.
    rows = np.arange(new)
    centres = ((2 * rows + 1) * old - new).clip(0, 2 * new * (old - 1))
    below, rest = np.divmod(centres, 2 * new)
    share = rest.astype(np.float32) / np.float32(2 * new)
    weights = np.zeros((new, old), np.float32)
    weights[rows, below] = 1 - share
    weights[rows, np.minimum(below + 1, old - 1)] += share
    return weights


def fit(
    loaded: Mapping[str, np.ndarray], target: Mapping[str, Any]
) -> tuple[dict[str, np.ndarray], str]:
    """Resizes the tables whose windows differ from the model's, and nothing else.

    Args:
      loaded: flat names to arrays.
      target: flat names to arrays or `jax.ShapeDtypeStruct` of the model.

    Returns:
      The arrays, and a line such as "22 tables resized 13x13 -> 23x23", empty when
      none was.
    """
    fitted = dict(loaded)
    resized = collections.Counter()
    for name, table in loaded.items():
        wanted = tuple(target[name].shape) if name in target else table.shape
        same_heads = len(wanted) == table.ndim == 3 and wanted[0] == table.shape[0]
        if name.endswith(_NAME) and same_heads and wanted != table.shape:
            fitted[name] = resize(table, (wanted[1], wanted[2]))
            sizes = "{}x{} -> {}x{}".format(*table.shape[1:], *wanted[1:])
            resized[sizes] += 1
    parts = [
        f"{count} table{'s' * (count > 1)} resized {sizes}"
        for sizes, count in resized.items()
    ]
    return fitted, ", ".join(parts)
