"""The U-Net and its parts: residual blocks, resampling, encoding of the noise level.

The blocks are SR3's (arXiv 2104.07636) without what ties a network to one resolution:
attention, positions and group normalisation are left out (arXiv 2112.02475,
figure 10), and nothing stands in for the normalisation. Maps are `[B, H, W, C]`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from common.errors import ConfigError
from common.models.remat import remat

Array = jax.Array

RESAMPLING = ("pool", "conv")
# Of `sqrt(alpha_bar)` in the encoding (WaveGrad, arXiv 2009.00713). Without it its
# fastest wave would not tell levels near 1 apart, where a residual's noise lives.
_NOISE_SCALE = 5000.0
_LONGEST_PERIOD = 1e4  # over the shortest, as for positions in a sentence
# A pixel of a transposed convolution of 2 x 2 without overlap has a quarter of the
# fan-in that the initialiser sees.
_UP_INIT = nn.initializers.variance_scaling(4.0, "fan_in", "truncated_normal")
# Small but not zero, our choice: from a zero one no gradient would reach the predictor
# in the first step, since it comes through the denoiser alone.
_OUTPUT_INIT = nn.initializers.variance_scaling(0.01, "fan_in", "truncated_normal")


def noise_features(alpha_bar: Array, features: int) -> Array:
    """Encodes a continuous noise level by sines and cosines of many frequencies.

    The paper draws a box "noise level encoding" (figure 10) and does not say what is in
    it; WaveGrad's encoding is our choice.

    Args:
      alpha_bar: `[B]`, share of the signal's variance in (0, 1].
      features: an even number.

    Returns:
      float32 `[B, features]`, the sines first.
    """
    half = features // 2
    steps = jnp.arange(half, dtype=jnp.float32) / half
    frequencies = jnp.exp(-math.log(_LONGEST_PERIOD) * steps)
    level = _NOISE_SCALE * jnp.sqrt(jnp.asarray(alpha_bar, jnp.float32))
    angles = level[:, None] * frequencies
    return jnp.concatenate([jnp.sin(angles), jnp.cos(angles)], axis=-1)


class NoiseEncoding(nn.Module):
    """A small perceptron of `noise_features`, once per image; its size is our choice.

    In float32 whatever the activations are: it costs nothing.

    Attributes:
      features: of the sines and cosines; the result has four times as many.
    """

    features: int

    @nn.compact
    def __call__(self, alpha_bar: Array) -> Array:
        """`[B]` -> `[B, 4 * features]`."""
        width = 4 * self.features
        x = noise_features(alpha_bar, self.features)
        x = nn.swish(nn.Dense(width, name="dense1")(x))
        return nn.Dense(width, name="dense2")(x)


class ResidualBlock(nn.Module):
    """Two convolutions beside a shortcut (arXiv 2112.02475, figure 10).

    The second starts at zero, which the paper does not say: without normalisation the
    sum over all blocks would grow.

    Attributes:
      width: channels of the result.
      sampling: "keep"; or "down" or "up", which halve and double the sides.
      resampling: by means over 2 x 2 pixels and by repeating pixels ("pool"), or by
        convolutions of 2 x 2 that do not overlap ("conv").
      dropout: rate of it, before the second convolution.
      skip_rescale: divide the sum by sqrt(2), as SR3 does.
      dtype: of activations.
    """

    width: int
    sampling: str
    resampling: str
    dropout: float
    skip_rescale: bool
    dtype: Any

    @nn.compact
    def __call__(
        self, x: Array, skip: Array | None, noise: Array | None, train: bool
    ) -> Array:
        """Applies the block.

        Args:
          x: `[B, H, W, C]`.
          skip: further channels of the input, `[B, H, W, D]`; given apart, as what is
            kept for the backward pass then needs no joined copy.
          noise: encoded level, `[B, E]`, added to each channel; None for no such input.
          train: whether dropout is on.

        Returns:
          `[B, H', W', width]`.
        """
        if skip is not None:
            x = jnp.concatenate([x, skip], axis=-1)
        y = self._resample(nn.swish(x), "resample")
        y = nn.Conv(self.width, (3, 3), dtype=self.dtype, name="conv1")(y)
        if noise is not None:
            dense = nn.Dense(self.width, dtype=self.dtype, name="noise")
            y = y + dense(nn.swish(noise))[:, None, None]
        drop = nn.Dropout(self.dropout, deterministic=not train, name="dropout")
        y = nn.Conv(
            self.width,
            (3, 3),
            kernel_init=nn.initializers.zeros,
            dtype=self.dtype,
            name="conv2",
        )(drop(nn.swish(y)))
        total = y + self._shortcut(x)
        return total * 2**-0.5 if self.skip_rescale else total

    def _shortcut(self, x: Array) -> Array:
        """The input; a projection of it where the width or the size changes."""
        if self.sampling == "keep" and x.shape[-1] == self.width:
            return x
        if self.sampling != "keep" and self.resampling == "conv":
            return self._resample(x, "shortcut")
        project = nn.Conv(self.width, (1, 1), dtype=self.dtype, name="shortcut")
        # In either order the same; this is the one with fewer pixels.
        if self.sampling == "up":
            return self._resample(project(x))
        return project(self._resample(x))

    def _resample(self, x: Array, name: str = "") -> Array:
        """Changes the size of `x` as the block does; a convolution is called `name`."""
        if self.sampling == "keep":
            return x
        down = self.sampling == "down"
        if self.resampling == "pool":
            return mean_pool(x) if down else repeat(x)
        shape: dict[str, Any] = {"kernel_size": (2, 2), "strides": (2, 2)}
        width = self.width if name == "shortcut" else x.shape[-1]
        if down:
            return nn.Conv(width, **shape, dtype=self.dtype, name=name)(x)
        up = nn.ConvTranspose(
            width, **shape, kernel_init=_UP_INIT, dtype=self.dtype, name=name
        )
        return up(x)


def mean_pool(x: Array) -> Array:
    """`[B, 2 H, 2 W, C]` -> means over 2 x 2 pixels, `[B, H, W, C]`."""
    batch, height, width, channels = x.shape
    cells = x.reshape(batch, height // 2, 2, width // 2, 2, channels)
    return cells.mean((2, 4))


def repeat(x: Array) -> Array:
    """`[B, H, W, C]` -> each pixel four times, `[B, 2 H, 2 W, C]`."""
    batch, height, width, channels = x.shape
    cells = jnp.broadcast_to(
        x[:, :, None, :, None], (batch, height, 2, width, 2, channels)
    )
    return cells.reshape(batch, 2 * height, 2 * width, channels)


class UNet(nn.Module):
    """What predictor and denoiser have in common.

    Sides of images are multiples of `size_multiple`; beyond the border there are zeros
    (our choice).

    Attributes:
      features: channels at full size, c in the paper.
      multipliers: of `features`, at each size; sides halve between them.
      num_blocks: residual blocks per size on the way down; on the way up one more.
      dropout: rate in every block; the paper does not say it, 0.1 is our choice.
      skip_rescale: divide sums of residual blocks by sqrt(2), as SR3 does; in the
        paper's figure is no such thing.
      resampling: how blocks change the size, see `ResidualBlock`; "pool" is our choice.
      out_channels: of images and results.
      dtype: of activations; results are float32.
      remat: what the blocks save for the backward pass (`common.models.remat`).
    """

    features: int
    multipliers: Sequence[int] = (1, 2, 3, 4)
    num_blocks: int = 3
    dropout: float = 0.1
    skip_rescale: bool = False
    resampling: str = "pool"
    out_channels: int = 3
    dtype: Any = jnp.float32
    remat: str = "none"

    @property
    def size_multiple(self) -> int:
        """Sides of images must be multiples of this."""
        return 2 ** (len(self.multipliers) - 1)

    @property
    def receptive_radius(self) -> int:
        """Pixels, to any side, up to which a result's pixel can depend on the images.

        Which pixels do depend on that many is a matter of where in a cell of
        `size_multiple` pixels they lie; of whole cells it is less.
        """
        last = len(self.multipliers) - 1
        # Cells, which change of size sees whole; then convolutions of 3 x 3 per size:
        # two per block, of the blocks down, up, in the middle, and those between sizes.
        radius = self.size_multiple - 1
        for level in range(last + 1):
            blocks = self.num_blocks + self.num_blocks + 1
            blocks += 2 * (level == last) + (level > 0) + (level < last)
            radius += 2**level * (2 * blocks + (level == 0))
        return radius

    @nn.nowrap
    def check_images(self, images: Array, what: str = "images") -> None:
        """Refuses what is no batch of images for this network.

        Args:
          images: what it was given.
          what: their name in the message.

        Raises:
          ConfigError: of other shape, or no floats.
        """
        shape, multiple = images.shape, self.size_multiple
        if (
            len(shape) != 4
            or 0 in shape
            or shape[-1] != self.out_channels
            or shape[1] % multiple
            or shape[2] % multiple
        ):
            raise ConfigError(
                f"{what}: [B, H, W, {self.out_channels}] with H and W multiples of "
                f"{multiple}, given {list(shape)}; pad by reflection and crop the "
                "result, as resizing would change the blur"
            )
        if not jnp.issubdtype(images.dtype, jnp.floating):
            raise ConfigError(f"{what}: floats, given {images.dtype}")

    def _run(self, x: Array, noise: Array | None, train: bool) -> Array:
        """From joined images to float32 `[B, H, W, out_channels]`."""
        widths = [self.features * multiplier for multiplier in self.multipliers]
        last = len(widths) - 1
        x = nn.Conv(self.features, (1, 1), dtype=self.dtype, name="input")(x)
        # What comes down is used on the way up, the last first, one map per block.
        stored = [x]
        for level, width in enumerate(widths):
            for index in range(self.num_blocks):
                name = f"encoder{level}_block{index}"
                x = self._block(width, name)(x, None, noise, train)
                stored.append(x)
            if level < last:
                x = self._block(width, f"down{level}", "down")(x, None, noise, train)
                stored.append(x)
        for index in range(2):
            x = self._block(widths[-1], f"middle_block{index}")(x, None, noise, train)
        for level in reversed(range(last + 1)):
            for index in range(self.num_blocks + 1):
                name = f"decoder{level}_block{index}"
                x = self._block(widths[level], name)(x, stored.pop(), noise, train)
            if level:
                block = self._block(widths[level], f"up{level}", "up")
                x = block(x, None, noise, train)
        output = nn.Conv(
            self.out_channels,
            (3, 3),
            kernel_init=_OUTPUT_INIT,
            dtype=self.dtype,
            name="output",
        )
        return output(nn.swish(x)).astype(jnp.float32)

    @nn.nowrap
    def _block(self, width: int, name: str, sampling: str = "keep") -> Any:
        return remat(ResidualBlock, self.remat, static_argnums=4)(
            width=width,
            sampling=sampling,
            resampling=self.resampling,
            dropout=self.dropout,
            skip_rescale=self.skip_rescale,
            dtype=self.dtype,
            name=name,
        )
