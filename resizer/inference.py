"""A trained resizer by itself: images of any size to images for another network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from common.data.decode import MAX_PIXELS
from common.data.normalization import STYLES, normalize
from common.errors import DataError
from common.restoration.programs import Programs
from common.size import Size
from resizer.models import check_size


class Resizer:
    """A resizer with its variables; compiles once for each size of image it meets."""

    def __init__(
        self,
        resizer: nn.Module,
        variables: Mapping[str, Any],
        size: Size,
        normalization: str = "imagenet",
    ):
        """Compiles nothing yet.

        Args:
          resizer: a `LearnedResizer` or a `BilinearResizer`.
          variables: of the resizer alone, see `variables_of`.
          size: of the results.
          normalization: that it was trained with, a key of `normalization.STYLES`.

        Raises:
          ConfigError: the size cannot be.
        """
        size = check_size(size)
        self._variables = variables

        def run(variables: Any, images: jax.Array) -> jax.Array:
            images = normalize(images * 255.0, normalization)
            small = resizer.apply(variables, images, size, train=False)
            return denormalize(jnp.asarray(small), normalization)

        # Nothing is cut to tiles here, so none are advised: a side as long as no image.
        self._programs = Programs(run, multiple=MAX_PIXELS)

    def __call__(self, images: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Resizes images, which may differ in size.

        Args:
          images: each `[H, W, 3]`, uint8 or float in [0, 1].

        Returns:
          float32 `[*size, 3]` each, on the scale [0, 1] and beyond it.

        Raises:
          DataError: one is no such image, or does not fit into memory.
        """
        return [self._one(image) for image in images]

    def _one(self, image: np.ndarray) -> np.ndarray:
        image = np.asarray(image)
        if image.ndim != 3 or image.shape[-1] != 3 or 0 in image.shape:
            raise DataError(f"an image has shape [H, W, 3], given {list(image.shape)}")
        if image.dtype == np.uint8:
            image = image.astype(np.float32) / 255
        return self._programs(self._variables, image[None].astype(np.float32))[0]


def variables_of(variables: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the resizer's part of a model's variables, however deep it is in them.

    A model with a bilinear resize has none, and the result is empty.
    """
    found = {}
    for group, tree in variables.items():
        for inner in (tree, tree.get("backbone", {})):
            if "resizer" in inner:
                found[group] = inner["resizer"]
    return found


def denormalize(images: jax.Array, style: str) -> jax.Array:
    """Undoes `normalize`; returns images on the scale [0, 1]."""
    mean, std = (jnp.asarray(values, jnp.float32) for values in STYLES[style])
    return (images * std + mean) / 255.0


def to_uint8(images: np.ndarray, stretch: bool = False) -> np.ndarray:
    """Returns images to look at: a resizer's values leave [0, 1].

    Args:
      images: `[..., H, W, C]`, on the scale [0, 1].
      stretch: map the least and the greatest value of each image to 0 and 255, in place
        of clipping.

    Returns:
      uint8 of the same shape.
    """
    images = np.asarray(images, np.float32)
    if stretch:
        low, high = (
            f(images, axis=(-3, -2, -1), keepdims=True) for f in (np.min, np.max)
        )
        images = (images - low) / np.maximum(high - low, 1e-12)
    return np.rint(255 * np.clip(images, 0, 1)).astype(np.uint8)
