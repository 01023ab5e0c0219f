"""The networks of the five tasks, and `create`, which builds any network by name.

"Projected Distribution Loss for Image Enhancement" (arXiv 2012.09289) trains networks
for denoising, super-resolution, demosaicing, deblurring and JPEG artefacts, but which
ones could not be read: all networks here are our choice, EDSR's body (Lim et al., arXiv
1707.02921) in four of five tasks.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from common.config import unknown
from common.data.degradations.bayer import PATTERNS
from common.errors import ConfigError
from common.models.float_type import float_type
from common.models.remat import remat
from enhancement import satellite_networks
from enhancement.blocks import (
    Network,
    ResidualBody,
    Upsampler,
    body_radius,
    conv,
    pixel_unshuffle,
    residual_blocks,
    shuffle_factors,
    upsampler_radius,
)


class EDSR(Network):
    """Super-resolution; the paper's "baseline" by default.

    Without the mean colour of DIV2K, which the official code subtracts: bands differ.

    Attributes:
      features: channels inside.
      num_blocks: residual blocks.
      residual_scale: of the blocks.
      remat: what the blocks save for the backward pass (`common.models.remat`).
    """

    features: int = 64
    num_blocks: int = 16
    residual_scale: float = 1.0
    remat: str = "none"

    @property
    def receptive_radius(self) -> int:
        """See `Network`."""
        factors = shuffle_factors(self.scale)
        return upsampler_radius(factors, 1) + body_radius(self.num_blocks)

    @nn.nowrap
    def check_fields(self) -> None:
        """See `Network`."""
        shuffle_factors(self.scale)

    @nn.compact
    def __call__(self, images: jax.Array) -> jax.Array:
        """`[B, H, W, C]` -> float32 `[B, s H, s W, C]`."""
        x = body(self)(self.checked(images))
        factors = shuffle_factors(self.scale)
        x = Upsampler(factors, self.features, self.dtype, name="upsampler")(x)
        return conv(self.channels, self.dtype, "tail")(x).astype(jnp.float32)


class Restoration(Network):
    """Adds what EDSR's body finds to the image: noise, JPEG artefacts.

    Attributes:
      features: channels inside.
      num_blocks: residual blocks.
      residual_scale: of the blocks.
      remat: what the blocks save for the backward pass (`common.models.remat`).
    """

    features: int = 64
    num_blocks: int = 16
    residual_scale: float = 1.0
    remat: str = "none"

    @property
    def receptive_radius(self) -> int:
        """See `Network`."""
        return body_radius(self.num_blocks) + 1

    @nn.nowrap
    def check_fields(self) -> None:
        """See `Network`."""
        check_same_size(self)

    @nn.compact
    def __call__(self, images: jax.Array) -> jax.Array:
        """`[B, H, W, C]` -> float32 of the same shape."""
        images = self.checked(images)
        x = body(self)(images)
        return images + conv(self.channels, self.dtype, "tail")(x).astype(jnp.float32)


class Demosaicing(Network):
    """Makes colours of a Bayer mosaic, with EDSR's body at half the size.

    The mosaic is given as an image of which each pixel has one true channel; the two
    others are not read.

    Attributes:
      features: channels inside.
      num_blocks: residual blocks.
      residual_scale: of the blocks.
      remat: what the blocks save for the backward pass (`common.models.remat`).
      pattern: a key of `PATTERNS`, the colours of the first four pixels by rows.
    """

    features: int = 64
    num_blocks: int = 16
    residual_scale: float = 1.0
    remat: str = "none"
    pattern: str = "RGGB"

    @property
    def size_multiple(self) -> int:
        """Whole cells of the mosaic."""
        return 2

    @property
    def receptive_radius(self) -> int:
        """See `Network`."""
        return 2 * (upsampler_radius((2,), 1) + body_radius(self.num_blocks))

    @nn.nowrap
    def check_fields(self) -> None:
        """See `Network`."""
        check_same_size(self)
        if self.channels != 3:
            raise ConfigError(f"channels={self.channels}: a mosaic has 3 colours")

    @nn.compact
    def __call__(self, images: jax.Array) -> jax.Array:
        """`[B, H, W, 3]` -> float32 of the same shape."""
        raw = mosaic(self.checked(images), self.pattern)
        x = body(self)(pixel_unshuffle(raw, 2))
        x = Upsampler((2,), self.features, self.dtype, name="upsampler")(x)
        return conv(self.channels, self.dtype, "tail")(x).astype(jnp.float32)


class DeblurUNet(Network):
    """Residual blocks at three sizes, added to the image.

    Widths are 64, 128 and 256 (our choice). How sizes change, that skips are added, and
    four blocks per size, about the products of the other networks, are our choice.

    Attributes:
      features: at full size; doubled at each smaller one.
      num_blocks: at each size, both on the way down and up.
      residual_scale: of the blocks.
      remat: what the blocks save for the backward pass (`common.models.remat`).
    """

    features: int = 64
    num_blocks: int = 4
    residual_scale: float = 1.0
    remat: str = "none"

    @property
    def size_multiple(self) -> int:
        """Halved twice."""
        return 4

    @property
    def receptive_radius(self) -> int:
        """See `Network`."""
        blocks = 2 * self.num_blocks
        radius = 1 + blocks
        for _ in range(2):  # up, in the order from the output
            radius = -(-radius // 2) + blocks
        for _ in range(2):  # and down
            radius = 2 * radius + blocks
        return radius + 1

    @nn.nowrap
    def check_fields(self) -> None:
        """See `Network`."""
        check_same_size(self)

    @nn.compact
    def __call__(self, images: jax.Array) -> jax.Array:
        """`[B, H, W, C]` -> float32 of the same shape."""
        images = self.checked(images)

        def blocks(x: jax.Array, name: str) -> jax.Array:
            args = (self.num_blocks, self.residual_scale, self.remat)
            return residual_blocks(x, *args, prefix=f"{name}_block")

        x = conv(self.features, self.dtype, "stem")(images.astype(self.dtype))
        skips = []
        for level in range(2):
            x = blocks(x, f"encoder{level}")
            skips.append(x)
            width = self.features * 2 ** (level + 1)
            # Four pixels become one: nothing overlaps, so tiles stay aligned.
            x = conv(width, self.dtype, f"down{level}", size=2, strides=2)(x)
        x = blocks(x, "bottom")
        for level in (1, 0):
            width = self.features * 2**level
            up = Upsampler((2,), width, self.dtype, size=1, name=f"up{level}")
            x = blocks(skips[level] + up(x), f"decoder{level}")
        return images + conv(self.channels, self.dtype, "tail")(x).astype(jnp.float32)


def body(network: Any) -> ResidualBody:
    """Returns EDSR's body with the fields of a network."""
    return ResidualBody(
        network.features,
        network.num_blocks,
        network.residual_scale,
        network.dtype,
        network.remat,
        name="body",
    )


