"""Classification with a resizer in front of any network.

Scores of photographs are learned by `iqa.nima` with the registry's network `resized`; a
config names the two, as papers do not import each other.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import ml_collections
import numpy as np

from common import classification
from common import config as configs
from common.data.sources import Source
from common.errors import ConfigError
from common.models import backbone_weights
from common.task import Variables
from resizer import models
from resizer.config import default_config


class Classification(classification.Classification):
    """Classification of images that are resized on the device, before the network."""

    def __init__(self, config: ml_collections.ConfigDict):
        """Checks the config, the model's part by building it.

        Raises:
          ConfigError: a field is unknown or out of range.
        """
        super().__init__(config)
        configs.check_sections(config, default_config(), ("model", "phases"))
        for name, value in config.phases.items():
            if value < 0:
                raise ConfigError(f"config.phases.{name}={value} must be at least 0")
        self.build_model(config.data.num_classes or 2)

    def build_model(self, num_classes: int) -> models.ResizedModel:
        """Returns the resizer and the network of the config."""
        model = self.config.model
        return models.create(
            num_classes=num_classes,
            image_size=self.config.data.image_size,
            dtype=self.config.dtype,
            backbone=model.backbone,
            output_size=model.output_size,
            resizer=model.resizer.to_dict(),
            options=model.options.to_dict(),
        )

    def read_weights(self, init_from: str, target: Variables) -> dict[str, np.ndarray]:
        """Reads weights of ours, or published ones of the network alone.

        Where the resizer is learned and the weights have none, as before the second
        phase, `config.reinitialize` needs `"/resizer/"`.
        """
        backbone = self.config.model.backbone
        return backbone_weights.read(backbone, init_from, target)

    def pictures(
        self,
        variables: Variables,
        outputs: Mapping[str, np.ndarray],
        source: Source,
        workdir: Path,
    ) -> list[tuple[str, Path]]:
        """Those of a classifier, and what the resizer does to images."""
        from resizer import pictures

        found = super().pictures(variables, outputs, source, workdir)
        shown = pictures.draw(self, variables, source, workdir / "resized.png")
        return [*found, shown]

    def predict_words(self, example: Path, workdir: Path) -> list[str]:
        """Resizes the examples of the run."""
        return [f"--input={example.parent}", f"--output={workdir / 'resized'}"]
