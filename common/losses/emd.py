"""Distance between two histograms of scores: how far what must be moved.

The earth mover's distance of distributions on equally spaced scores has a closed form
in their cumulative sums (NIMA, arXiv 1709.05424, equation 1).
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from common.errors import ConfigError, DataError

# Our choice: how far from 1 a histogram in float32 may sum.
_TOLERANCE = 1e-3


def earth_movers_distance(p: jax.Array, q: jax.Array, r: float = 2.0) -> jax.Array:
    """Returns `mean over k of |CDF_p(k) - CDF_q(k)|^r`, to the power of 1 / r.

    NIMA trains with r = 2 and reports r = 1. Where p equals q the gradient is 0, and
    not that of a root at 0, which is infinite.

    Args:
      p: `[..., K]`, shares of each score, which sum to 1.
      q: of the same shape.
      r: at least 1.

    Returns:
      `[...]`, in [0, 1].

    Raises:
      ConfigError: `r` is less than 1.
      DataError: the shapes differ, or histograms do not sum to 1, which is seen
        where they are not traced.
    """
    if r < 1:
        raise ConfigError(f"an earth mover's distance needs r of at least 1, given {r}")
    if p.shape != q.shape or not p.ndim or p.shape[-1] < 2:
        raise DataError(
            f"histograms are [..., K] and of one shape, given {list(p.shape)} and "
            f"{list(q.shape)}"
        )
    for histogram in (p, q):
        _check_sum(histogram)
    gap = jnp.cumsum(p, -1) - jnp.cumsum(q, -1)
    # |x| with gradient 0 at 0, where that of jnp.abs is 1.
    mean = jnp.mean((gap * jnp.sign(gap)) ** r, -1)
    zero = mean == 0
    return jnp.where(zero, 0.0, jnp.where(zero, 1.0, mean) ** (1 / r))


def _check_sum(histogram: jax.Array) -> None:
    if isinstance(histogram, jax.core.Tracer):
        return
    values = np.asarray(histogram, np.float64)
    total = values.sum(-1)
    # Written so that a NaN fails.
    wrong = ~(np.abs(total - 1) <= _TOLERANCE) | ~(values.min(-1) >= 0)
    if np.any(wrong):
        where = np.unravel_index(np.argmax(wrong), wrong.shape)
        raise DataError(
            f"histogram {list(map(int, where))} sums to {total[where]:g} with least "
            f"share {values.min(-1)[where]:g}: shares are not negative and sum to 1"
        )
