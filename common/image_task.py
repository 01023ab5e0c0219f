"""A task whose examples are whole images, brought to one size.

The host recipe (crops, flips, RandAugment) and the normalisation come from the config;
what is learned of the images is the business of `common.classification` and of tasks in
packages.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
from ml_collections import config_dict

from common import config as configs
from common.data import decode, randaugment, transforms
from common.data.normalization import STYLES, normalize
from common.errors import ConfigError
from common.size import height_width
from common.task import Batch, Task, Variables

_CROPS = ("random_resized", "random", "padded", "none")


def default_config() -> ml_collections.ConfigDict:
    """Returns the shared defaults with the fields of images."""
    config = configs.default()
    config.preprocess = ml_collections.ConfigDict()
    config.preprocess.normalization = "imagenet"  # a key of normalization.STYLES
    # squash, native (no resizing), or a fraction such as "0.875"
    config.preprocess.eval_crop = "official"
    # Side or (height, width) of evaluation images; None: data.image_size.
    config.preprocess.eval_size = config_dict.placeholder(object)
    # random: of the image, see `resize`; padded: shifted; none: the whole image
    config.augment.crop = "random_resized"
    config.augment.resize = 0  # pixels of either side before a random crop; 0: as it is
    config.augment.padding = 4  # pixels, of a padded crop
    config.augment.flip = True
    config.augment.randaugment_layers = 0
    config.augment.randaugment_magnitude = 10.0
    config.augment.rotate = 0.0  # up to so many degrees
    config.augment.translate = 0.0  # up to this share of the side
    config.augment.scale = 0.0  # up to 1 +- this
    return config


class ImageTask(Task):
    """A task on a batch of images `[B, H, W, 3]`.

    A subclass has a `model`, whose `init` takes normalised images.
    """

    def __init__(self, config: ml_collections.ConfigDict):
        """Checks the config's fields of images.

        Raises:
          ConfigError: one of them is out of range.
        """
        super().__init__(config)
        for name, value, choices in (
            ("augment.crop", config.augment.crop, _CROPS),
            ("preprocess.normalization", config.preprocess.normalization, STYLES),
        ):
            if value not in choices:
                raise ConfigError(configs.unknown(f"config.{name}", value, choices))
        for key, value in config.augment.items():
            if isinstance(value, float | int) and value < 0:
                raise ConfigError(f"config.augment.{key}={value} must be at least 0")
        for split in ("train", "eval"):
            self.transforms(split)  # their constructors check the rest

    @property
    def model(self) -> Any:
        """The Linen module; modules are cheap descriptions, so it is made on demand."""
        raise NotImplementedError(f"{type(self).__name__}.model")

    def transforms(self, split: str) -> Sequence[Any]:
        """The host side of the recipe; normalisation and mixup run on the device."""
        size, augment = self.config.data.image_size, self.config.augment
        if split == "eval":
            crop = transforms.CenterCrop(self._eval_size, self._eval_crop)
            return [crop, transforms.ToArray()]
        chain: list[Any] = [self._train_crop(size)]
        if augment.flip:
            chain.append(transforms.RandomFlip())
        if augment.rotate or augment.translate or augment.scale:
            chain.append(
                transforms.RandomAffine(
                    augment.rotate,
                    augment.translate,
                    (1 - augment.scale, 1 + augment.scale),
                )
            )
        if augment.randaugment_layers:
            chain.append(
                randaugment.RandAugment(
                    augment.randaugment_layers, augment.randaugment_magnitude
                )
            )
        return [*chain, transforms.ToArray()]

    def batch_spec(self, size: int) -> dict[str, jax.ShapeDtypeStruct]:
        """uint8 images with id."""
        height, width = height_width(self.config.data.image_size)
        image = jax.ShapeDtypeStruct((size, height, width, 3), jnp.uint8)
        return {"image": image, "id": jax.ShapeDtypeStruct((size,), jnp.int32)}

    def inference_spec(self) -> jax.ShapeDtypeStruct:
        """One uint8 image of the size of evaluation."""
        height, width = height_width(self._eval_size)
        return jax.ShapeDtypeStruct((1, height, width, 3), jnp.uint8)

    def init(self, key: jax.Array, batch: Batch) -> Variables:
        """Random variables of the model."""
        return self.model.init(key, self._normalize(batch["image"][:1]), train=False)

    def _train_crop(self, size: Any) -> Any:
        augment = self.config.augment
        match augment.crop:
            case "random_resized":
                return transforms.RandomResizedCrop(size)
            case "random":
                return transforms.RandomCrop(size, augment.resize)
            case "padded":
                return transforms.PaddedCrop(size, augment.padding)
        return transforms.Resize(size)

    @property
    def _eval_size(self) -> Any:
        return self.config.preprocess.eval_size or self.config.data.image_size

    @property
    def _eval_crop(self) -> str | float:
        crop = self.config.preprocess.eval_crop
        try:
            return float(crop)
        except ValueError:
            return crop

    def _train_pass(
        self, variables: Variables, images: jax.Array, key: jax.Array
    ) -> tuple[jax.Array, Variables]:
        """Returns the model's outputs in training, and its new state."""
        return self.model.apply(
            variables,
            images,
            train=True,
            mutable=[name for name in variables if name != "params"],
            rngs={"dropout": key},
        )

    def _normalize(self, images: jax.Array) -> jax.Array:
        return normalize(images, self.config.preprocess.normalization)

    def _read_all(self, paths: Sequence[str]) -> list[np.ndarray]:
        """Reads all files before work begins: a broken one should not come late.

        Raises:
          DataError: naming the file.
        """
        return [self._read(path) for path in paths]

    def _read(self, path: str) -> np.ndarray:
        example: Any = {"image": decode.read(path)}
        for transform in self.transforms("eval"):
            example = transform.map(example)
        return example["image"]
