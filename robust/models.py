"""The networks of experiments with noisy labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from common.config import unknown
from common.errors import ConfigError
from common.models import resnet

NAMES = ("cnn", *resnet.VARIANTS)


class Cnn(nn.Module):
    """Convolutions with pools, a dense layer and dropout: what MNIST is learned with.

    Attributes:
      num_classes: width of the logits.
      widths: channels of each 3 x 3 convolution, after which the size is halved.
      hidden: width of the dense layer.
      dropout: share of the dense layer's outputs that training leaves out.
      dtype: of activations.
    """

    num_classes: int
    widths: Sequence[int] = (32, 64)
    hidden: int = 1024
    dropout: float = 0.5
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, images: jax.Array, train: bool = False) -> jax.Array:
        """`[B, H, W, 3]` -> float32 logits `[B, num_classes]`."""
        x = jnp.asarray(images, self.dtype)
        for number, width in enumerate(self.widths, 1):
            x = nn.Conv(width, (3, 3), dtype=self.dtype, name=f"conv{number}")(x)
            x = nn.max_pool(nn.relu(x), (2, 2), (2, 2))
        x = x.reshape(len(x), -1)
        x = nn.relu(nn.Dense(self.hidden, dtype=self.dtype, name="dense")(x))
        x = nn.Dropout(self.dropout, deterministic=not train)(x)
        return nn.Dense(self.num_classes, dtype=jnp.float32, name="logits")(x)


def create(
    name: str,
    num_classes: int,
    dtype: Any = "float32",
    *,
    widths: Sequence[int] = (32, 64),
    hidden: int = 1024,
    dropout: float = 0.5,
    stem: str | None = None,
) -> nn.Module:
    """Returns a network; `apply(variables, images, train)` gives logits.

    Args:
      name: "cnn" or one of `common.models.resnet.VARIANTS`.
      num_classes: width of the logits.
      dtype: of activations.
      widths: of the cnn.
      hidden: of the cnn.
      dropout: of the cnn.
      stem: of a ResNet, "imagenet" or "cifar".

    Raises:
      ConfigError: unknown name, or a size that cannot be.
    """
    if name not in NAMES:
        raise ConfigError(unknown("config.model.name", name, NAMES))
    if name != "cnn":
        return resnet.create(name, num_classes, dtype, stem)
    if not widths or min(*widths, hidden) < 1 or not 0 <= dropout < 1:
        raise ConfigError(
            "a cnn needs positive widths and hidden, and dropout in [0, 1), given "
            f"{tuple(widths)}, {hidden} and {dropout}"
        )
    return Cnn(num_classes, tuple(widths), hidden, dropout, jnp.dtype(dtype))
