"""Any network of the registry with a distribution of scores in place of classes."""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from common.errors import ConfigError
from common.models import registry


class ScoreModel(nn.Module):
    """NIMA (arXiv 1709.05424): dropout and one dense layer on pooled features.

    Attributes:
      backbone: `[B, H, W, 3]` -> `[B, C]`.
      num_scores: width of the logits.
      dropout: share of the features that training leaves out.
    """

    backbone: nn.Module
    num_scores: int
    dropout: float

    @nn.compact
    def __call__(self, images: jax.Array, train: bool = False) -> jax.Array:
        """Normalised images `[B, H, W, 3]` -> float32 logits `[B, num_scores]`."""
        x = jnp.asarray(self.backbone(images, train), jnp.float32)
        x = nn.Dropout(self.dropout, deterministic=not train)(x)
        return nn.Dense(self.num_scores, dtype=jnp.float32, name="head")(x)


def create(
    backbone: str,
    num_scores: int,
    image_size: Any,
    dtype: str,
    dropout: float,
    options: dict[str, Any],
) -> ScoreModel:
    """Builds the model.

    Args:
      backbone: a key of `registry.BACKBONES`.
      num_scores: width of the logits, at least 2.
      image_size: side, or (height, width), in pixels.
      dtype: of activations.
      dropout: in [0, 1).
      options: further fields of the backbone.

    Raises:
      ConfigError: one of them cannot be.
    """
    if num_scores < 2 or not 0 <= dropout < 1:
        raise ConfigError(
            "config.model needs at least 2 scores and a dropout in [0, 1), given "
            f"num_scores={num_scores} and dropout={dropout}"
        )
    network = registry.backbone(
        backbone, num_classes=0, image_size=image_size, dtype=dtype, **options
    )
    return ScoreModel(network, num_scores, dropout)
