"""From uint8 pixels to what a network was trained on."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

from common.config import unknown
from common.errors import ConfigError

# name -> (mean, standard deviation) of pixels in [0, 255].
STYLES: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    # Channel statistics of ImageNet; MaxViT trained on ImageNet-1k at 224 pixels.
    "imagenet": (
        (0.485 * 255, 0.456 * 255, 0.406 * 255),
        (0.229 * 255, 0.224 * 255, 0.225 * 255),
    ),
    # Channel statistics of CIFAR's training images, as label-noise papers have them.
    "cifar10": (
        (0.4914 * 255, 0.4822 * 255, 0.4465 * 255),
        (0.2023 * 255, 0.1994 * 255, 0.2010 * 255),
    ),
    "cifar100": (
        (0.5071 * 255, 0.4865 * 255, 0.4409 * 255),
        (0.2673 * 255, 0.2564 * 255, 0.2762 * 255),
    ),
    # To [-1, 1]; MaxViT at 384 and 512 pixels and all ImageNet-21k checkpoints.
    "half": ((127.5,) * 3, (127.5,) * 3),
    # To [0, 1]; restoration networks.
    "unit": ((0.0,) * 3, (255.0,) * 3),
}


def normalize(
    images: jax.Array, style: str, dtype: DTypeLike = jnp.float32
) -> jax.Array:
    """Normalises images, on the device.

    Args:
      images: `[..., H, W, 3]` in [0, 255], usually uint8.
      style: a key of `STYLES`.
      dtype: of the result; the arithmetic is float32.

    Returns:
      Array of the same shape.

    Raises:
      ConfigError: unknown style.
    """
    if style not in STYLES:
        raise ConfigError(unknown("normalization", style, STYLES))
    mean, std = (jnp.asarray(values, jnp.float32) for values in STYLES[style])
    return ((jnp.asarray(images, jnp.float32) - mean) / std).astype(dtype)


def to_unit(images: Any) -> Any:
    """Returns images, of NumPy or JAX, on the scale [0, 1], on which floats are."""
    if images.dtype != np.uint8:
        return images
    return images.astype(np.float32) / np.float32(255)
