"""Depthwise convolution: `common.kernels.depthwise` against XLA's own.

    python -m benchmarks.depthwise

Prints the time of one forward pass and of both gradients, and how many times faster
ours is. The two alternate, so a slow moment of the machine hits both.
"""

import functools
import statistics
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax

from common.kernels.depthwise import depthwise_conv

# The largest stride-1 layer of MaxViT-T at 224 pixels: stage 1.
SHAPE = (8, 56, 56, 256)
ROUNDS = 15


def library_conv(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """The grouped convolution that `depthwise_conv` replaces on CPU."""
    return lax.conv_general_dilated(
        x,
        kernel,
        (1, 1),
        "SAME",
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=x.shape[-1],
    )


def gradients(conv: Callable, x: jax.Array, kernel: jax.Array, grad: jax.Array):
    """Returns the gradients of the input and of the kernel."""
    return jax.vjp(conv, x, kernel)[1](grad)


def seconds(function: Callable, *args: jax.Array) -> float:
    """Times one call."""
    start = time.perf_counter()
    jax.block_until_ready(function(*args))
    return time.perf_counter() - start


def compare(name: str, ours: Callable, theirs: Callable, *args: jax.Array) -> None:
    """Prints both medians and their ratio."""
    ours, theirs = jax.jit(ours), jax.jit(theirs)
    seconds(ours, *args), seconds(theirs, *args)  # compile
    times = [(seconds(ours, *args), seconds(theirs, *args)) for _ in range(ROUNDS)]
    fast, slow = (
        statistics.median(column) * 1e3 for column in zip(*times, strict=True)
    )
    print(f"{name:9s} ours {fast:7.1f} ms   XLA {slow:7.1f} ms   {slow / fast:5.1f} x")


def main() -> None:
    """Runs the comparison on the default device."""
    keys = jax.random.split(jax.random.key(0), 3)
    x, grad = (jax.random.normal(key, SHAPE) for key in keys[:2])
    kernel = jax.random.normal(keys[2], (3, 3, 1, SHAPE[-1]))
    print(f"{jax.devices()[0].device_kind}, jax {jax.__version__}, {SHAPE} float32")
    read_and_write = 2 * x.nbytes / 1e6
    operations = 2 * 9 * x.size / 1e6
    print(f"forward: at least {read_and_write:.0f} MB and {operations:.0f} MFLOP")
    # Its time is the floor: each element is read and written once.
    seconds(jnp.negative, x)
    floor = statistics.median(seconds(jnp.negative, x) for _ in range(ROUNDS)) * 1e3
    print(f"reading and writing that once (negation) takes {floor:.1f} ms")
    compare("forward", depthwise_conv, library_conv, x, kernel)
    compare(
        "gradient",
        functools.partial(gradients, depthwise_conv),
        functools.partial(gradients, library_conv),
        x,
        kernel,
        grad,
    )


if __name__ == "__main__":
    main()
