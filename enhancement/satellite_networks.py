"""Super-resolution of satellite images: SatSR, and what it is compared with.

"Super-resolving Commercial Satellite Imagery Using Realistic Training Data" (arXiv
2002.11248) trains a network of its own, whose design could not be read: SatSR is our
choice. The others follow their papers and official codes.
"""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from common.errors import ConfigError
from common.models.remat import remat
from enhancement.blocks import (
    KERNEL_INIT,
    MEANS_RADIUS,
    Network,
    ResidualBody,
    Upsampler,
    bicubic,
    bicubic_radius,
    block_means,
    body_radius,
    conv,
    pixel_unshuffle,
    shuffle_factors,
    upsample_means,
    upsampler_radius,
)

# Above so many blocks residuals are scaled by the second number (our choice).
_MANY_BLOCKS, _RESIDUAL_SCALE = 16, 0.2
_RRDB_SCALE = 0.2  # of all residuals, as ESRGAN's official code
_RRDB_SLOPE = 0.2  # of all leaky ReLUs, the same
# The dense blocks of ESRGAN start at a tenth of He's deviation.
_RRDB_INIT = nn.initializers.variance_scaling(2 * 0.1**2, "fan_in", "normal")


class SatSR(Network):
    """Adds the detail that EDSR's body finds to the bicubic image.

    `apply({"params": params}, images, condition=None)`. Radiometry is left to the
    bicubic image, and nothing normalises.

    Attributes:
      features: channels inside, at the input's size.
      num_blocks: residual blocks.
      residual_scale: of the blocks; None: 0.2 above 16 blocks, otherwise 1.
      conditioning: numbers that say how images were degraded, each of which the
        network sees as a constant map (SRMD, arXiv 1712.06116); 0: none.
      radiometric: move the result so that its means over blocks of `scale` pixels are
        the input's, what a sensor of square pixels without other blur would measure;
        by `blocks.upsample_means`, which prints no grid on the image.
      shared_bands: a network of one band, applied to each; images can have any number
        of bands, whatever `channels` says.
      wide: blocks of twice the width at half the size, to which the input is brought
        without loss: a quarter of the pixels, for large areas.
      remat: what the blocks save for the backward pass (`common.models.remat`).
    """

    features: int = 64
    num_blocks: int = 24
    residual_scale: float | None = None
    conditioning: int = 0
    radiometric: bool = False
    shared_bands: bool = False
    wide: bool = False
    remat: str = "none"

    @property
    def size_multiple(self) -> int:
        """2 for a wide one."""
        return 2 if self.wide else 1

    @property
    def receptive_radius(self) -> int:
        """See `Network`."""
        # From the output: the means around it, what they are of, and the two summands.
        start = MEANS_RADIUS * self.scale if self.radiometric else 0
        detail = upsampler_radius(self._factors(), start + 1)
        detail = self.size_multiple * (detail + body_radius(self.num_blocks))
        return max(detail, bicubic_radius(self.scale, start))

    @nn.nowrap
    def check_fields(self) -> None:
        """See `Network`."""
        shuffle_factors(self.scale)
        if self.radiometric and self.scale == 1:
            raise ConfigError("radiometric at scale=1 would return the input")

    @nn.compact
    def __call__(
        self, images: jax.Array, condition: jax.Array | None = None
    ) -> jax.Array:
        """Enlarges images.

        Args:
          images: `[B, H, W, C]`.
          condition: `[B, conditioning]`.

        Returns:
          float32 `[B, s H, s W, C]`, not clipped.

        Raises:
          ConfigError: no such images, or another condition than `conditioning` says.
        """
        images = self.checked(images, any_bands=self.shared_bands)
        self._check_condition(images, condition)
        batch, _, _, bands = images.shape
        if self.shared_bands:
            # Bands become images; those of one image stay together, as conditions do.
            x = jnp.moveaxis(images, 3, 1).reshape(-1, *images.shape[1:3], 1)
            if condition is not None:
                condition = jnp.repeat(condition, bands, axis=0)
            detail = self._detail(x, condition)
            detail = detail.reshape(batch, bands, *detail.shape[1:3])
            detail = jnp.moveaxis(detail, 1, 3)
        else:
            detail = self._detail(images, condition)
        output = bicubic(images, self.scale) + detail
        if self.radiometric:
            missing = images - block_means(output, self.scale)
            output += upsample_means(missing, self.scale)
        return output

    def _detail(self, x: jax.Array, condition: jax.Array | None) -> jax.Array:
        """`[B, H, W, C]` -> float32 `[B, s H, s W, C]`."""
        bands, width = x.shape[-1], self.features
        if self.wide:
            x, width = pixel_unshuffle(x, 2), 2 * self.features
        if condition is not None:
            maps = (*x.shape[:3], self.conditioning)
            condition = jnp.broadcast_to(condition[:, None, None], maps)
            x = jnp.concatenate([x, condition.astype(x.dtype)], axis=-1)
        residual_scale = self.residual_scale
        if residual_scale is None:
            many = self.num_blocks > _MANY_BLOCKS
            residual_scale = _RESIDUAL_SCALE if many else 1.0
        args = (width, self.num_blocks, residual_scale, self.dtype, self.remat)
        x = ResidualBody(*args, name="body")(x)
        args = (self._factors(), self.features, self.dtype)
        x = Upsampler(*args, name="upsampler")(x)
        return conv(bands, self.dtype, "tail")(x).astype(jnp.float32)

    @nn.nowrap
    def _factors(self) -> list[int]:
        return [2] * self.wide + shuffle_factors(self.scale)

    @nn.nowrap
    def _check_condition(self, images: jax.Array, condition: Any) -> None:
        expected = (len(images), self.conditioning) if self.conditioning else None
        given = None if condition is None else condition.shape
        if given != expected:
            raise ConfigError(
                f"conditioning={self.conditioning}: the condition's shape is {given}, "
                f"not {expected}"
            )


