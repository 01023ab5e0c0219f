"""Residual networks: those of ImageNet, the thin ones of CIFAR, and pre-activation.

He et al. 2015 (arXiv 1512.03385) and 2016 (arXiv 1603.05027). The strided convolution
of a bottleneck is the 3 x 3 one, as in the networks whose weights people have ("v1.5",
torchvision, timm); modules are named after theirs.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from common.config import unknown
from common.errors import ConfigError
from common.size import Size

STEMS = ("imagenet", "cifar")


@dataclasses.dataclass(frozen=True)
class _Layers:
    """How every layer of a network is made."""

    train: bool
    dtype: Any

    def conv(self, width: int, size: int, strides: int = 1, *, name: str) -> nn.Conv:
        """A convolution with the padding of PyTorch's.

        Fan-out keeps the variance of gradients (He et al., arXiv 1502.01852).
        """
        return nn.Conv(
            width,
            (size, size),
            strides,
            padding=size // 2,
            use_bias=False,
            kernel_init=nn.initializers.variance_scaling(2.0, "fan_out", "normal"),
            dtype=self.dtype,
            name=name,
        )

    def norm(self, name: str, zero: bool = False) -> nn.BatchNorm:
        """A batch norm; of scale 0 it makes its branch begin as nothing."""
        return nn.BatchNorm(
            not self.train,
            momentum=0.9,
            epsilon=1e-5,
            dtype=self.dtype,
            scale_init=nn.initializers.zeros if zero else nn.initializers.ones,
            name=name,
        )

    def shortcut(self, x: jax.Array, width: int, strides: int) -> jax.Array:
        """The input, or its projection where the shape changes."""
        if strides == 1 and x.shape[-1] == width:
            return x
        projected = self.conv(width, 1, strides, name="downsample_conv")(x)
        return self.norm("downsample_bn")(projected)


class BasicBlock(nn.Module):
    """Two 3 x 3 convolutions: `[B, H, W, C]` -> `[B, H / s, W / s, width]`."""

    width: int
    strides: int
    layers: _Layers

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Adds what the convolutions find to the input."""
        conv, norm = self.layers.conv, self.layers.norm
        y = nn.relu(norm("bn1")(conv(self.width, 3, self.strides, name="conv1")(x)))
        y = norm("bn2", zero=True)(conv(self.width, 3, name="conv2")(y))
        return nn.relu(y + self.layers.shortcut(x, self.width, self.strides))


class Bottleneck(nn.Module):
    """A 3 x 3 between two 1 x 1: `[B, H, W, C]` -> `[B, H / s, W / s, 4 width]`."""

    width: int
    strides: int
    layers: _Layers

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Adds what the convolutions find to the input."""
        conv, norm, wide = self.layers.conv, self.layers.norm, 4 * self.width
        y = nn.relu(norm("bn1")(conv(self.width, 1, name="conv1")(x)))
        y = nn.relu(norm("bn2")(conv(self.width, 3, self.strides, name="conv2")(y)))
        y = norm("bn3", zero=True)(conv(wide, 1, name="conv3")(y))
        return nn.relu(y + self.layers.shortcut(x, wide, self.strides))


class PreActivationBlock(nn.Module):
    """Two 3 x 3 convolutions, each after its norm; nothing happens to the sum."""

    width: int
    strides: int
    layers: _Layers

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Adds what the convolutions find to the input."""
        conv, norm = self.layers.conv, self.layers.norm
        y = nn.relu(norm("bn1")(x))
        if self.strides > 1 or x.shape[-1] != self.width:
            x = conv(self.width, 1, self.strides, name="downsample_conv")(y)
        y = nn.relu(norm("bn2")(conv(self.width, 3, self.strides, name="conv1")(y)))
        return x + conv(self.width, 3, name="conv2")(y)


