"""Restores one image of any size with a network that takes certain sizes."""

from __future__ import annotations

import copy

import jax
import numpy as np

from common.errors import ConfigError, DataError
from common.restoration.ensemble import ensemble as mean_of_views
from common.restoration.padding import Padding
from common.restoration.programs import Apply, Programs, to_bfloat16
from common.restoration.tiles import Tiling
from common.task import Variables

# Noise and its like leave [0, 1], by less than this; levels of 8 bits do not stay.
_LOWEST, _HIGHEST = -3.0, 4.0


class Restorer:
    """A network with its variables, for images `[H, W, 3]` in [0, 1].

    Each size that padding makes of the images is compiled once.

    Attributes:
      apply: variables and images `[B, H, W, 3]` to restored images, as it was given.
      multiple: of which both sides must be multiples for `apply`.
      scale: how many times as long the sides of results are.
      radius: how many pixels around it a pixel of the result depends on; None where
        that is the whole image.
      channels: of the images; None for any number.
      mosaic: whether images are those of a sensor behind colour filters. They are grey
        and become coloured, and cannot be turned.
    """

    def __init__(
        self,
        apply: Apply,
        variables: Variables,
        multiple: int,
        bfloat16: bool = False,
        scale: int = 1,
        radius: int | None = None,
        channels: int | None = 3,
        mosaic: bool = False,
    ):
        """Compiles nothing yet.

        Args:
          apply: variables and float32 images `[1, H, W, 3]` in [0, 1] to restored
            images `[1, H * scale, W * scale, 3]`.
          variables: of the network; arguments of the compiled programs.
          multiple: what both sides must be multiples of.
          bfloat16: hold the variables in bfloat16. What the network computes in is
            its own affair: images stay float32, since 8 bits would be lost on them.
          scale: how many times as long the sides of results are.
          radius: how far the network looks; see above.
          channels: of the images; None for any number.
          mosaic: see above.
        """
        self.apply = apply
        self.multiple = multiple
        self.scale = scale
        self.radius = radius
        self.channels = channels
        self.mosaic = mosaic
        self._bfloat16 = bfloat16
        self._programs = Programs(apply, multiple)
        self._set(variables)

    def _set(self, variables: Variables) -> None:
        self._variables = to_bfloat16(variables) if self._bfloat16 else variables

    def with_variables(self, variables: Variables) -> Restorer:
        """Returns one for other variables, which shares what was compiled."""
        other = copy.copy(self)
        other._set(variables)
        return other

    def __call__(
        self,
        image: np.ndarray | jax.Array,
        *,
        ensemble: bool = False,
        tiling: Tiling | None = None,
    ) -> np.ndarray:
        """Restores an image.

        Args:
          image: float `[H, W, 3]` in [0, 1], of any size; noise may leave the range.
          ensemble: average over the eight turned and mirrored views.
          tiling: cut an image that is larger into such tiles. What the network could
            gather from the rest of the image is lost.

        Returns:
          float32 `[H * scale, W * scale, 3]`, not clipped.

        Raises:
          ConfigError: an ensemble of mosaics.
          DataError: no such image, or it does not fit into memory.
        """
        if ensemble and self.mosaic:
            raise ConfigError("a mosaic cannot be turned: no ensemble for it")
        image = check_image(image, self.channels)

        def restore(part: np.ndarray) -> np.ndarray:
            height, width, _ = part.shape
            padding = Padding.to_multiple(height, width, self.multiple)
            padded = padding.pad(part)
            whole = mean_of_views(self._run, padded) if ensemble else self._run(padded)
            return padding.crop(whole, self.scale)

        if tiling is None:
            return restore(image)
        return tiling.map(restore, image, self.scale)

    def _run(self, image: np.ndarray) -> np.ndarray:
        return self._programs(self._variables, image[None])[0]


def check_image(image: np.ndarray | jax.Array, channels: int | None = 3) -> np.ndarray:
    """Returns an image as float32.

    Args:
      image: to check.
      channels: that it must have; None for any number.

    Raises:
      DataError: naming the shape, type or values that no image has.
    """
    array = np.asarray(image)
    wrong = array.ndim != 3 or channels not in (None, array.shape[2])
    if wrong or not array.size:
        raise DataError(
            f"an image has shape [H, W, {channels or 'C'}] and a pixel at least, given "
            f"{list(array.shape)}"
        )
    if not jax.numpy.issubdtype(array.dtype, jax.numpy.floating):
        raise DataError(
            f"an image is of floats in [0, 1], given {array.dtype}; divide levels of 8 "
            "bits by 255"
        )
    array = np.ascontiguousarray(array, np.float32)
    if not np.isfinite(array).all():
        raise DataError("the image holds values that are not finite")
    return array


def check_range(image: np.ndarray) -> None:
    """Refuses an image of a user that is on another scale than [0, 1].

    Raises:
      DataError: saying what its values are.
    """
    low, high = float(image.min()), float(image.max())
    if low < _LOWEST or high > _HIGHEST:
        raise DataError(
            f"an image is in [0, 1], its values here in [{low:g}, {high:g}]; divide "
            "levels of 8 bits by 255"
        )
