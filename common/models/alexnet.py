"""The trunk of AlexNet, into which a perceptual distance looks.

Krizhevsky 2014 (arXiv 1404.5997), "one weird trick", in the widths of torchvision.
"""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

# Width, side of the kernel, stride and padding of each convolution.
_CONVOLUTIONS = ((64, 11, 4, 2), (192, 5, 1, 2), (384, 3, 1, 1)) + 2 * ((256, 3, 1, 1),)
# Convolutions that a pool of 3 x 3 with stride 2 comes before.
_POOLED_BEFORE = (2, 3)
# The least side that leaves a pixel.
LEAST_SIDE = 31
# Our names to torchvision's.
TORCH_LAYERS = {
    f"trunk/conv{number}": f"features.{index}"
    for number, index in enumerate((0, 3, 6, 8, 10), 1)
}


class Trunk(nn.Module):
    """The convolutions.

    Attributes:
      precision: of the products, as jax.lax's; None is the backend's choice.
    """

    precision: Any = None

    @nn.compact
    def __call__(self, images: jax.Array) -> dict[str, jax.Array]:
        """Images `[B, H, W, 3]`, sides at least 31 -> "relu1" ... "relu5", in order."""
        taps, x = {}, jnp.asarray(images, jnp.float32)
        for number, (width, size, strides, padding) in enumerate(_CONVOLUTIONS, 1):
            if number in _POOLED_BEFORE:
                x = nn.max_pool(x, (3, 3), (2, 2))
            x = nn.Conv(
                width,
                (size, size),
                strides,
                padding=padding,
                precision=self.precision,
                name=f"conv{number}",
            )(x)
            taps[f"relu{number}"] = x = nn.relu(x)
        return taps
