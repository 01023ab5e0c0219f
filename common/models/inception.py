"""Inception-v2, which is the network that batch normalisation was introduced with.

Ioffe and Szegedy 2015 (arXiv 1502.03167), in the form whose weights people have:
TF-slim's `inception_v2`, with a separable convolution as its first layer, which is the
only one without a norm. Modules have the names of its variables, so that
`inception_weights` can read its checkpoints. These expect images from -1 to 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from common.config import unknown
from common.errors import ConfigError
from common.size import Size

VARIANTS = ("inception_v2",)
# Filters per channel of the first convolution.
_MULTIPLIER = 8
# TF-slim keeps 0.8 of the features.
_DROPOUT = 0.2
# TF-slim's. Statistics follow within some ten thousand steps, as long as it trained.
_MOMENTUM = 0.9997
# Of all layers; TF-slim has another for some, which norms make up for.
_INIT = nn.initializers.variance_scaling(2.0, "fan_in", "truncated_normal")

# One module: widths of the branches 1x1; 1x1, 3x3; 1x1, 3x3, 3x3; pool, 1x1 (of
# average or maximum). Table 5 of the paper, as TF-slim has it.
_Module = tuple[int, tuple[int, int], tuple[int, int, int], int, str]
# One module of half the size: 1x1, 3x3; 1x1, 3x3, 3x3; and a pool.
_Reduction = tuple[tuple[int, int], tuple[int, int, int]]
_MODULES: dict[str, _Module | _Reduction] = {
    "Mixed_3b": (64, (64, 64), (64, 96, 96), 32, "avg"),
    "Mixed_3c": (64, (64, 96), (64, 96, 96), 64, "avg"),
    "Mixed_4a": ((128, 160), (64, 96, 96)),
    "Mixed_4b": (224, (64, 96), (96, 128, 128), 128, "avg"),
    "Mixed_4c": (192, (96, 128), (96, 128, 128), 128, "avg"),
    "Mixed_4d": (160, (128, 160), (128, 160, 160), 96, "avg"),
    "Mixed_4e": (96, (128, 192), (160, 192, 192), 96, "avg"),
    "Mixed_5a": ((128, 192), (192, 256, 256)),
    "Mixed_5b": (352, (192, 320), (160, 224, 224), 128, "avg"),
    "Mixed_5c": (352, (192, 320), (192, 224, 224), 128, "max"),
}


class _Layers(NamedTuple):
    """How every layer of a network is made."""

    dtype: Any
    momentum: float


class _Separable(nn.Module):
    """A convolution of each channel, 1 x 1 over all of them, ReLU.

    As nothing lies between the two, their kernels are multiplied to that of one
    convolution, whose gradient is faster (8 times on a CPU).

    Attributes:
      width: channels of the result.
      size: side of the kernel.
      strides: step along both axes.
      dtype: of activations.
    """

    width: int
    size: int
    strides: int
    dtype: Any

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        size, channels = self.size, x.shape[-1]
        shape = (size, size, channels, _MULTIPLIER)
        each = self.param("depthwise_kernel", _depthwise_init, shape)
        shape = (channels * _MULTIPLIER, self.width)
        across = self.param("pointwise_kernel", _INIT, shape)
        bias = self.param("bias", nn.initializers.zeros, (self.width,))
        across = across.reshape(channels, _MULTIPLIER, self.width)
        kernel = jnp.einsum("hwcm,cmo->hwco", each, across, precision="highest")
        x = jax.lax.conv_general_dilated(
            x,
            kernel.astype(self.dtype),
            (self.strides, self.strides),
            "SAME",
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )
        return nn.relu(x + bias.astype(self.dtype))


class _Unit(nn.Module):
    """Convolution, norm without a scale, ReLU.

    Attributes:
      width: channels of the result.
      size: side of the kernel.
      layers: how they are made.
      strides: step along both axes.
    """

    width: int
    size: int
    layers: _Layers
    strides: int = 1

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        x = nn.Conv(
            self.width,
            (self.size, self.size),
            self.strides,
            use_bias=False,
            kernel_init=_INIT,
            dtype=self.layers.dtype,
            name="conv",
        )(x)
        x = nn.BatchNorm(
            not train,
            momentum=self.layers.momentum,
            epsilon=1e-3,
            use_scale=False,
            dtype=self.layers.dtype,
            name="BatchNorm",
        )(x)
        return nn.relu(x)


class _Branch(nn.Module):
    """Convolutions in a row: 1 x 1 first, then 3 x 3, the last of which strides."""

    widths: Sequence[int]
    layers: _Layers
    strides: int = 1
    pool: str = ""

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        if self.pool:
            x = _pool(x, self.pool)
        last = len(self.widths) - 1
        for number, width in enumerate(self.widths):
            size = 3 if number else 1
            strides = self.strides if number == last else 1
            # Letters count what a branch has done, pools included.
            part = "1a" if strides > 1 else f"0{'abc'[number + bool(self.pool)]}"
            name = f"Conv2d_{part}_{size}x{size}"
            x = _Unit(width, size, self.layers, strides, name=name)(x, train)
        return x


class _Mixed(nn.Module):
    """Branches side by side: `[B, H, W, C]` -> `[B, H / s, W / s, sum of widths]`."""

    widths: _Module | _Reduction
    layers: _Layers

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        found = [branch(x, train) for branch in self._branches()]
        if len(self.widths) == 2:
            found.append(_pool(x, "max", strides=2))
        return jnp.concatenate(found, -1)

    def _branches(self) -> list[_Branch]:
        if len(self.widths) == 2:
            rows = [(widths, 2, "") for widths in self.widths]
        else:
            one, two, three, pooled, pool = self.widths
            rows = [((one,), 1, ""), (two, 1, ""), (three, 1, ""), ((pooled,), 1, pool)]
        return [
            _Branch(widths, self.layers, strides, pool, name=f"Branch_{number}")
            for number, (widths, strides, pool) in enumerate(rows)
        ]


class InceptionV2(nn.Module):
    """Inception-v2.

    Attributes:
      num_classes: width of the logits; 0: none, but the 1024 they would be made of.
      dtype: of activations.
      norm_momentum: what a batch norm keeps of its statistics at each step.
    """

    num_classes: int = 1000
    dtype: Any = jnp.float32
    norm_momentum: float = _MOMENTUM

    @nn.compact
    def __call__(self, images: jax.Array, train: bool = False) -> jax.Array:
        """Normalised `[B, H, W, 3]` -> float32 `[B, num_classes]`, or `[B, 1024]`."""
        layers = _Layers(self.dtype, self.norm_momentum)
        x = jnp.asarray(images, self.dtype)
        x = _Separable(64, 7, 2, self.dtype, name="Conv2d_1a_7x7")(x)
        x = _pool(x, strides=2)
        x = _Unit(64, 1, layers, name="Conv2d_2b_1x1")(x, train)
        x = _Unit(192, 3, layers, name="Conv2d_2c_3x3")(x, train)
        x = _pool(x, strides=2)
        for name, widths in _MODULES.items():
            x = _Mixed(widths, layers, name=name)(x, train)
        x = jnp.mean(x.astype(jnp.float32), (1, 2))
        if not self.num_classes:
            return x
        x = nn.Dropout(_DROPOUT, deterministic=not train)(x)
        return nn.Dense(self.num_classes, dtype=jnp.float32, name="Logits")(x)


def backbone(
    variant: str,
    num_classes: int,
    image_size: Size,
    dtype: Any = "float32",
    norm_momentum: float = _MOMENTUM,
) -> InceptionV2:
    """Returns a network for any size of image, as the registry asks for one.

    Args:
      variant: "inception_v2".
      num_classes: width of the logits, or 0.
      image_size: any.
      dtype: of activations.
      norm_momentum: what a batch norm keeps of its statistics at each step; less than
        the usual where training is short.

    Raises:
      ConfigError: unknown variant, or a momentum outside of [0, 1).
    """
    del image_size
    if variant not in VARIANTS:
        raise ConfigError(unknown("Inception", variant, VARIANTS))
    if not 0 <= norm_momentum < 1:
        raise ConfigError(f"norm_momentum is {norm_momentum}, expected one in [0, 1)")
    return InceptionV2(num_classes, jnp.dtype(dtype), norm_momentum)


def _pool(x: jax.Array, kind: str = "max", strides: int = 1) -> jax.Array:
    """Pools 3 x 3; what lies outside of the map does not count."""
    window, step = (3, 3), (strides, strides)
    if kind == "max":
        return nn.max_pool(x, window, step, "SAME")
    return nn.avg_pool(x, window, step, "SAME", count_include_pad=False)


def _depthwise_init(key: jax.Array, shape: Sequence[int]) -> jax.Array:
    """Draws a kernel `[h, w, C, filters]`, of which each filter sees one channel."""
    height, width, channels, filters = shape
    return _INIT(key, (height, width, 1, channels * filters)).reshape(shape)
