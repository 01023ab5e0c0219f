"""Depthwise convolution that is fast on every platform.

XLA's CPU backend runs a grouped convolution one channel at a time. Written as one
multiply-add per kernel tap, the channels stay in the vector lanes and the same
result takes a small fraction of the time (benchmarks/README.md); the two gradients
have the same form. Accelerators keep the library convolution. The choice is made
when a function is lowered, so one jitted function is right wherever it runs.
"""

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax import lax

from common.errors import ConfigError

Pads = tuple[tuple[int, int], tuple[int, int]]


def depthwise_conv(
    x: jax.Array,
    kernel: jax.Array,
    stride: int = 1,
    padding: str | Sequence[tuple[int, int]] = "SAME",
) -> jax.Array:
    """Convolves every channel with its own filter.

    Products are summed in float32 whatever the input type. Reverse-mode
    differentiable to any order; forward mode is not supported, and `jax.shard_map`
    needs `check_vma=False` around a gradient.

    Args:
      x: `[B, H, W, C]`.
      kernel: `[kh, kw, 1, C]`, in practice 3 x 3.
      stride: step along both axes.
      padding: "SAME" (TensorFlow's rule: the odd element goes to the bottom and
        right), "VALID" or explicit `((top, bottom), (left, right))`.

    Returns:
      `[B, H', W', C]` of `x.dtype`.

    Raises:
      ConfigError: if the kernel does not hold one filter per channel of `x`.
    """
    if x.ndim != 4 or kernel.ndim != 4 or kernel.shape[2:] != (1, x.shape[-1]):
        raise ConfigError(
            "a depthwise convolution takes x [B, H, W, C] and kernel [kh, kw, 1, C], "
            f"got {x.shape} and {kernel.shape}"
        )
    if isinstance(padding, str):
        padding = lax.padtype_to_pads(
            x.shape[1:3], kernel.shape[:2], (stride, stride), padding
        )
    (top, bottom), (left, right) = padding
    return _conv(x, kernel, stride, ((top, bottom), (left, right)))


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _conv(x: jax.Array, kernel: jax.Array, stride: int, pads: Pads) -> jax.Array:
    return lax.platform_dependent(
        x,
        kernel,
        cpu=functools.partial(_shifted_conv, stride=stride, pads=pads),
        default=functools.partial(_library_conv, stride=stride, pads=pads),
    )


def _conv_forward(x, kernel, stride, pads):
    return _conv(x, kernel, stride, pads), (x, kernel)


def _conv_backward(stride, pads, residuals, grad):
    return lax.platform_dependent(
        *residuals,
        grad,
        cpu=functools.partial(_shifted_gradients, stride=stride, pads=pads),
        default=functools.partial(_library_gradients, stride=stride, pads=pads),
    )


_conv.defvjp(_conv_forward, _conv_backward)


def _library_conv(x, kernel, stride: int, pads: Pads) -> jax.Array:
    return lax.conv_general_dilated(
        x,
        kernel.astype(x.dtype),
        (stride, stride),
        pads,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=x.shape[-1],
    )


def _library_gradients(x, kernel, grad, stride: int, pads: Pads):
    conv = functools.partial(_library_conv, stride=stride, pads=pads)
    return jax.vjp(conv, x, kernel)[1](grad)


def _shifted_conv(x, kernel, stride: int, pads: Pads) -> jax.Array:
    padded = _pad(x, pads)
    height, width = (
        (side - taps) // stride + 1
        for side, taps in zip(padded.shape[1:3], kernel.shape[:2], strict=True)
    )
    return _correlate(padded, kernel, stride, (height, width))


def _shifted_gradients(x, kernel, grad, stride: int, pads: Pads):
    dkernel = _kernel_gradient(_pad(x, pads), grad, kernel, stride)
    # The input's gradient correlates the flipped kernel with the output's gradient,
    # spread to the input's grid: stride - 1 zeros between elements, borders such
    # that the result has the input's size (negative ones crop).
    borders = []
    for taps, side, out, (low, _) in zip(
        kernel.shape[:2], x.shape[1:3], grad.shape[1:3], pads, strict=True
    ):
        before = taps - 1 - low
        after = side + taps - 1 - before - ((out - 1) * stride + 1)
        borders.append((before, after))
    spread = _pad(grad, borders, interior=stride - 1)
    dx = _correlate(spread, kernel[::-1, ::-1], 1, x.shape[1:3])
    return dx.astype(x.dtype), dkernel


def _pad(x, borders, interior: int = 0) -> jax.Array:
    config = [(low, high, interior) for low, high in borders]
    padded = lax.pad(x, jnp.zeros((), x.dtype), [(0, 0, 0), *config, (0, 0, 0)])
    # Written out once: fused into its readers, the padding and what produced `x`
    # would be computed again for every tap.
    return lax.optimization_barrier(padded)


def _correlate(padded, kernel, stride: int, size: Sequence[int]) -> jax.Array:
    """Sums the taps: one shifted (and strided) view of `padded` times one filter."""
    weights = kernel.astype(jnp.float32)
    total = jnp.zeros((), jnp.float32)
    for i in range(kernel.shape[0]):
        for j in range(kernel.shape[1]):
            view = _view(_view(padded, 1, i, size[0], stride), 2, j, size[1], stride)
            total = total + view.astype(jnp.float32) * weights[i, j, 0]
    return total.astype(padded.dtype)


def _view(x, axis: int, start: int, count: int, stride: int) -> jax.Array:
    stop = start + (count - 1) * stride + 1
    return lax.slice_in_dim(x, start, stop, stride, axis)


def _kernel_gradient(padded, grad, kernel, stride: int) -> jax.Array:
    """Sums `input * grad` over batch, rows and columns, for every tap.

    XLA's CPU reduction to `[C]` uses one core and streams both maps once per tap.
    Adding row after row elementwise keeps the partial sums in cache and uses all
    cores; only the small rest is reduced. There is one partial sum per column of the
    kernel, `[B, kh, W', C]`: one per tap is no faster and takes longer to compile.
    """
    batch, height, width, channels = grad.shape
    taps = kernel.shape[:2]

    def add_row(row, sums):
        g = lax.dynamic_slice_in_dim(grad, row, 1, 1).astype(jnp.float32)
        rows = lax.dynamic_slice_in_dim(padded, row * stride, taps[0], 1)
        rows = rows.astype(jnp.float32)
        return [
            total + _view(rows, 2, column, width, stride) * g
            for column, total in enumerate(sums)
        ]

    zeros = jnp.zeros((batch, taps[0], width, channels), jnp.float32)
    sums = lax.fori_loop(0, height, add_row, [zeros] * taps[1])
    per_tap = jnp.stack(sums, axis=2).sum((0, 3))
    return per_tap[:, :, None].astype(kernel.dtype)
