"""What the kernels of this folder compute, spelled out: plain NumPy loops in float64.

Slow on purpose. Tests compare the kernels with these; nothing else uses them.
"""

import numpy as np


def windows(x: np.ndarray, p: int, q: int) -> np.ndarray:
    """Cuts `[B, H, W, C]` into contiguous patches, `[B * H/p * W/q, p * q, C]`."""
    groups = []
    for image in x:
        for top in range(0, image.shape[0], p):
            for left in range(0, image.shape[1], q):
                patch = image[top : top + p, left : left + q]
                groups.append([token for row in patch for token in row])
    return np.array(groups)


def grids(x: np.ndarray, g: int, k: int) -> np.ndarray:
    """Gathers tokens `H/g` rows and `W/k` columns apart, `[..., g * k, C]`."""
    groups = []
    for image in x:
        row_step, col_step = image.shape[0] // g, image.shape[1] // k
        for top in range(row_step):
            for left in range(col_step):
                members = image[top::row_step, left::col_step]
                groups.append([token for row in members for token in row])
    return np.array(groups)


def bias(table: np.ndarray, p: int, q: int) -> np.ndarray:
    """Looks up `table[n, dy + p - 1, dx + q - 1]`, key's position minus query's."""
    out = np.zeros((len(table), p * q, p * q), table.dtype)
    for i, j, y, x in np.ndindex(p, q, p, q):
        out[:, i * q + j, y * q + x] = table[:, y - i + p - 1, x - j + q - 1]
    return out


def attention(
    query: np.ndarray, key: np.ndarray, value: np.ndarray, bias: np.ndarray
) -> np.ndarray:
    """Attends one query of one head of one group at a time.

    Args:
      query: `[groups, tokens, heads, head_dim]`.
      key: same shape.
      value: same shape.
      bias: `[heads, tokens, tokens]`.

    Returns:
      float64, same shape.
    """
    query, key, value, bias = (
        np.asarray(array, np.float64) for array in (query, key, value, bias)
    )
    out = np.zeros_like(query)
    groups, tokens, heads, head_dim = query.shape
    for g, n, i in np.ndindex(groups, heads, tokens):
        logits = key[g, :, n] @ query[g, i, n] / np.sqrt(head_dim) + bias[n, i]
        weights = np.exp(logits - logits.max())
        out[g, i, n] = (weights / weights.sum()) @ value[g, :, n]
    return out


def depthwise_conv(x: np.ndarray, kernel: np.ndarray, stride: int = 1) -> np.ndarray:
    """Filters every channel alone, with TensorFlow's SAME padding.

    Args:
      x: `[B, H, W, C]`.
      kernel: `[kh, kw, 1, C]`.
      stride: step along both axes.

    Returns:
      float64 `[B, ceil(H / stride), ceil(W / stride), C]`.
    """
    batch, *size, channels = x.shape
    taps = kernel.shape[:2]
    out_size = [-(-side // stride) for side in size]
    pads = [
        max((out - 1) * stride + tap - side, 0)
        for out, tap, side in zip(out_size, taps, size, strict=True)
    ]
    before_after = [(pad // 2, pad - pad // 2) for pad in pads]
    padded = np.pad(np.asarray(x, np.float64), [(0, 0), *before_after, (0, 0)])
    out = np.zeros((batch, *out_size, channels))
    for row, col in np.ndindex(*out_size):
        top, left = row * stride, col * stride
        patch = padded[:, top : top + taps[0], left : left + taps[1]]
        out[:, row, col] = (patch * kernel[:, :, 0]).sum((1, 2))
    return out
