"""The parts of the learned resizer: a stem at full size, blocks at the small one."""

from __future__ import annotations

import functools
import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from resizer.convolution import conv_general_dilated
from resizer.resampling import resize

NORMS = ("batch", "group")
# Of the Keras example; the paper gives none.
_MOMENTUM, _EPSILON = 0.99, 1e-3
_GROUPS = 8  # at most; our choice


class BatchStatistics(nn.Module):
    """A batch norm as the factor and the summand of each channel.

    `x * factor + summand` is what `nn.BatchNorm` returns; its variables have the same
    names. Apart from the map, they can be used after a resize, which commutes with them
    as its weights sum to 1, where the map is smaller.

    Attributes:
      axis_name: over which devices statistics are taken, too.
    """

    axis_name: str | None = None

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> tuple[jax.Array, jax.Array]:
        """`[B, H, W, C]` -> two float32 `[C]`."""
        shape = x.shape[-1:]
        scale = self.param("scale", nn.initializers.ones, shape)
        bias = self.param("bias", nn.initializers.zeros, shape)
        means = self.variable("batch_stats", "mean", jnp.zeros, shape)
        variances = self.variable("batch_stats", "var", jnp.ones, shape)
        mean, variance = means.value, variances.value
        if train:
            x = x.astype(jnp.float32)
            moments = jnp.stack([x.mean((0, 1, 2)), jnp.square(x).mean((0, 1, 2))])
            if self.axis_name is not None and not self.is_initializing():
                moments = jax.lax.pmean(moments, self.axis_name)
            mean, variance = moments[0], jnp.maximum(moments[1] - moments[0] ** 2, 0.0)
            if not self.is_initializing():
                means.value += (1 - _MOMENTUM) * (mean - means.value)
                variances.value += (1 - _MOMENTUM) * (variance - variances.value)
        factor = scale * jax.lax.rsqrt(variance + _EPSILON)
        return factor, bias - mean * factor


class _Part(nn.Module):
    """What the parts have in common.

    Attributes:
      features: channels of all maps.
      negative_slope: of the leaky ReLUs.
      norm: one of `NORMS`, or None.
      dtype: of activations.
      axis_name: of batch norms.
    """

    features: int
    negative_slope: float
    norm: str | None
    dtype: Any
    axis_name: str | None

    def _conv(
        self, size: int, name: str, use_bias: bool = False, few: bool = True
    ) -> nn.Conv:
        return nn.Conv(
            self.features,
            (size, size),
            use_bias=use_bias,
            kernel_init=nn.initializers.glorot_uniform(),
            dtype=self.dtype,
            conv_general_dilated=conv_general_dilated if few else None,
            name=name,
        )

    def _activate(self, x: jax.Array) -> jax.Array:
        return nn.leaky_relu(x, self.negative_slope)

    def _norm(
        self, x: jax.Array, train: bool, name: str, move: Any = None
    ) -> jax.Array:
        """Normalises a map, and moves it to another size."""
        move = move or (lambda x: x)
        if self.norm == "batch":
            factor, summand = BatchStatistics(self.axis_name, name=name)(x, train)
            return (move(x) * factor + summand).astype(self.dtype)
        if self.norm == "group":
            groups = math.gcd(self.features, _GROUPS)
            x = nn.GroupNorm(groups, dtype=self.dtype, name=name)(x)
        return move(x)


class Stem(_Part):
    """Looks at the image at full size, then resizes what it saw."""

    method: str
    antialias: bool

    @nn.compact
    def __call__(self, x: jax.Array, size: tuple[int, int], train: bool) -> jax.Array:
        """`[B, H, W, C]` -> `[B, *size, features]`."""
        # 7 x 7 pixels of the image as it is, which at the small size would be more.
        # From the image the library's is faster, from four images on.
        x = self._activate(self._conv(7, "conv1", use_bias=True, few=False)(x))
        x = self._activate(self._conv(1, "conv2", use_bias=True)(x))
        move = functools.partial(
            resize, size=size, method=self.method, antialias=self.antialias
        )
        return self._norm(x, train, "bn", move)


class Stack(_Part):
    """Residual blocks, one after the other, and a convolution around them."""

    num_blocks: int

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """`[B, h, w, features]` -> the same shape."""
        y = x
        for number in range(self.num_blocks):
            name = f"block{number}"
            z = self._conv(3, f"{name}_conv1")(y)
            z = self._activate(self._norm(z, train, f"{name}_bn1"))
            z = self._conv(3, f"{name}_conv2")(z)
            y = y + self._norm(z, train, f"{name}_bn2")
        y = self._norm(self._conv(3, "conv")(y), train, "bn")
        return x + y