def check_same_size(network: Network) -> None:
    """Refuses another scale than 1.

    Raises:
      ConfigError: the scale is another.
    """
    if network.scale != 1:
        raise ConfigError(
            f"scale={network.scale}: {type(network).__name__} keeps the size, scale=1"
        )


def mosaic(images: jax.Array, pattern: str) -> jax.Array:
    """Takes of each pixel the channel that a Bayer sensor sees.

    Args:
      images: `[B, H, W, 3]`, red, green, blue; even sides.
      pattern: a key of `PATTERNS`.

    Returns:
      `[B, H, W, 1]`.

    Raises:
      ConfigError: unknown pattern.
    """
    if pattern not in PATTERNS:
        raise ConfigError(unknown("Bayer pattern", pattern, PATTERNS))
    batch, height, width, _ = images.shape
    # A view of 2 x 2 cells; picked, not multiplied by a mask, as 0 times NaN is NaN.
    cells = images.reshape(batch, height // 2, 2, width // 2, 2, 3)
    picked = [
        cells[:, :, index // 2, :, index % 2, channel]
        for index, channel in enumerate(PATTERNS[pattern])
    ]
    rows = [jnp.stack(picked[start : start + 2], axis=-1) for start in (0, 2)]
    return jnp.stack(rows, axis=2).reshape(batch, height, width, 1)


# Names of `create`: a class, and what differs from the defaults of its fields.
_NETWORKS: dict[str, tuple[Any, dict[str, Any]]] = {
    "edsr": (EDSR, {}),
    # EDSR, section 3.2.
    "edsr_large": (EDSR, {"features": 256, "num_blocks": 32, "residual_scale": 0.1}),
    "restoration": (Restoration, {}),
    "demosaicing": (Demosaicing, {}),
    "deblur_unet": (DeblurUNet, {}),
    "satsr": (satellite_networks.SatSR, {}),
    # Half the blocks, which are twice as wide at a quarter of the pixels; our choice.
    "satsr_wide": (satellite_networks.SatSR, {"wide": True, "num_blocks": 12}),
    "bicubic": (satellite_networks.Bicubic, {}),
    "srcnn": (satellite_networks.SRCNN, {}),
    "rcan": (satellite_networks.RCAN, {}),
    "rrdb": (satellite_networks.RRDB, {}),
}
NETWORKS = tuple(_NETWORKS)
_LEAST = {
    "scale": 1,
    "channels": 1,
    "features": 1,
    "num_blocks": 1,
    "num_groups": 1,
    "reduction": 1,
    "growth": 1,
    "conditioning": 0,
}
_SWITCHES = ("shared_bands", "radiometric", "wide")


def fields(name: str) -> set[str]:
    """Returns the names of the fields of a network.

    Raises:
      ConfigError: unknown name.
    """
    if name not in NETWORKS:
        raise ConfigError(unknown("network", str(name), NETWORKS))
    known = {field.name for field in dataclasses.fields(_NETWORKS[name][0])}
    return known - {"parent", "name"}


def create(name: str, scale: int = 1, channels: int = 3, **overrides: Any) -> Network:
    """Builds a network.

    Args:
      name: one of `NETWORKS`.
      scale: by how much sides grow. 1 alone for restoration, demosaicing and
        deblurring; 1, 2 or 4 for "rrdb"; products of 2 and 3 for networks with pixel
        shuffles; any for "bicubic" and "srcnn".
      channels: bands; 3 alone for demosaicing.
      **overrides: further fields of the network, of which None leaves the default;
        `dtype` can be a name.

    Raises:
      ConfigError: unknown name or field, or a value that cannot be.
    """
    known = fields(name)
    network_class, defaults = _NETWORKS[name]
    for field in overrides:
        if field not in known:
            raise ConfigError(unknown(f"field of {name}", field, known))
    given = {field: value for field, value in overrides.items() if value is not None}
    values = {**defaults, "scale": scale, "channels": channels, **given}
    values["dtype"] = float_type(values.get("dtype", "float32"))
    for field, value in values.items():
        _check_field(field, value)
    network = network_class(**values)
    network.check_fields()
    return network


def _check_field(name: str, value: Any) -> None:
    """Refuses a value that no network could have."""
    if name in _LEAST and (type(value) is not int or value < _LEAST[name]):
        raise ConfigError(
            f"{name} is a whole number from {_LEAST[name]} on, given {value!r}"
        )
    if name in _SWITCHES and type(value) is not bool:
        raise ConfigError(f"{name} is True or False, given {value!r}")
    if name == "residual_scale":
        number = isinstance(value, int | float) and type(value) is not bool
        if not number or not 0 < value < math.inf:
            raise ConfigError(f"{name} is a number above 0, given {value!r}")
    if name == "pattern" and value not in PATTERNS:
        raise ConfigError(unknown("Bayer pattern", str(value), PATTERNS))
    if name == "remat":
        remat(nn.Module, str(value))  # refuses an unknown policy
