"""A small network that sees distortions rather than things.

"Convolutional Neural Networks for No-Reference Image Quality Assessment" (Kang, Ye, Li
and Doermann, CVPR 2014): one convolution on locally normalised grey values, the largest
and smallest response in each patch, two dense layers. Ours looks at colour, too, and
takes the mean over the patches of an image of any size inside the network.
"""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from common.config import unknown
from common.errors import ConfigError
from common.size import Size

VARIANTS = ("cnniqa",)
# Section 3.1 of the paper: means and deviations of windows of 7 x 7, patches of 32.
_WINDOW, _PATCH, _KERNEL = 7, 32, 7


class CnnIqa(nn.Module):
    """Patches of 32 pixels, one by one, and their mean.

    Attributes:
      num_classes: width of the logits; 0: none, but what they would be made of.
      kernels: of the convolution.
      hidden: width of the two dense layers.
      dropout: share of the second's outputs that training leaves out.
      flat: added to the deviations that are divided by, in units of the input's values;
        keeps noise in flat places small.
      dtype: of activations.
    """

    num_classes: int
    kernels: int = 48
    hidden: int = 800
    dropout: float = 0.5
    flat: float = 0.05
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, images: jax.Array, train: bool = False) -> jax.Array:
        """`[B, H, W, 3]` -> float32 `[B, num_classes]`, or `[B, hidden]`."""
        x = _normalize(jnp.asarray(images, jnp.float32), self.flat)
        x = nn.Conv(self.kernels, (_KERNEL, _KERNEL), dtype=self.dtype, name="conv")(
            x.astype(self.dtype)
        )
        x = _patches(x)
        x = jnp.concatenate([jnp.max(x, (2, 4)), jnp.min(x, (2, 4))], -1)
        x = nn.relu(nn.Dense(self.hidden, dtype=self.dtype, name="dense1")(x))
        x = nn.relu(nn.Dense(self.hidden, dtype=self.dtype, name="dense2")(x))
        x = nn.Dropout(self.dropout, deterministic=not train)(x)
        x = jnp.mean(x.astype(jnp.float32), (1, 2))
        if not self.num_classes:
            return x
        return nn.Dense(self.num_classes, dtype=jnp.float32, name="logits")(x)


def _patches(x: jax.Array) -> jax.Array:
    """Cuts whole patches: `[B, H, W, C]` -> `[B, H / p, p, W / p, p, C]`.

    Reducing these is much faster to differentiate on CPUs than a pooling window.
    """
    batch, height, width, channels = x.shape
    p, q = min(_PATCH, height), min(_PATCH, width)
    rows, columns = height // p, width // q
    x = x[:, : rows * p, : columns * q]
    return x.reshape(batch, rows, p, columns, q, channels)


def _normalize(x: jax.Array, flat: float) -> jax.Array:
    """Takes away what neighbours have in common, brightness and contrast."""

    def local(values: jax.Array) -> jax.Array:
        half = _WINDOW // 2
        padded = jnp.pad(
            values, ((0, 0), (half, half), (half, half), (0, 0)), "reflect"
        )
        return nn.avg_pool(padded, (_WINDOW, _WINDOW))

    mean = local(x)
    deviation = jnp.sqrt(jnp.maximum(local(jnp.square(x)) - jnp.square(mean), 0.0))
    return (x - mean) / (deviation + flat)


def create(
    variant: str,
    num_classes: int,
    image_size: Size = _PATCH,
    dtype: Any = "float32",
    **fields: Any,
) -> CnnIqa:
    """Returns the network; `apply(variables, images, train)` gives logits.

    Args:
      variant: one of `VARIANTS`.
      num_classes: width of the logits, or 0.
      image_size: any; what is beyond whole patches is not looked at.
      dtype: of activations.
      **fields: further ones of `CnnIqa`.

    Raises:
      ConfigError: unknown variant or field.
    """
    del image_size
    if variant not in VARIANTS:
        raise ConfigError(unknown("quality network", variant, VARIANTS))
    known = ("kernels", "hidden", "dropout", "flat")
    for name in fields:
        if name not in known:
            raise ConfigError(unknown("field of CnnIqa", name, known))
    return CnnIqa(num_classes, dtype=jnp.dtype(dtype), **fields)
