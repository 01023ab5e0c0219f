"""The learned resizer, its control, and either of them in front of a network.

"Learning to Resize Images for Computer Vision Tasks" (Talebi and Milanfar, ICCV 2021,
arXiv 2103.09950). The layers are those of its figure; biases, initial values and the
constants of the batch norms, which it does not give, follow the Keras example of it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.errors import ScopeParamShapeError

from common.config import unknown
from common.data.decode import MAX_PIXELS
from common.errors import ConfigError
from common.models import registry
from common.models.remat import remat
from common.size import Size, height_width
from resizer.convolution import conv_general_dilated
from resizer.layers import NORMS, Stack, Stem
from resizer.resampling import METHODS, resize

KINDS = ("learned", "bilinear")


class LearnedResizer(nn.Module):
    """Adds what a small network finds at full size to the bilinear image.

    `apply(variables, images, size, train=False)`. The size is a Python value: each new
    pair of sizes compiles anew.

    Attributes:
      features: channels inside, the paper's n.
      num_blocks: residual blocks at the small size, its r; each reads the one before.
      out_channels: of the result; None as many as the images have. Grey images can
        become more.
      method: of both resizes, see `resampling.METHODS`; "linear" is the paper's.
      antialias: of both resizes.
      negative_slope: of the leaky ReLUs.
      norm: "batch", "group" or None.
      zero_init_tail: start as the bilinear resize, exactly; not in the paper.
      dtype: of the network. The image itself stays float32, since bfloat16 would
        round its 8 bits away.
      remat_stem: compute the layers at full size again in the backward pass, which
        otherwise keeps about five maps of that size.
      axis_name: over which devices batch norms count, under `shard_map` or `pmap`;
        under jit they count the whole batch without it.
    """

    features: int = 16
    num_blocks: int = 1
    out_channels: int | None = None
    method: str = "linear"
    antialias: bool = False
    negative_slope: float = 0.2
    norm: str | None = "batch"
    zero_init_tail: bool = False
    dtype: Any = jnp.float32
    remat_stem: bool = False
    axis_name: str | None = None

    @nn.compact
    def __call__(self, images: jax.Array, size: Size, train: bool = False) -> jax.Array:
        """Resizes images.

        Args:
          images: `[B, H, W, C]`, floats, normalised as the network behind wants them.
          size: side, or (height, width), of the result, larger or smaller.
          train: use and update the statistics of batch norms.

        Returns:
          float32 `[B, *size, out_channels]`, not clipped to any range.

        Raises:
          ConfigError: images or size cannot be.
        """
        size = check(images, size)
        channels = self.out_channels or images.shape[-1]
        if images.shape[-1] not in (1, channels):
            raise ConfigError(
                f"out_channels={channels}, but the images have {images.shape[-1]}: "
                "only grey images can become others"
            )
        images = jnp.asarray(images, jnp.float32)
        fields = {
            name: getattr(self, name)
            for name in ("features", "negative_slope", "norm", "dtype", "axis_name")
        }
        stem = remat(Stem, "full" if self.remat_stem else "none", (2, 3))
        x = stem(method=self.method, antialias=self.antialias, **fields, name="stem")(
            images.astype(self.dtype), size, train
        )
        x = Stack(num_blocks=self.num_blocks, **fields, name="blocks")(x, train)
        zeros = nn.initializers.zeros
        residual = nn.Conv(
            channels,
            (7, 7),
            kernel_init=zeros
            if self.zero_init_tail
            else nn.initializers.glorot_uniform(),
            dtype=self.dtype,
            conv_general_dilated=conv_general_dilated,
            name="tail",
        )(x)
        return resize(images, size, self.method, self.antialias) + residual.astype(
            jnp.float32
        )


class BilinearResizer(nn.Module):
    """The control, without parameters; called as `LearnedResizer`.

    Attributes:
      method: see `resampling.METHODS`.
      antialias: whether a smaller image averages over all pixels of the large one.
    """

    method: str = "linear"
    antialias: bool = False

    def __call__(self, images: jax.Array, size: Size, train: bool = False) -> jax.Array:
        """`[B, H, W, C]` -> float32 `[B, *size, C]`."""
        del train
        size = check(images, size)
        images = jnp.asarray(images, jnp.float32)
        return resize(images, size, self.method, self.antialias)


class ResizedModel(nn.Module):
    """A resizer and, of what it returns, a network; trained together.

    Attributes:
      resizer: a `LearnedResizer` or a `BilinearResizer`.
      backbone: `apply(variables, images, train)` takes images of `size`.
      size: height and width between them.
    """

    resizer: nn.Module
    backbone: nn.Module
    size: tuple[int, int]

    def __call__(self, images: jax.Array, train: bool = False) -> jax.Array:
        """Images `[B, H, W, 3]` of any size -> what the backbone returns.

        Raises:
          ConfigError: images of this kind or size cannot be.
        """
        small = self.resizer(images, self.size, train)
        try:
            return self.backbone(small, train)
        except ConfigError:
            raise
        except (ScopeParamShapeError, ValueError) as error:
            raise ConfigError(
                f"the network behind the resizer does not take images {small.shape}: "
                f"{error}"
            ) from error

    def resize(self, images: jax.Array) -> jax.Array:
        """Returns what the backbone sees in evaluation, `[B, *size, C]`."""
        return self.resizer(images, self.size, False)


def check(images: Any, size: Size) -> tuple[int, int]:
    """Returns height and width of the result.

    Raises:
      ConfigError: images that are no batch of one size, or a size that cannot be.
    """
    if isinstance(images, list | tuple) or getattr(images, "ndim", 0) != 4:
        given = getattr(images, "shape", type(images).__name__)
        raise ConfigError(
            f"images must be one array [B, H, W, C], given {given}; for images of "
            "several sizes there is resizer.inference.Resizer"
        )
    if 0 in images.shape:
        raise ConfigError(f"images without pixels: {images.shape}")
    return check_size(size)


def check_size(size: Size) -> tuple[int, int]:
    """Returns height and width of a result.

    Raises:
      ConfigError: no pixels, or more than any image may have.
    """
    height, width = height_width(size, "the size to resize to")
    if height * width > MAX_PIXELS:
        raise ConfigError(
            f"{height} x {width} pixels to resize to are more than the {MAX_PIXELS} "
            "that an image may have"
        )
    return height, width


def make(kind: str = "learned", dtype: Any = "float32", **fields: Any) -> nn.Module:
    """Builds a resizer.

    Args:
      kind: one of `KINDS`.
      dtype: of a learned one's network.
      **fields: of `LearnedResizer`. A control takes `method` and `antialias` of them,
        so that a config can switch the kind alone.

    Raises:
      ConfigError: unknown kind or field, or a value that no resizer has.
    """
    if kind not in KINDS:
        raise ConfigError(unknown("resizer", kind, KINDS))
    names = {field.name for field in dataclasses.fields(LearnedResizer)}
    names -= {"parent", "name", "dtype"}
    for name in fields:
        if name not in names:
            raise ConfigError(unknown("field of a resizer", name, names))
    learned = LearnedResizer(dtype=jnp.dtype(dtype), **fields)
    _check_fields(learned)
    if kind == "learned":
        return learned
    return BilinearResizer(learned.method, learned.antialias)


def _check_fields(resizer: LearnedResizer) -> None:
    for name, least in (("features", 1), ("num_blocks", 1), ("out_channels", 1)):
        value = getattr(resizer, name)
        if value is None and name == "out_channels":
            continue
        if type(value) is not int or value < least:
            raise ConfigError(f"{name} must be a whole number from {least}: {value!r}")
    if resizer.method not in METHODS:
        raise ConfigError(unknown("method of resizing", resizer.method, METHODS))
    if resizer.norm is not None and resizer.norm not in NORMS:
        raise ConfigError(unknown("norm", resizer.norm, NORMS))


def create(
    variant: str = "resized",
    num_classes: int = 0,
    image_size: Size = 448,
    dtype: str = "float32",
    *,
    backbone: str,
    output_size: Size = 224,
    resizer: Mapping[str, Any] | None = None,
    options: Mapping[str, Any] | None = None,
) -> ResizedModel:
    """Builds a network of the registry behind a resizer, as the registry asks for one.

    Args:
      variant: "resized".
      num_classes: width of the logits; 0 for the pooled features.
      image_size: of the images before they are resized; any.
      dtype: of activations.
      backbone: a key of `registry.BACKBONES`.
      output_size: side, or (height, width), that it sees.
      resizer: arguments of `make`.
      options: further fields of the backbone.

    Raises:
      ConfigError: unknown names, or values that cannot be.
    """
    if variant != "resized" or backbone == "resized":
        raise ConfigError(unknown("network to resize for", backbone, ["see registry"]))
    height_width(image_size, "image_size")
    size = check_size(output_size)
    network = registry.backbone(
        backbone, num_classes, image_size=size, dtype=dtype, **(options or {})
    )
    return ResizedModel(make(dtype=dtype, **(resizer or {})), network, size)
