"""Image classification as a task: any model that maps images to logits.

A package derives from `Classification` and builds its model; the recipe (crops,
RandAugment, mixup, label smoothing) comes from the config.
"""

from __future__ import annotations

import abc
import functools
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import flax.linen as nn
import jax
import jax.numpy as jnp
import ml_collections
import numpy as np

from common import config as configs
from common import image_task
from common.data import mixup, sources
from common.data.sources import Source
from common.errors import ConfigError
from common.image_task import ImageTask
from common.losses import classification as losses
from common.task import Batch, LossOutput, Monitor, Variables

# Modes of reweighting in which the loss of a batch is put down to its examples.
_BY_BATCH = ("deferred", "mass_preserving", "unnormalized")


def default_config() -> ml_collections.ConfigDict:
    """Returns the defaults of images with the fields of classification."""
    config = image_task.default_config()
    config.loss = losses.default_options()
    config.augment.mixup_alpha = 0.0
    config.augment.cutmix_alpha = 0.0
    return config


class Classification(ImageTask):
    """Classification of images into the classes of a source."""

    monitor = Monitor("top1", "max")
    weight_losses = losses.NAMES

    def __init__(self, config: ml_collections.ConfigDict):
        """Checks the config's fields of classification.

        Raises:
          ConfigError: one of them is unknown or out of range.
        """
        sections = ("augment", "preprocess", "loss")
        configs.check_sections(config, default_config(), sections)
        super().__init__(config)
        if config.loss.name not in losses.NAMES:
            raise ConfigError(
                configs.unknown("config.loss.name", config.loss.name, losses.NAMES)
            )
        if not 0 <= config.loss.label_smoothing < 1:
            raise ConfigError(
                f"config.loss.label_smoothing={config.loss.label_smoothing} must be in "
                "[0, 1)"
            )
        mixed = config.augment.mixup_alpha or config.augment.cutmix_alpha
        if mixed and config.reweighting.mode in _BY_BATCH:
            raise ConfigError(
                "mixup and cutmix give no loss of a single example, which "
                f"config.reweighting.mode={config.reweighting.mode} needs: use "
                "mode=full, or switch them off"
            )

    @abc.abstractmethod
    def build_model(self, num_classes: int) -> nn.Module:
        """Returns a module with `apply(variables, images, train)` -> `[B, K]`."""

    @property
    def num_classes(self) -> int:
        """Width of the logits; known once the training data was opened."""
        if self.config.data.num_classes is None:
            raise ConfigError("config.data.num_classes is needed when data is not open")
        return self.config.data.num_classes

    @property
    def model(self) -> nn.Module:
        """The model for this number of classes."""
        return self.build_model(self.num_classes)

    def source(self, split: str, data_dir: str | None) -> Source:
        """Opens the data; the first to be opened decides an open number of classes."""
        data = self.config.data
        source = sources.open_source(data, split, data_dir)
        found = len(source.class_names)
        if data.num_classes is None:
            if not found:
                raise ConfigError(
                    f"the {split} data does not name its classes: set "
                    "config.data.num_classes"
                )
            data.num_classes = found
        if found > data.num_classes:
            raise ConfigError(
                f"the {split} data has {found} classes, config.data.num_classes is "
                f"{data.num_classes}"
            )
        return source

    def batch_spec(self, size: int) -> dict[str, jax.ShapeDtypeStruct]:
        """uint8 images with label and id."""
        label = jax.ShapeDtypeStruct((size,), jnp.int32)
        return {**super().batch_spec(size), "label": label}

    def loss(self, variables: Variables, batch: Batch, key: jax.Array) -> LossOutput:
        """The loss with label smoothing and, when switched on, mixed examples.

        A loss of its own for the example weights sees the plain labels.
        """
        mix_key, dropout_key = jax.random.split(key)
        augment, weighed_by = self.config.augment, self.config.reweighting.loss
        images = self._normalize(batch["image"])
        targets = self._targets(batch["label"])
        plain = jax.nn.one_hot(batch["label"], self.num_classes)
        if augment.mixup_alpha or augment.cutmix_alpha:
            images, targets = mixup.mix(
                mix_key, images, targets, augment.mixup_alpha, augment.cutmix_alpha
            )
        logits, model_state = self._train_pass(variables, images, dropout_key)
        return LossOutput(
            loss=self._losses(logits, targets),
            weight_loss=self._losses(logits, plain, weighed_by) if weighed_by else None,
            model_state=model_state,
            metrics={"top1": jnp.argmax(logits, -1) == jnp.argmax(targets, -1)},
        )

    def logits(self, variables: Variables, images: jax.Array) -> jax.Array:
        """Returns the logits `[B, K]` of an evaluation.

        Args:
          variables: of the model.
          images: `[B, H, W, 3]` in [0, 255], uint8 or, to differentiate in them,
            floats.
        """
        logits = self.model.apply(variables, self._normalize(images), train=False)
        return jnp.asarray(logits)

    def judge(
        self, variables: Variables, images: jax.Array, labels: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        """Returns the loss `[B]` that training minimises, and whether it is right.

        With the label smoothing of training: for a network that was trained with it,
        plain labels would reward being surer than it should be.

        Args:
          variables: of the model.
          images: as for `logits`.
          labels: `[B]`, what they show.
        """
        logits = self.logits(variables, images)
        right = jnp.equal(jnp.argmax(logits, -1), labels)
        return self._losses(logits, self._targets(labels)), right

    def evaluate(self, variables: Variables, batch: Batch) -> Mapping[str, jax.Array]:
        """Loss, prediction and rank of the true class of every example."""
        logits = self.logits(variables, batch["image"])
        labels = batch["label"]
        of_label = jnp.take_along_axis(logits, labels[:, None], axis=-1)
        targets = jax.nn.one_hot(labels, self.num_classes)
        return {
            "loss": self._losses(logits, targets),
            "label": labels,
            "prediction": jnp.argmax(logits, -1).astype(jnp.int32),
            "confidence": jnp.max(self._probabilities(logits), -1),
            # Ties count against the model, so constant logits score nothing.
            "rank": jnp.sum(logits >= of_label, -1).astype(jnp.int32) - 1,
        }

    def example_losses(self, variables: Variables, batch: Batch) -> jax.Array:
        """What moves the example weights, on images without augmentation."""
        logits = self.logits(variables, batch["image"])
        targets = jax.nn.one_hot(batch["label"], self.num_classes)
        return self._losses(logits, targets, self.config.reweighting.loss)

    def inference(self, variables: Variables) -> Callable[[jax.Array], jax.Array]:
        """uint8 images `[B, H, W, 3]` -> logits `[B, K]`."""
        return functools.partial(self.logits, variables)

    def summarize(self, outputs: Mapping[str, np.ndarray]) -> dict[str, float]:
        """Mean loss and top-k accuracies as fractions."""
        metrics = {"top1": float(np.mean(outputs["rank"] < 1))}
        if self.num_classes > 5:
            metrics["top5"] = float(np.mean(outputs["rank"] < 5))
        return metrics | {"loss": float(np.mean(outputs["loss"]))}

    def pictures(
        self,
        variables: Variables,
        outputs: Mapping[str, np.ndarray],
        source: Source,
        workdir: Path,
    ) -> list[tuple[str, Path]]:
        """The confusion matrix, and examples with the most confident errors first."""
        del variables
        from common import classification_pictures

        names = _padded(source.class_names, self.num_classes)
        return classification_pictures.draw(
            outputs, source, names, self.transforms("eval"), workdir
        )

    def predict(
        self, variables: Variables, paths: Sequence[str], home: Path
    ) -> list[str]:
        """One line per image: the most likely classes with their probabilities."""
        names = class_names(home, self.num_classes)
        run = jax.jit(lambda v, x: self._probabilities(self.logits(v, x)))
        lines = []
        for path, image in zip(paths, self._read_all(paths), strict=True):
            row = np.asarray(run(variables, image[None]))[0]
            best = np.argsort(-row, kind="stable")[:5]
            shown = ", ".join(f"{names[k]} {100 * row[k]:.1f} %" for k in best)
            lines.append(f"{path}: {shown}")
        return lines

    def _targets(self, labels: jax.Array) -> jax.Array:
        """Returns what training wants to see: `[B, K]`, smoothed."""
        loss = self.config.loss
        targets = jax.nn.one_hot(labels, self.num_classes)
        return losses.smooth_labels(targets, loss.label_smoothing, loss.name)

    def _losses(
        self, logits: jax.Array, targets: jax.Array, name: str = ""
    ) -> jax.Array:
        """Returns the loss of that name, or else that of training, `[B]`."""
        options = self.config.loss
        return losses.per_example(name or options.name, logits, targets, options)

    def _probabilities(self, logits: jax.Array) -> jax.Array:
        options = self.config.loss
        return losses.probabilities(options.name, logits, options)


def class_names(home: Path, num_classes: int) -> list[str]:
    """Returns the names saved in the folder of the weights, or the class numbers."""
    path = home / "class_names.json"
    names = json.loads(path.read_text()) if path.exists() else []
    return _padded(names, num_classes)


def _padded(names: Sequence[str], num_classes: int) -> list[str]:
    """Calls outputs beyond the named classes by their number."""
    return [*names, *map(str, range(len(names), num_classes))]
