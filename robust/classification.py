"""Classification with training data that is partly wrong."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import flax.linen as nn
import ml_collections
import numpy as np

from common import classification
from common import config as configs
from common.data.sources import Source
from robust import models, sources
from robust.config import default_config


class Classification(classification.Classification):
    """Classification whose training data is corrupted, or was found corrupted.

    The evaluation data stays clean. How examples are weighted is `config.reweighting`,
    as for every task.
    """

    def __init__(self, config: ml_collections.ConfigDict):
        """Checks the config, the model's part by building it.

        Raises:
          ConfigError: a field is unknown or out of range.
        """
        super().__init__(config)
        configs.check_sections(config, default_config(), ("noise", "model"))
        sources.check(config.noise)
        self.build_model(config.data.num_classes or 2)

    def build_model(self, num_classes: int) -> nn.Module:
        """Returns the network of the config."""
        return models.create(
            num_classes=num_classes, dtype=self.config.dtype, **self.config.model
        )

    def source(self, split: str, data_dir: str | None) -> Source:
        """Opens the data; what is for training with its noise."""
        plain = super().source(split, data_dir)
        if split == "eval":
            return plain
        return sources.open_train(plain, self.config.data, self.config.noise, data_dir)

    def conclude(
        self, evaluate: Callable[[Source], Mapping[str, np.ndarray]], training: Source
    ) -> dict[str, float]:
        """How much of the wrong labels the model has learned by heart.

        `memorized` is the share of wrong labels that it predicts, `train_top1_true`
        its accuracy on all training examples against the truth. Nothing where the
        truth is not known.
        """
        mask = getattr(training, "noise_mask", None)
        truth = getattr(training, "true_labels", None)
        if mask is None or truth is None:
            return {}
        outputs = evaluate(training)
        found, ids = outputs["prediction"], outputs["id"]
        metrics = {"train_top1_true": float(np.mean(found == truth[ids]))}
        wrong = outputs["label"] != truth[ids]
        if wrong.any():
            metrics["memorized"] = float(np.mean((found == outputs["label"])[wrong]))
        return metrics
