"""The parts of the enhancement networks: residual blocks, shuffles, fixed resampling.

No layer normalises, as in EDSR (Lim et al., arXiv 1707.02921). Maps are
`[B, H, W, C]`; a `radius` counts the pixels beyond an aligned tile that it depends on.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from common.errors import ConfigError
from common.models.remat import remat

Array = jax.Array

# What the official codes start from, PyTorch's default: uniform, of variance
# 1 / (3 fan-in). Without norms, He's would double the variance with every block.
KERNEL_INIT = nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")
_KEYS_A = -0.5  # of the cubic kernel; third order (Keys 1981)


class Network(nn.Module):
    """What all networks have: `apply({"params": params}, images)`.

    Images are floats `[B, H, W, channels]` with sides that are multiples of
    `size_multiple`; results are float32 `[B, scale * H, scale * W, channels]`, of the
    images' range, not clipped.

    Attributes:
      scale: by how much sides grow.
      channels: bands of images and results.
      dtype: of activations; images that are added stay float32, whose levels
        bfloat16 could not hold.
    """

    scale: int = 1
    channels: int = 3
    dtype: Any = jnp.float32

    @property
    def size_multiple(self) -> int:
        """Sides of images must be multiples of this."""
        return 1

    @property
    def receptive_radius(self) -> int | None:
        """Pixels of the input, beyond a tile, on which the tile's result depends.

        Of tiles that start and end at multiples of `size_multiple`. None: all pixels.
        """
        raise NotImplementedError

    @nn.nowrap
    def check_fields(self) -> None:
        """Refuses fields of right types with which nothing could be built.

        Raises:
          ConfigError: there are such.
        """

    @nn.nowrap
    def checked(self, images: Array, any_bands: bool = False) -> Array:
        """Returns the images as float32.

        Args:
          images: what the network was given.
          any_bands: do not compare with `channels`.

        Raises:
          ConfigError: no images that this network takes.
        """
        shape, multiple = images.shape, self.size_multiple
        if (
            len(shape) != 4
            or 0 in shape
            or not (any_bands or shape[-1] == self.channels)
            or shape[1] % multiple
            or shape[2] % multiple
        ):
            bands = "C" if any_bands else self.channels
            raise ConfigError(
                f"images are [B, H, W, {bands}] with H and W multiples of {multiple}, "
                f"given {list(shape)}"
            )
        if not jnp.issubdtype(images.dtype, jnp.floating):
            raise ConfigError(f"images are floats, given {images.dtype}")
        return jnp.asarray(images, jnp.float32)


def conv(
    features: int,
    dtype: Any,
    name: str,
    size: int = 3,
    strides: int = 1,
    kernel_init: Any = KERNEL_INIT,
) -> nn.Conv:
    """Returns a square convolution that zero-pads; with strides it does not overlap."""
    return nn.Conv(
        features,
        (size, size),
        strides,
        kernel_init=kernel_init,
        dtype=dtype,
        name=name,
    )


class ResidualBlock(nn.Module):
    """`x + residual_scale * conv(relu(conv(x)))`, the block of EDSR.

    Attributes:
      features: channels of `x`.
      residual_scale: below 1 it keeps wide or deep networks stable (EDSR, section 3.2).
      dtype: of activations.
    """

    features: int
    residual_scale: float
    dtype: Any

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """`[B, H, W, features]` -> the same shape."""
        y = nn.relu(conv(self.features, self.dtype, "conv1")(x))
        return x + self.residual_scale * conv(self.features, self.dtype, "conv2")(y)


def residual_blocks(
    x: Array, number: int, residual_scale: float, policy: str, prefix: str = "block"
) -> Array:
    """Applies residual blocks in a row, inside a compact method.

    Args:
      x: `[B, H, W, C]`.
      number: of blocks.
      residual_scale: of each.
      policy: what each saves for the backward pass (`common.models.remat`).
      prefix: of their names; the number follows.
    """
    block = remat(ResidualBlock, policy)
    for index in range(number):
        x = block(x.shape[-1], residual_scale, x.dtype, name=f"{prefix}{index}")(x)
    return x


class ResidualBody(nn.Module):
    """A convolution, residual blocks, and a convolution with a skip around both.

    Attributes:
      features: channels of all maps.
      num_blocks: residual blocks.
      residual_scale: of the blocks.
      dtype: of activations.
      remat: see `residual_blocks`.
    """

    features: int
    num_blocks: int
    residual_scale: float
    dtype: Any
    remat: str

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """`[B, H, W, C]` -> `[B, H, W, features]`."""
        x = conv(self.features, self.dtype, "stem")(x.astype(self.dtype))
        y = residual_blocks(x, self.num_blocks, self.residual_scale, self.remat)
        return x + conv(self.features, self.dtype, "conv")(y)


def body_radius(num_blocks: int) -> int:
    """Returns the radius of a `ResidualBody`."""
    return 2 * num_blocks + 2


class Upsampler(nn.Module):
    """For each factor a convolution and a pixel shuffle, as in EDSR.

    At first all pixels of a shuffled block are equal (`icnr`).

    Attributes:
      factors: whose product is the scale.
      features: channels of the results.
      dtype: of activations.
      size: of the convolutions.
    """

    factors: Sequence[int]
    features: int
    dtype: Any
    size: int = 3

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """`[B, H, W, C]` -> `[B, s H, s W, features]`."""
        for index, factor in enumerate(self.factors):
            width, init = self.features * factor**2, icnr(factor)
            x = conv(width, self.dtype, f"conv{index}", self.size, kernel_init=init)(x)
            x = pixel_shuffle(x, factor)
        return x


def upsampler_radius(factors: Sequence[int], radius: int) -> int:
    """Returns the radius of an `Upsampler` of size 3.

    Args:
      factors: of the upsampler.
      radius: of what follows it, in its output's pixels.
    """
    for factor in reversed(factors):
        radius = -(-radius // factor) + 1
    return radius


def shuffle_factors(scale: int) -> list[int]:
    """Returns the prime factors of a scale: 2s, then 3s; of 1 none.

    Raises:
      ConfigError: it has others.
    """
    factors, rest = [], scale
    for factor in (2, 3):
        while rest > 1 and rest % factor == 0:
            rest //= factor
            factors.append(factor)
    if rest != 1:
        raise ConfigError(
            f"scale={scale}: pixel shuffles make 1 and products of 2 and 3"
        )
    return factors


def pixel_shuffle(x: Array, factor: int) -> Array:
    """`[B, H, W, factor**2 * C]` -> `[B, factor * H, factor * W, C]`.

    Channels are ordered row, column, C: those of a pixel stay together in memory, as
    in TensorFlow's depth_to_space. PyTorch's order is C, row, column.
    """
    batch, height, width, _ = x.shape
    x = x.reshape(batch, height, width, factor, factor, -1).swapaxes(2, 3)
    return x.reshape(batch, height * factor, width * factor, -1)


def pixel_unshuffle(x: Array, factor: int) -> Array:
    """The inverse of `pixel_shuffle`; sides are multiples of `factor`."""
    batch, height, width, channels = x.shape
    height, width = height // factor, width // factor
    x = x.reshape(batch, height, factor, width, factor, channels).swapaxes(2, 3)
    return x.reshape(batch, height, width, factor**2 * channels)


def icnr(factor: int, base: Any = KERNEL_INIT) -> Any:
    """Returns an initialiser with which a shuffle repeats pixels, without checkerboard.

    (Aitken et al., arXiv 1707.02937.)

    Args:
      factor: of the shuffle.
      base: initialises the kernel that is repeated.
    """

    def init(key: Array, shape: Sequence[int], dtype: Any = jnp.float32) -> Array:
        *rest, width = shape
        kernel = base(key, (*rest, width // factor**2), dtype)
        return jnp.tile(kernel, factor**2)

    return init


def bicubic(images: Array, scale: int) -> Array:
    """Makes images larger by Keys' cubic convolution with a = -0.5.

    Pixel i of the result lies at `(i + 0.5) / scale - 0.5`; beyond the edge is the
    edge. Inside it equals `jax.image.resize(..., "cubic")`, which at the edge leaves
    out what lies beyond and divides by the weights left; a constant stays a constant
    in both. As five multiply-adds it is exact in float32 on every backend, which
    matrix products are not.

    Args:
      images: `[B, H, W, C]`.
      scale: from 1.

    Returns:
      `[B, scale * H, scale * W, C]`.
    """
    # Of the pixels left and right of a place, at which distance they lie.
    places = (np.arange(scale) + 0.5) / scale - 0.5
    distance = np.abs(places[:, None] - np.arange(-2, 3))
    near = (_KEYS_A + 2) * distance**3 - (_KEYS_A + 3) * distance**2 + 1
    far = _KEYS_A * (distance**3 - 5 * distance**2 + 8 * distance - 4)
    taps = np.where(distance <= 1, near, np.where(distance < 2, far, 0))
    return _upsample(images, taps)


def bicubic_radius(scale: int, radius: int) -> int:
    """Returns the radius of `bicubic`.

    Args:
      scale: of it.
      radius: of what follows it, in its output's pixels.
    """
    return 1 - (1 - 2 * radius - scale) // (2 * scale) if scale > 1 else radius


MEANS_RADIUS = 2  # of `upsample_means`


def upsample_means(images: Array, scale: int) -> Array:
    """Makes images larger so that the mean of each block is the pixel it came from.

    Along each axis a pixel becomes the parabola with its mean, and with edges of
    fourth order that it shares with its neighbours (the piecewise parabolic method
    without limiter, Colella and Woodward 1984), averaged over the small pixels. The
    result is continuous, where repeating pixels would print their grid on the image.

    Args:
      images: `[B, H, W, C]`, continued by its edge.
      scale: from 1.

    Returns:
      `[B, scale * H, scale * W, C]`; `block_means` of it are the images.
    """
    left = np.array([-1, 7, 7, -1, 0]) / 12  # the edge's value, of five pixels
    right = left[::-1]
    bow = 6 * (np.eye(5)[2] - (left + right) / 2)
    # left + t (right - left + bow (1 - t)) for t from 0 to 1, integrated.
    t = np.arange(scale + 1)[:, None] / scale
    integral = t * left + t**2 / 2 * (right - left + bow) - t**3 / 3 * bow
    return _upsample(images, np.diff(integral, axis=0) * scale)


def block_means(images: Array, scale: int) -> Array:
    """`[B, scale * H, scale * W, C]` -> means over blocks, `[B, H, W, C]`."""
    batch, height, width, channels = images.shape
    blocks = (batch, height // scale, scale, width // scale, scale, channels)
    return images.reshape(blocks).mean((2, 4))


def _upsample(images: Array, taps: np.ndarray) -> Array:
    """Weighs five neighbours of each pixel, `[scale, 5]`, along both axes."""
    scale = len(taps)
    for axis in (1, 2):
        pads = [(2, 2) if number == axis else (0, 0) for number in range(4)]
        padded, side = jnp.pad(images, pads, "edge"), images.shape[axis]
        weights = jnp.asarray(taps, images.dtype).reshape(scale, 5, *[1] * (3 - axis))
        parts = [
            weights[:, tap]
            * jnp.expand_dims(
                jax.lax.slice_in_dim(padded, tap, tap + side, axis=axis), axis + 1
            )
            for tap in range(5)
        ]
        shape = list(images.shape)
        shape[axis] *= scale
        images = sum(parts[1:], parts[0]).reshape(shape)
    return images
