"""Layers that feature losses compare, and what they do with maps before.

    weights = feature_layers.find("default")
    maps = trunks.features(variables, images, list(weights))
    loss, layers = perceptual.feature_distance(maps, target_maps, weights)

Such a loss returns a scalar, the mean over the batch, and what each layer adds to each
image's loss, weighted.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp

from common.config import unknown
from common.errors import ConfigError

# Name of a layer -> what it adds to the loss of each image, float32 `[B]`.
Layers = dict[str, jax.Array]

# Weights of taps of VGG-19, as `common.metrics.trunks` names them: "relu1_2" is the map
# after a ReLU, "conv1_2" what comes into it.
PRESETS: Mapping[str, Mapping[str, float]] = {
    # Of the projected distribution loss (arXiv 2012.09289) these are inferred: the
    # paper's layers are not known to us.
    "default": dict.fromkeys(
        ("relu1_2", "relu2_2", "relu3_2", "relu4_2", "relu5_2"), 1.0
    ),
    # Our choice, for textures: the first three.
    "shallow": dict.fromkeys(("relu1_2", "relu2_2", "relu3_2"), 1.0),
    # The contextual loss (arXiv 1803.02077), from its authors' configuration.
    "cx": {"conv3_2": 1.0, "conv4_2": 1.0},
    # From an inpainting code that cites the projected distribution loss.
    "single": {"relu4_2": 1.0},
    # HilaManor/Generative-deep-features, generation from a single image.
    "gdf": {
        "conv1_1": 1.0,
        "conv2_1": 0.5,
        "conv3_1": 0.1,
        "conv4_1": 0.075,
        "conv5_1": 0.075,
    },
    # Before ReLUs as ESRGAN (arXiv 1809.00219) has it, with the five layers and weights
    # of Real-ESRGAN (arXiv 2107.10833, section 4.1), and L1.
    "esrgan": {
        "conv1_2": 0.1,
        "conv2_2": 0.1,
        "conv3_4": 1.0,
        "conv4_4": 1.0,
        "conv5_4": 1.0,
    },
    # As later code has SRGAN's loss. The paper itself (arXiv 1609.04802, section 2.2.1)
    # compares this layer after its ReLU: {"relu5_4": 1.0}, squared.
    "srgan": {"conv5_4": 1.0},
}
NORMALIZATIONS = ("target_std", "unit")
# Beside the length of a pixel's features, as in LPIPS.
_EPSILON = 1e-10
# Our choice: a map that varies less, as a dead one, is not scaled up.
_LEAST_STD = 1e-6


class Pair(NamedTuple):
    """Maps of one layer that are to be compared.

    Attributes:
      features: float32 `[B, h, w, C]`.
      target: float32 `[B, h', w', C]`, without a gradient.
      weight: of the layer.
    """

    features: jax.Array
    target: jax.Array
    weight: float


def find(name: str) -> dict[str, float]:
    """Returns the weights of a preset, tap of VGG-19 -> weight.

    Raises:
      ConfigError: there is none of this name.
    """
    if name not in PRESETS:
        raise ConfigError(unknown("preset of feature layers", name, PRESETS))
    return dict(PRESETS[name])


def prepare(
    features: Mapping[str, jax.Array],
    target_features: Mapping[str, jax.Array],
    weights: Mapping[str, float] | None = None,
    normalization: str | None = None,
    border: int = 0,
    *,
    same_size: bool = True,
) -> dict[str, Pair]:
    """Returns the maps that a loss compares.

    Args:
      features: layer -> `[B, H, W, C]`, of any float type.
      target_features: layer -> maps of the same images as they should be; no gradient
        goes here.
      weights: layer -> its weight, finite and not negative; other layers are not looked
        at. None: 1 for each, and both have the same layers.
      normalization: None; "target_std", which divides the maps of both by the standard
        deviation of all elements of an image's target map, a constant to the gradient,
        so that layers count alike; or "unit", which gives the features of each pixel
        the length 1, as LPIPS has it.
      border: pixels of each map that are cut off at each side, before normalisation:
        those near to it saw the zeros that convolutions pad with.
      same_size: refuses targets of another height and width.

    Returns:
      By layer, in the order of `weights`.

    Raises:
      ConfigError: an argument that cannot be, or a layer that is missing.
      ValueError: the shapes differ, are none of maps, or leave nothing within the
        border.
    """
    if normalization is not None and normalization not in NORMALIZATIONS:
        raise ConfigError(unknown("normalization", normalization, NORMALIZATIONS))
    if border < 0:
        raise ConfigError(f"border={border} must be at least 0")
    pairs = {}
    for name, weight in _weights(features, target_features, weights).items():
        x, y = features[name], target_features[name]
        _check_shapes(name, x.shape, y.shape, border, same_size)
        x, y = (_cut(maps, border).astype(jnp.float32) for maps in (x, y))
        x, y = _normalize(x, jax.lax.stop_gradient(y), normalization)
        pairs[name] = Pair(x, y, weight)
    return pairs


def unit(maps: jax.Array) -> jax.Array:
    """Returns `[..., C]` divided by the length of the last axis; 0 stays 0.

    LPIPS' small constant is added to the length. Where that is 0 the gradient is too,
    and not that of a root, which is infinite.
    """
    square = jnp.square(maps).sum(-1, keepdims=True)
    some = square > 0
    length = jnp.where(some, jnp.sqrt(jnp.where(some, square, 1)), 0)
    return maps / (length + _EPSILON)


def total(layers: Layers) -> tuple[jax.Array, Layers]:
    """Returns the sum over layers, averaged over the batch, and the layers."""
    return jnp.stack(list(layers.values())).sum(0).mean(), layers


def _weights(
    features: Mapping[str, jax.Array],
    target_features: Mapping[str, jax.Array],
    weights: Mapping[str, float] | None,
) -> dict[str, float]:
    """Returns the weights, of layers that both have."""
    if weights is None:
        weights = dict.fromkeys((*features, *target_features), 1.0)
    if not weights:
        raise ConfigError("a feature loss needs at least one layer")
    for name, weight in weights.items():
        for what, given in (("features", features), ("targets", target_features)):
            if name not in given:
                raise ConfigError(unknown(f"layer of the {what}", name, given))
        # Written so that a NaN fails; what is traced has no value yet.
        traced = isinstance(weight, jax.core.Tracer)
        if not traced and not 0 <= weight < math.inf:
            raise ConfigError(f"weight of {name}={weight} must be at least 0")
    return dict(weights)


def _check_shapes(
    name: str, x: tuple[int, ...], y: tuple[int, ...], border: int, same_size: bool
) -> None:
    if len(x) != 4 or len(y) != 4:
        raise ValueError(f"maps are [B, H, W, C], given {name}: {x} and target {y}")
    if (x[0], x[3]) != (y[0], y[3]) or (same_size and x != y):
        raise ValueError(f"{name}: maps {x} and target {y} differ in shape")
    least = min(*x[1:3], *y[1:3])
    if least <= 2 * border:
        raise ValueError(
            f"{name}: a border of {border} leaves nothing of a side of {least}"
        )


def _cut(maps: jax.Array, border: int) -> jax.Array:
    height, width = maps.shape[1:3]
    return maps[:, border : height - border, border : width - border]


def _normalize(
    x: jax.Array, y: jax.Array, normalization: str | None
) -> tuple[jax.Array, jax.Array]:
    if normalization == "unit":
        return unit(x), unit(y)
    if normalization == "target_std":
        std = y.std((1, 2, 3), keepdims=True)
        scale = jnp.where(std > _LEAST_STD, std, 1)
        return x / scale, y / scale
    return x, y
