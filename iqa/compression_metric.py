"""Full-reference quality of compressed pictures, learned from preferences.

CIQA-style metrics: the paper (arXiv 2103.01114) publishes neither its network nor its
weights, so these two are ours, after its closest relatives. `DistanceMetric` compares
feature maps as LPIPS does (arXiv 1801.03924), `ConcatenationMetric` gives pooled
features of both pictures to a small network.

Each gives a version a score against its reference, higher being better; how likely
people prefer the second of two is the logistic function of the difference of their
scores, as in the model of Bradley and Terry.
"""

from __future__ import annotations

import inspect
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from common.config import unknown
from common.errors import ConfigError
from common.models import registry

MODELS = ("distance", "concatenation")
SMALL = "small"  # the trunk of ours, beside those of the registry
# VGG's taps of LPIPS and DISTS; table 1 of arXiv 1801.03924's supplement.
VGG_TAPS = ("relu1_2", "relu2_2", "relu3_3", "relu4_3", "relu5_3")
# LPIPS normalises features by their length with this added to its square.
_LENGTH = 1e-10
# Where the factor of the score, and the distance from which on it counts, begin, both
# before a softplus; our choice.
_GAIN, _SEEN = 4.0, -3.0
_HIDDEN = (512, 128)


class SmallTrunk(nn.Module):
    """Three convolutions that learn from a few photographs, without published weights.

    Attributes:
      widths: of the convolutions; all but the first halve the map.
      dtype: of activations.
    """

    widths: tuple[int, ...] = (16, 32, 64)
    dtype: Any = jnp.float32

    @nn.compact
    def features(self, images: jax.Array) -> dict[str, jax.Array]:
        """Normalised images `[B, H, W, 3]` -> "conv1", "conv2", ..."""
        maps, x = {}, images.astype(self.dtype)
        for number, width in enumerate(self.widths, 1):
            name, stride = f"conv{number}", 1 if number == 1 else 2
            x = nn.relu(nn.Conv(width, (3, 3), stride, dtype=self.dtype, name=name)(x))
            maps[name] = x
        return maps


class DistanceMetric(nn.Module):
    """Weighted distances between the feature maps of two pictures.

    A picture scores 0 against itself and less than 0 otherwise; both ways round the
    same. The score is the logarithm of the distance, as people see ratios of errors and
    not those that are far below what they notice; with the distance itself, which the
    largest errors rule, training ended further from the entropy of the shares.

    Attributes:
      backbone: with a method `features` -> name to `[B, h, w, C]`.
      taps: which of these maps; all of them when empty.
      dropout: share of the channels whose differences training leaves out.
    """

    backbone: nn.Module
    taps: tuple[str, ...] = ()
    dropout: float = 0.5

    @nn.compact
    def __call__(
        self, reference: jax.Array, versions: jax.Array, train: bool = False
    ) -> jax.Array:
        """Returns scores, float32 `[V, B]`.

        Args:
          reference: `[B, H, W, 3]`, normalised.
          versions: `[V, B, H, W, 3]`, of the same size.
          train: whether there is dropout, which needs the "dropout" random stream.
        """
        count = len(versions)
        maps = _maps(self.backbone, _stacked(reference, versions), train)
        total = jnp.zeros((count, len(reference)), jnp.float32)
        for name in self.taps or maps:
            if name not in maps:
                raise ConfigError(unknown("config.model.taps", name, maps))
            unit = _unit_length(maps[name].astype(jnp.float32))
            unit = unit.reshape(count + 1, -1, *unit.shape[1:])
            gaps = jnp.mean(jnp.square(unit[1:] - unit[:1]), (2, 3))
            # The same channels for all versions, or chance would decide their order.
            kept = nn.Dropout(
                self.dropout, broadcast_dims=(0,), deterministic=not train
            )(gaps)
            weight = self.param(
                f"weight_{name}", nn.initializers.ones, gaps.shape[-1:], jnp.float32
            )
            # Never negative: no difference makes a picture better.
            total += kept @ jnp.abs(weight)
        gain, seen = (
            jax.nn.softplus(
                self.param(name, nn.initializers.constant(value), (), jnp.float32)
            )
            for name, value in (("gain", _GAIN), ("seen", _SEEN))
        )
        return -gain * jnp.log1p(total / seen)


