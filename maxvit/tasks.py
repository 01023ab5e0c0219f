"""The experiments MaxViT is used in."""

from __future__ import annotations

from collections.abc import Callable, Collection

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
from absl import logging

from common import classification
from common.size import height_width
from common.task import Variables
from maxvit import inference, models
from maxvit.convert import expectations, fitting, sizes


class Classification(classification.Classification):
    """Image classification with a MaxViT built from `config.model`."""

    adopted = ("preprocess",)

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

    def inference(self, variables: Variables) -> Callable[[jax.Array], jax.Array]:
        """uint8 images `[B, H, W, 3]` -> logits `[B, K]`, batch norms folded."""
        model = self.build_model(self.num_classes)
        model, folded = inference.fold(model, variables)

        def logits(images: jax.Array) -> jax.Array:
            return jnp.asarray(model.apply(folded, self._normalize(images)))

        return logits

    def adopt(
        self, init_from: str, given: Collection[str], training: bool = False
    ) -> None:
        """Sets the preprocessing to what published weights expect.

        Training on images of another size than theirs keeps the config's: its recipe
        says what images of that size look like.

        Args:
          init_from: see `maxvit.convert.files.load`.
          given: fields set on the command line, which stay.
          training: whether training begins with the weights.

        Raises:
          ConfigError: the weights are of another variant than `config.model`, or
            expect what is not possible here.
          DataError: there are no such weights.
        """
        preprocess = self.config.preprocess
        skip = [field for field in preprocess if f"preprocess.{field}" in given]
        expected = expectations.find(init_from, skip)
        current = ", ".join(f"{field} {value}" for field, value in preprocess.items())
        if expected is None:
            logging.info(
                "nothing says what images %s expects: preprocess is %s",
                init_from,
                current,
            )
            return
        if expected.variant in models.VARIANTS:
            theirs = sizes.of_variant(expected.variant)
            model = self.build_model(1)
            ours = sizes.Sizes(model.stem_width, model.depths, model.channels)
            sizes.check(init_from, theirs, ours)
        size = height_width(self.config.data.image_size)
        side = expected.resolution
        elsewhere = side is not None and size != (side, side)
        if elsewhere and not training:
            logging.warning(
                "%s saw images of %d pixels and runs at %d x %d; "
                "set --config.data.image_size=%d",
                init_from,
                side,
                *size,
                side,
            )
        if elsewhere and training:
            logging.info(
                "%s saw images of %d pixels; preprocess stays this config's for %d x "
                "%d: %s",
                init_from,
                side,
                *size,
                current,
            )
            return
        for field, value in expected.preprocess.items():
            if preprocess[field] != value:
                logging.info(
                    "preprocess.%s: %s -> %s, as %s expects",
                    field,
                    preprocess[field],
                    value,
                    init_from,
                )
                preprocess[field] = value

    def read_weights(self, init_from: str, target: Variables) -> dict[str, np.ndarray]:
        """Reads weights of ours, of timm or of the official code.

        Tables of relative positions are resized to the model's windows.

        Args:
          init_from: see `maxvit.convert.files.load`.
          target: the model's variables, abstract.

        Returns:
          Flat names of ours to arrays.

        Raises:
          ConfigError: they cannot be converted, or are of another variant.
          DataError: there are no such weights.
        """
        return fitting.read(init_from, target)
