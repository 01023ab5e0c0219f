"""What MAXIM hands to the shared training loop."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np

from common import config as configs
from common.data.mixup import mixup
from common.data.normalization import to_unit
from common.errors import ConfigError
from common.losses import charbonnier, frequency
from common.restoration import task
from common.restoration.inference import Restorer
from common.restoration.results import Published
from common.restoration.task import training_psnr
from common.task import Batch, LossOutput, Variables
from maxim import convert, models, predict, published
from maxim.config import default_config


class Restoration(task.Restoration):
    """Restoration with a MAXIM, trained on all of its stages and scales."""

    def __init__(self, config: ml_collections.ConfigDict):
        """Builds the network, so that a mistake in it shows at once.

        Raises:
          ConfigError: a field is unknown or out of range.
        """
        super().__init__(config)
        sections = ("model", "loss", "augment")
        configs.check_sections(config, default_config(), sections)
        _check_loss(config)
        if self.scale > 1:
            raise ConfigError(
                f"config.degradation.name={config.degradation.name} makes images "
                "smaller, and a MAXIM's results are as large as its inputs"
            )
        self.model = self._build()
        multiple = self.model.size_multiple
        if any(side % multiple for side in self.batch_spec(1)["image"].shape[1:3]):
            raise ConfigError(
                f"config.data.image_size={config.data.image_size} must be a multiple "
                f"of {multiple}, as the model's blocks and grids ask"
            )

    def _build(self) -> models.MAXIM:
        fields = {k: v for k, v in self.config.model.items() if v is not None}
        return models.create(**fields, dtype=jnp.dtype(self.config.dtype))

    def init(self, key: jax.Array, batch: Batch) -> Variables:
        """Random parameters."""
        return self.model.init(key, to_unit(batch["image"][:1]))

    def loss(self, variables: Variables, batch: Batch, key: jax.Array) -> LossOutput:
        """Charbonnier and frequency loss, summed over stages and scales.

        The paper's equation has no weights between stages and scales, so their sum is
        taken as it stands; within an image it is the mean.
        """
        mix_key, dropout_key = jax.random.split(key)
        images, targets = to_unit(batch["image"]), to_unit(batch["target"])
        augment = self.config.augment
        images, targets = mixup(
            mix_key, images, targets, augment.mixup_alpha, augment.mixup_probability
        )
        outputs: Any = self.model.apply(
            variables, images, train=True, rngs={"dropout": dropout_key}
        )
        scaled = [self._at_scale(targets, output.shape) for output in outputs[0]]
        losses = [
            self._image_loss(output, target)
            for scales in outputs
            for output, target in zip(scales, scaled, strict=True)
        ]
        return LossOutput(
            loss=jnp.sum(jnp.stack(losses), axis=0),
            model_state={},
            metrics={"psnr": training_psnr(outputs[-1][-1], targets)},
        )

    def _at_scale(self, targets: jax.Array, shape: tuple[int, ...]) -> jax.Array:
        """Resizes the targets to an output; equal sizes change nothing."""
        return jax.image.resize(
            targets, shape, "bilinear", antialias=self.config.loss.target_antialias
        )

    def _image_loss(self, output: jax.Array, target: jax.Array) -> jax.Array:
        loss = self.config.loss
        pixels = charbonnier.charbonnier(
            output, target, loss.epsilon, loss.charbonnier_distance
        )
        if not loss.frequency_weight:
            return pixels
        waves = frequency.frequency(
            output, target, loss.frequency_distance, loss.frequency_norm
        )
        return pixels + loss.frequency_weight * waves

    def restorer(self, variables: Variables, bfloat16: bool = False) -> Restorer:
        """Binds the network to variables, for images of any size.

        It computes in float32, also after training in bfloat16, unless asked not to.
        """
        model = self.model.clone(dtype=jnp.float32)
        return predict.restorer(model, variables, bfloat16)

    def read_weights(self, init_from: str, target: Variables) -> dict[str, np.ndarray]:
        """Reads official or own files, or fetches `maxim:NAME`."""
        del target
        return convert.read(init_from, self.model)

    def published(self) -> Sequence[Published]:
        """The scores of the set that is evaluated, by the name of its config."""
        return [
            Published(
                f"{entry.name}, {entry.variant} ({published.SOURCES[score.source]})",
                score.psnr,
                score.ssim,
            )
            for entry in published.CHECKPOINTS.values()
            for score in entry.scores
            if score.test_set == self.config.evaluation.test_set
        ]


def _check_loss(config: ml_collections.ConfigDict) -> None:
    """Tries the losses' arguments where they are given, not when they are traced."""
    loss, augment = config.loss, config.augment
    for name, value, choices in (
        ("charbonnier_distance", loss.charbonnier_distance, charbonnier.DISTANCES),
        ("frequency_distance", loss.frequency_distance, frequency.DISTANCES),
        ("frequency_norm", loss.frequency_norm, frequency.NORMS),
    ):
        if value not in choices:
            raise ConfigError(configs.unknown(f"config.loss.{name}", value, choices))
    if not loss.epsilon > 0 or loss.frequency_weight < 0:
        raise ConfigError(
            f"config.loss.epsilon={loss.epsilon} must be above 0 and "
            f"config.loss.frequency_weight={loss.frequency_weight} at least 0"
        )
    if not 0 <= augment.mixup_probability <= 1 or augment.mixup_alpha < 0:
        raise ConfigError(
            f"config.augment.mixup_probability={augment.mixup_probability} must be in "
            f"[0, 1] and config.augment.mixup_alpha={augment.mixup_alpha} at least 0"
        )
