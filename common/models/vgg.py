"""VGG-16 and VGG-19: a classifier, and the trunk that perceptual distances look into.

Simonyan and Zisserman 2014 (arXiv 1409.1556), configurations D and E without batch
norm, as torchvision has them. Layers have the names of the authors' Caffe model.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from common.checkpoint import matching
from common.config import unknown
from common.errors import ConfigError
from common.models import torch_layout
from common.size import Size

# Table 1 of the paper: convolutions of each of the five stages, and their width.
_DEPTHS = {16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}
_WIDTHS = (64, 128, 256, 512, 512)
VARIANTS = {"vgg16": 16, "vgg19": 19}
# The least side that four pools leave a pixel of, and the least that five do.
LEAST_SIDE = 16
_LEAST_TO_CLASSIFY = 32
_POOLED = 7
_HIDDEN = 4096
# Where torchvision and timm keep what follows the trunk.
_CLASSIFIER = {
    "fc6": ("classifier.0", "pre_logits.fc1"),
    "fc7": ("classifier.3", "pre_logits.fc2"),
    "fc8": ("classifier.6", "head.fc"),
}


def max_pool(x: jax.Array) -> jax.Array:
    """Halves a map `[B, H, W, C]`; of an odd side the last pixel is dropped."""
    return nn.max_pool(x, (2, 2), (2, 2))


class Trunk(nn.Module):
    """The convolutions.

    Attributes:
      depth: 16 or 19, layers with weights of the whole network.
      dtype: of activations.
      precision: of the products, as jax.lax's; None is the backend's choice.
      pool: halves a map between stages.
      before_relu: also returns what comes into each ReLU, by the convolution's name.
    """

    depth: int = 16
    dtype: Any = jnp.float32
    precision: Any = None
    pool: Callable[[jax.Array], jax.Array] = max_pool
    before_relu: bool = False

    @nn.compact
    def __call__(self, images: jax.Array) -> dict[str, jax.Array]:
        """Images `[B, H, W, 3]` -> "relu1_1" ... "relu5_3" or "relu5_4", in order."""
        taps, x = {}, jnp.asarray(images, self.dtype)
        for name, stage, width in _convolutions(self.depth):
            if f"relu{stage}_1" not in taps and stage > 1:
                x = self.pool(x)
            x = nn.Conv(
                width,
                (3, 3),
                padding=1,
                dtype=self.dtype,
                precision=self.precision,
                kernel_init=nn.initializers.variance_scaling(2.0, "fan_out", "normal"),
                name=name,
            )(x)
            if self.before_relu:
                taps[name] = x
            # Its gradient at 0 is 0; that of a maximum with 0 would be 1/2.
            taps[name.replace("conv", "relu")] = x = nn.relu(x)
        return taps


class VGG(nn.Module):
    """A VGG; `init(key, images, method="features")` makes no weights but the trunk's.

    Attributes:
      depth: 16 or 19.
      num_classes: width of the logits; 0: none, but the 4096 they would be made of.
      dtype: of activations.
    """

    depth: int = 16
    num_classes: int = 1000
    dtype: Any = jnp.float32

    def setup(self) -> None:
        """Names the parts; their weights come with their first use."""
        init = nn.initializers.normal(0.01)
        self.trunk = Trunk(self.depth, self.dtype)
        self.fc6 = nn.DenseGeneral(
            _HIDDEN, axis=(1, 2, 3), dtype=self.dtype, kernel_init=init
        )
        self.fc7 = nn.Dense(_HIDDEN, dtype=self.dtype, kernel_init=init)
        self.dropout = nn.Dropout(0.5)
        if self.num_classes:
            self.fc8 = nn.Dense(self.num_classes, dtype=jnp.float32, kernel_init=init)

    def features(self, images: jax.Array) -> dict[str, jax.Array]:
        """Returns the maps after each ReLU.

        Args:
          images: `[B, H, W, 3]`, less the mean of ImageNet's channels and divided by
            their deviation, with sides of at least 16 pixels.

        Returns:
          "relu1_1" ... "relu5_3" or "relu5_4" to `[B, h, w, C]`, where stage s has
          1 / 2^(s - 1) of the size.

        Raises:
          ValueError: the images are too small.
        """
        _check_side(images, LEAST_SIDE)
        return self.trunk(images)

    def __call__(self, images: jax.Array, train: bool = False) -> jax.Array:
        """`[B, H, W, 3]`, normalised -> float32 `[B, num_classes]`, or `[B, 4096]`."""
        _check_side(images, _LEAST_TO_CLASSIFY)
        *_, last = self.trunk(images).values()
        x = _pool_to(max_pool(last), _POOLED)
        x = self.dropout(nn.relu(self.fc6(x)), deterministic=not train)
        x = nn.relu(self.fc7(x)).astype(jnp.float32)
        if not self.num_classes:
            return x
        return self.fc8(self.dropout(x, deterministic=not train))


def create(variant: str, num_classes: int = 1000, dtype: Any = "float32") -> VGG:
    """Returns a network; `apply(variables, images, train)` gives logits.

    Args:
      variant: "vgg16" or "vgg19".
      num_classes: width of the logits; 0 for a network that ends before them.
      dtype: of activations.

    Raises:
      ConfigError: unknown variant.
    """
    if variant not in VARIANTS:
        raise ConfigError(unknown("VGG", variant, VARIANTS))
    return VGG(VARIANTS[variant], num_classes, jnp.dtype(dtype))


def backbone(
    variant: str, num_classes: int, image_size: Size, dtype: Any = "float32"
) -> VGG:
    """Returns a network for any size of image, as the registry asks for one."""
    del image_size
    return create(variant, num_classes, dtype)


def read(
    init_from: str | os.PathLike[str], variables: Mapping[str, Any]
) -> dict[str, np.ndarray]:
    """Reads weights with torchvision's names or timm's, whose classifiers differ.

    Args:
      init_from: a `.safetensors` or `.npz` file.
      variables: of the network, or of its trunk alone, abstract.

    Returns:
      Flat names as in `variables` to arrays, the classifier as in the file.

    Raises:
      ConfigError: the file is a pickle or broken, or holds no such network.
      DataError: there is no such file.
    """
    wanted = dict(matching.leaves(variables))
    depth = 19 if "params/trunk/conv5_4/kernel" in wanted else 16
    layers = {ours: (theirs,) for ours, theirs in torch_layers(depth).items()}
    known = torch_layout.names(layers | _CLASSIFIER)
    known = {ours: theirs for ours, theirs in known.items() if ours in wanted}
    return torch_layout.read([init_from], known, variables, classifier="params/fc8/")


def torch_layers(depth: int) -> dict[str, str]:
    """Returns torchvision's names of the convolutions, by ours: "trunk/conv1_1"."""
    # In its sequence a ReLU follows each of them, and a pool each stage.
    return {
        f"trunk/{name}": f"features.{2 * number + stage - 1}"
        for number, (name, stage, _) in enumerate(_convolutions(depth))
    }