class ConcatenationMetric(nn.Module):
    """A small network on the pooled features of both pictures and their distance.

    What a picture scores against itself is not fixed; the loss can ask that nothing
    scores more.

    Attributes:
      backbone: with a method `features`, of which the last map is averaged, or
        `[B, H, W, 3]` -> `[B, C]`.
      dropout: after the first hidden layer.
    """

    backbone: nn.Module
    dropout: float = 0.5

    @nn.compact
    def __call__(
        self, reference: jax.Array, versions: jax.Array, train: bool = False
    ) -> jax.Array:
        """Returns scores, float32 `[V, B]`; see `DistanceMetric`."""
        count = len(versions)
        pooled = self._pooled(_stacked(reference, versions), train)
        pooled = pooled.astype(jnp.float32).reshape(count + 1, len(reference), -1)
        given, x = jnp.broadcast_to(pooled[:1], pooled[1:].shape), pooled[1:]
        x = jnp.concatenate([given, x, jnp.abs(given - x)], -1)
        x = nn.relu(nn.Dense(_HIDDEN[0], name="hidden1")(x))
        x = nn.Dropout(self.dropout, broadcast_dims=(0,), deterministic=not train)(x)
        x = nn.relu(nn.Dense(_HIDDEN[1], name="hidden2")(x))
        return nn.Dense(1, name="score")(x)[..., 0]

    def _pooled(self, images: jax.Array, train: bool) -> jax.Array:
        if not hasattr(self.backbone, "features"):
            pooled: Any = self.backbone(images, train)
            return pooled
        *_, last = _maps(self.backbone, images, train).values()
        return jnp.mean(last, (1, 2))


def create(
    name: str,
    backbone: str = "vgg16",
    taps: tuple[str, ...] = (),
    dropout: float = 0.5,
    image_size: Any = 256,
    dtype: str = "float32",
) -> DistanceMetric | ConcatenationMetric:
    """Builds a metric.

    Args:
      name: one of `MODELS`.
      backbone: "small", or a key of `registry.BACKBONES`; for "distance" one that has
        feature maps.
      taps: of "distance"; by default the usual five of VGG, all of others.
      dropout: in [0, 1).
      image_size: of crops in training.
      dtype: of activations.

    Raises:
      ConfigError: unknown names, or a field that cannot be.
    """
    if name not in MODELS:
        raise ConfigError(unknown("config.model.name", name, MODELS))
    if not 0 <= dropout < 1:
        raise ConfigError(f"config.model.dropout={dropout} must be in [0, 1)")
    if backbone == SMALL:
        trunk: Any = SmallTrunk(dtype=jnp.dtype(dtype))
    elif backbone not in registry.BACKBONES:
        names = (SMALL, *registry.BACKBONES)
        raise ConfigError(unknown("config.model.backbone", backbone, names))
    else:
        trunk = registry.backbone(backbone, 0, image_size, dtype)
    if name == "concatenation":
        if taps:
            raise ConfigError("config.model.taps are of config.model.name=distance")
        return ConcatenationMetric(trunk, dropout)
    if not hasattr(trunk, "features"):
        raise ConfigError(
            f"config.model.backbone={backbone} has no feature maps to compare: use "
            "small, vgg16 or vgg19, or config.model.name=concatenation"
        )
    usual = VGG_TAPS if backbone.startswith("vgg") else ()
    return DistanceMetric(trunk, tuple(taps) or usual, dropout)


def score(
    model: Any, variables: Any, reference: jax.Array, image: jax.Array
) -> jax.Array:
    """Returns the score of versions against their references, `[B]`.

    Args:
      model: a metric.
      variables: of it.
      reference: `[B, H, W, 3]`, normalised.
      image: of the same shape.
    """
    return model.apply(variables, reference, image[None])[0]


def difference(
    model: Any,
    variables: Any,
    reference: jax.Array,
    first: jax.Array,
    second: jax.Array,
) -> jax.Array:
    """Returns the score of the second less that of the first, `[B]`; see `score`."""
    scores = model.apply(variables, reference, jnp.stack([first, second]))
    return scores[1] - scores[0]


def probability(gap: jax.Array) -> jax.Array:
    """Returns how likely people prefer the second, of a `difference`."""
    return jax.nn.sigmoid(gap)


def _stacked(reference: jax.Array, versions: jax.Array) -> jax.Array:
    """Returns `[(V + 1) B, H, W, 3]`, the references first."""
    return jnp.concatenate([reference[None], versions]).reshape(-1, *versions.shape[2:])


def _maps(backbone: Any, images: jax.Array, train: bool) -> dict[str, jax.Array]:
    if "train" in inspect.signature(backbone.features).parameters:
        return backbone.features(images, train)
    return backbone.features(images)


def _unit_length(x: jax.Array) -> jax.Array:
    """Divides by the length over channels; of no length, zero stays zero."""
    return x * jax.lax.rsqrt(jnp.sum(jnp.square(x), -1, keepdims=True) + _LENGTH)
