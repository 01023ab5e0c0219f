"""The experiments MaxViT is used in."""

from __future__ import annotations

import ml_collections

from common import classification
from maxvit import models


class Classification(classification.Classification):
    """Image classification with a MaxViT built from `config.model`."""

    def __init__(self, config: ml_collections.ConfigDict):
        """Checks the config, the model's part by building it.

        Raises:
          ConfigError: a field is unknown or out of range.
        """
        super().__init__(config)
        self.build_model(config.data.num_classes or 1)

    def build_model(self, num_classes: int) -> models.MaxViT:
        """Returns the MaxViT of the config; fields left None keep their defaults."""
        fields = {k: v for k, v in self.config.model.items() if v is not None}
        return models.create(
            num_classes=num_classes,
            image_size=self.config.data.image_size,
            dtype=self.config.dtype,
            **fields,
        )