def _convolutions(depth: int) -> list[tuple[str, int, int]]:
    """Returns name, stage and width of each convolution."""
    if depth not in _DEPTHS:
        raise ConfigError(f"a VGG has depth {' or '.join(map(str, _DEPTHS))}: {depth}")
    return [
        (f"conv{stage}_{number}", stage, width)
        for stage, (count, width) in enumerate(
            zip(_DEPTHS[depth], _WIDTHS, strict=True), 1
        )
        for number in range(1, count + 1)
    ]


def _check_side(images: jax.Array, least: int) -> None:
    if min(images.shape[1:3]) < least:
        raise ValueError(
            f"this VGG needs images of at least {least} x {least} pixels, given "
            f"{' x '.join(map(str, images.shape[1:3]))}"
        )


def _pool_to(x: jax.Array, size: int) -> jax.Array:
    """Averages `[B, H, W, C]` over windows that cover it: `[B, size, size, C]`.

    Window i reaches from the floor of i n / size to the ceiling of (i + 1) n / size, so
    that windows overlap where n is no multiple, as PyTorch's adaptive pooling has it.
    """
    for axis in (1, 2):
        length = x.shape[axis]
        if length == size:
            continue
        matrix = np.zeros((size, length), np.float32)
        for i in range(size):
            first, end = i * length // size, -(-(i + 1) * length // size)
            matrix[i, first:end] = 1 / (end - first)
        mean = jnp.tensordot(x, matrix.astype(x.dtype), (axis, 1), precision="highest")
        x = jnp.moveaxis(mean, -1, axis)
    return x