class ResNet(nn.Module):
    """Stages of residual blocks, each of half the size and twice the width.

    Attributes:
      block: of which class.
      depths: blocks of each stage.
      widths: of each stage.
      num_classes: width of the logits; 0: none, but what they would be made of.
      stem: "imagenet", a 7 x 7 convolution and a pool that leave a quarter of the size;
        or "cifar", a 3 x 3 convolution at full size.
      dtype: of activations.
    """

    block: type[BasicBlock] | type[Bottleneck] | type[PreActivationBlock]
    depths: Sequence[int]
    widths: Sequence[int]
    num_classes: int
    stem: str = "imagenet"
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, images: jax.Array, train: bool = False) -> jax.Array:
        """`[B, H, W, 3]` -> float32 logits `[B, num_classes]`, or `[B, C]`."""
        layers = _Layers(train, self.dtype)
        # Blocks that norm what they read leave the last norm to the network.
        norm_first = self.block is not PreActivationBlock
        size, strides = (7, 2) if self.stem == "imagenet" else (3, 1)
        x = jnp.asarray(images, self.dtype)
        x = layers.conv(self.widths[0], size, strides, name="conv1")(x)
        if norm_first:
            x = nn.relu(layers.norm("bn1")(x))
        if self.stem == "imagenet":
            x = nn.max_pool(x, (3, 3), (2, 2), ((1, 1), (1, 1)))
        stages = zip(self.depths, self.widths, strict=True)
        for stage, (depth, width) in enumerate(stages, 1):
            for number in range(depth):
                strides = 2 if stage > 1 and number == 0 else 1
                name = f"layer{stage}_{number}"
                x = self.block(width, strides, layers, name=name)(x)
        if not norm_first:
            x = nn.relu(layers.norm("bn1")(x))
        x = jnp.mean(x.astype(jnp.float32), (1, 2))
        if not self.num_classes:
            return x
        return nn.Dense(self.num_classes, dtype=jnp.float32, name="fc")(x)


_WIDE, _THIN = (64, 128, 256, 512), (16, 32, 64)
# Block, depths, widths and stem. The thin networks have 6 n + 2 layers and, in place of
# the paper's parameter-free shortcuts, projections where the shape changes.
_VARIANTS: dict[str, tuple[Any, Sequence[int], Sequence[int], str]] = {
    "resnet18": (BasicBlock, (2, 2, 2, 2), _WIDE, "imagenet"),
    "resnet34": (BasicBlock, (3, 4, 6, 3), _WIDE, "imagenet"),
    "resnet50": (Bottleneck, (3, 4, 6, 3), _WIDE, "imagenet"),
    "preact_resnet18": (PreActivationBlock, (2, 2, 2, 2), _WIDE, "cifar"),
    "resnet20": (BasicBlock, (3, 3, 3), _THIN, "cifar"),
    "resnet32": (BasicBlock, (5, 5, 5), _THIN, "cifar"),
    "resnet44": (BasicBlock, (7, 7, 7), _THIN, "cifar"),
    "resnet56": (BasicBlock, (9, 9, 9), _THIN, "cifar"),
}
VARIANTS = tuple(_VARIANTS)


def create(
    variant: str, num_classes: int, dtype: Any = "float32", stem: str | None = None
) -> ResNet:
    """Returns a network; `apply(variables, images, train)` gives logits.

    Args:
      variant: one of `VARIANTS`.
      num_classes: width of the logits; 0 for a network that ends before them.
      dtype: of activations.
      stem: one of `STEMS`; by default the variant's. For images of 32 pixels people
        give the wide networks the stem "cifar".

    Raises:
      ConfigError: unknown variant or stem.
    """
    if variant not in _VARIANTS:
        raise ConfigError(unknown("ResNet", variant, VARIANTS))
    block, depths, widths, usual = _VARIANTS[variant]
    if stem is not None and stem not in STEMS:
        raise ConfigError(unknown("stem", stem, STEMS))
    return ResNet(block, depths, widths, num_classes, stem or usual, jnp.dtype(dtype))


def backbone(
    variant: str,
    num_classes: int,
    image_size: Size,
    dtype: Any = "float32",
    stem: str | None = None,
) -> ResNet:
    """Returns a network for any size of image, as the registry asks for one."""
    del image_size
    return create(variant, num_classes, dtype, stem)