class Bicubic(Network):
    """Bicubic interpolation, without parameters; images can have any bands."""

    @property
    def receptive_radius(self) -> int:
        """See `Network`."""
        return bicubic_radius(self.scale, 0)

    def __call__(self, images: jax.Array) -> jax.Array:
        """`[B, H, W, C]` -> float32 `[B, s H, s W, C]`."""
        return bicubic(self.checked(images, any_bands=True), self.scale)


class SRCNN(Network):
    """Three convolutions, 9-1-5, on the bicubic image (arXiv 1501.00092).

    Its 9-1-5 with 64 and 32 features, padded so that the size stays.

    Attributes:
      features: after the first convolution; half of them after the second.
    """

    features: int = 64

    @property
    def receptive_radius(self) -> int:
        """See `Network`."""
        return bicubic_radius(self.scale, 4 + 2)

    @nn.nowrap
    def check_fields(self) -> None:
        """See `Network`."""
        if self.features < 2:
            raise ConfigError(f"features={self.features} must be at least 2")

    @nn.compact
    def __call__(self, images: jax.Array) -> jax.Array:
        """`[B, H, W, C]` -> float32 `[B, s H, s W, C]`."""
        x = bicubic(self.checked(images), self.scale).astype(self.dtype)
        x = nn.relu(conv(self.features, self.dtype, "conv1", 9)(x))
        x = nn.relu(conv(self.features // 2, self.dtype, "conv2", 1)(x))
        return conv(self.channels, self.dtype, "conv3", 5)(x).astype(jnp.float32)


class ChannelAttentionBlock(nn.Module):
    """RCAN's block: a residual whose channels are weighed by their means.

    Attributes:
      features: channels of the input.
      reduction: of the width between the two layers of the attention.
      dtype: of activations.
    """

    features: int
    reduction: int
    dtype: Any

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """`[B, H, W, features]` -> the same shape."""
        y = nn.relu(conv(self.features, self.dtype, "conv1")(x))
        y = conv(self.features, self.dtype, "conv2")(y)

        def dense(width: int, name: str) -> nn.Dense:
            return nn.Dense(width, kernel_init=KERNEL_INIT, dtype=self.dtype, name=name)

        weights = y.mean((1, 2), dtype=jnp.float32).astype(self.dtype)
        weights = nn.relu(dense(self.features // self.reduction, "squeeze")(weights))
        weights = nn.sigmoid(dense(self.features, "excite")(weights))
        return x + y * weights[:, None, None]


class ResidualGroup(nn.Module):
    """Blocks of RCAN and a convolution, with a skip around all.

    Attributes:
      features: channels of the input.
      num_blocks: blocks in a row.
      reduction: of the attention.
      dtype: of activations.
    """

    features: int
    num_blocks: int
    reduction: int
    dtype: Any

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """`[B, H, W, features]` -> the same shape."""
        y = x
        for index in range(self.num_blocks):
            args = (self.features, self.reduction, self.dtype)
            y = ChannelAttentionBlock(*args, name=f"block{index}")(y)
        return x + conv(self.features, self.dtype, "conv")(y)


class RCAN(Network):
    """Residual channel attention network (Zhang et al., arXiv 1807.02758).

    The attention sees means over the whole image: tiles of an image differ from it.

    Attributes:
      features: channels inside.
      num_groups: residual groups, each with a skip.
      num_blocks: of each group.
      reduction: of the attention.
      remat: what the groups save for the backward pass (`common.models.remat`).
    """

    features: int = 64
    num_groups: int = 10
    num_blocks: int = 20
    reduction: int = 16
    remat: str = "none"

    @property
    def receptive_radius(self) -> None:
        """None: the whole image."""

    @nn.nowrap
    def check_fields(self) -> None:
        """See `Network`."""
        shuffle_factors(self.scale)
        if self.features < self.reduction:
            raise ConfigError(
                f"features={self.features} must be at least reduction={self.reduction}"
            )

    @nn.compact
    def __call__(self, images: jax.Array) -> jax.Array:
        """`[B, H, W, C]` -> float32 `[B, s H, s W, C]`."""
        images = self.checked(images).astype(self.dtype)
        x = skip = conv(self.features, self.dtype, "stem")(images)
        group = remat(ResidualGroup, self.remat)
        for index in range(self.num_groups):
            args = (self.features, self.num_blocks, self.reduction, self.dtype)
            x = group(*args, name=f"group{index}")(x)
        x = skip + conv(self.features, self.dtype, "conv")(x)
        args = (shuffle_factors(self.scale), self.features, self.dtype)
        x = Upsampler(*args, name="upsampler")(x)
        return conv(self.channels, self.dtype, "tail")(x).astype(jnp.float32)


class ResidualInResidual(nn.Module):
    """ESRGAN's block: three dense blocks of five convolutions, and a skip around them.

    Attributes:
      features: channels of the input.
      growth: channels that each convolution of a dense block adds.
      dtype: of activations.
    """

    features: int
    growth: int
    dtype: Any

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """`[B, H, W, features]` -> the same shape."""
        y = x
        for block in range(3):
            seen = y
            for index in range(5):
                width = self.growth if index < 4 else self.features
                name = f"dense{block}_conv{index}"
                make = conv(width, self.dtype, name, kernel_init=_RRDB_INIT)
                z = make(seen)
                if index < 4:
                    z = nn.leaky_relu(z, _RRDB_SLOPE)
                    seen = jnp.concatenate([seen, z], axis=-1)
                else:
                    y = y + _RRDB_SCALE * z
        return x + _RRDB_SCALE * y


class RRDB(Network):
    """ESRGAN's generator (Wang et al., arXiv 1809.00219).

    It enlarges four times; for scales 2 and 1 the image is first brought to half and
    a quarter of its size by moving pixels to channels, as in Real-ESRGAN (arXiv
    2107.10833).

    Attributes:
      features: channels inside.
      num_blocks: residual-in-residual dense blocks.
      growth: channels that each convolution of a dense block adds.
      remat: what the blocks save for the backward pass (`common.models.remat`).
    """

    scale: int = 4
    features: int = 64
    num_blocks: int = 23
    growth: int = 32
    remat: str = "none"

    @property
    def size_multiple(self) -> int:
        """By how much the image is made smaller first."""
        return max(1, 4 // self.scale)

    @property
    def receptive_radius(self) -> int:
        """See `Network`."""
        # 15 convolutions a block, one before and one after all, two after the second
        # enlargement. What enlarges repeats before it convolves.
        radius = -(-(2 + 1) // 2)
        radius = -(-(radius + 1) // 2)
        return self.size_multiple * (radius + 15 * self.num_blocks + 2)

    @nn.nowrap
    def check_fields(self) -> None:
        """See `Network`."""
        if self.scale not in (1, 2, 4):
            raise ConfigError(f"scale={self.scale}: RRDB enlarges 1, 2 or 4 times")

    @nn.compact
    def __call__(self, images: jax.Array) -> jax.Array:
        """`[B, H, W, C]` -> float32 `[B, s H, s W, C]`."""
        images = self.checked(images).astype(self.dtype)
        x = pixel_unshuffle(images, self.size_multiple)
        x = skip = conv(self.features, self.dtype, "stem")(x)
        block = remat(ResidualInResidual, self.remat)
        for index in range(self.num_blocks):
            args = (self.features, self.growth, self.dtype)
            x = block(*args, name=f"block{index}")(x)
        x = skip + conv(self.features, self.dtype, "conv")(x)
        for name in ("up0", "up1"):
            x = x.repeat(2, axis=1).repeat(2, axis=2)
            x = nn.leaky_relu(conv(self.features, self.dtype, name)(x), _RRDB_SLOPE)
        x = nn.leaky_relu(conv(self.features, self.dtype, "high")(x), _RRDB_SLOPE)
        return conv(self.channels, self.dtype, "tail")(x).astype(jnp.float32)
