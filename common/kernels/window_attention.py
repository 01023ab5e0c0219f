"""Self-attention inside token groups, with a learned bias per relative position.

`B[n, query, key] = table[n, dy + P - 1, dx + Q - 1]`, where `(dy, dx)` is the KEY's
position minus the QUERY's and tokens are row-major in a `P x Q` window. Other
implementations subtract the other way round; their tables are this one flipped along
both axes.
"""

import jax
import jax.numpy as jnp
import numpy as np

from common.size import Size, height_width


def relative_position_index(window: Size) -> tuple[np.ndarray, np.ndarray]:
    """Where in the table the bias of every (query, key) pair stands.

    Args:
      window: side, or `(P, Q)`, of the window.

    Returns:
      Two int arrays `[P*Q, P*Q]` (query, key): the table's row, in
      `[0, 2P - 2]`, and its column, in `[0, 2Q - 2]`.
    """
    p, q = height_width(window)
    y, x = np.divmod(np.arange(p * q), q)
    rows = y[None, :] - y[:, None] + p - 1
    cols = x[None, :] - x[:, None] + q - 1
    return rows, cols


def relative_position_bias(table: jax.Array, window: Size) -> jax.Array:
    """Looks the bias up.

    Args:
      table: `[heads, 2P - 1, 2Q - 1]`.
      window: side, or `(P, Q)`, of the window.

    Returns:
      `[heads, P*Q, P*Q]` (head, query, key).
    """
    rows, cols = relative_position_index(window)
    return table[:, rows, cols]


def attention(
    query: jax.Array,
    key: jax.Array,
    value: jax.Array,
    bias: jax.Array,
    mask: np.ndarray | None = None,
) -> jax.Array:
    """Attends within every group of tokens.

    Logits and softmax are in float32 whatever the input type.

    Args:
      query: `[..., tokens, heads, head_dim]`, not yet scaled; the leading axes are
        groups that do not see each other.
      key: same shape.
      value: same shape.
      bias: `[heads, tokens, tokens]`, added to the scaled logits.
      mask: bool `[..., tokens]`, which keys may be seen, or None for all; its
        leading axes broadcast against those of `query`. Every group needs one.

    Returns:
      `[..., tokens, heads, head_dim]` of `value.dtype`.
    """
    scale = query.shape[-1] ** -0.5
    logits = jnp.einsum(
        "...qhd,...khd->...hqk", query * scale, key, preferred_element_type=jnp.float32
    )
    logits = logits + bias.astype(jnp.float32)
    if mask is not None:
        logits = jnp.where(mask[..., None, None, :], logits, -jnp.inf)
    weights = jax.nn.softmax(logits, axis=-1)
    return jnp.einsum("...hqk,...khd->...qhd", weights.astype(value.dtype), value)
