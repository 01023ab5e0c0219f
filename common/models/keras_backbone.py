"""Networks of `keras.applications` as Linen.

MobileNet-v2, DenseNet-121, EfficientNet-B0 and Inception-v3.

Keras defines the networks and computes them, on JAX; Linen holds their variables, under
Keras' names: "params/Conv1/kernel", "batch_stats/bn_Conv1/moving_mean". Images are
normalised before, not inside, as the published weights expect it ("half" for
MobileNet-v2 and Inception-v3, "imagenet" for the others); where a map has an odd side,
strided convolutions pad as in Keras' networks for images of any size. Inception-v3,
which pads nothing at first, needs sides of at least 75 pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from common.config import unknown
from common.errors import ConfigError
from common.models import keras_graph
from common.models.keras_graph import DTYPES, STATISTICS, Spec
from common.size import Size


class _Layer(nn.Module):
    """Holds the variables of a layer."""

    specs: Sequence[Spec]

    @nn.compact
    def __call__(self) -> dict[str, Any]:
        """Arrays of what is learned, Linen's variables of statistics, by name."""
        return {spec.name: self._variable(spec) for spec in self.specs}

    def _variable(self, spec: Spec) -> Any:
        if spec.name in STATISTICS:
            # Zeros and ones, for which no key is needed.
            make = (None, spec.shape, jnp.float32)
            return self.variable("batch_stats", spec.name, spec.init, *make)
        return self.param(spec.name, spec.init, spec.shape, jnp.float32)


class KerasBackbone(nn.Module):
    """A network of `keras_graph.NETWORKS`.

    Attributes:
      variant: which.
      num_classes: width of the logits; 0: none, but what they would be made of.
      dtype: of activations, a key of `keras_graph.DTYPES`.
      norm_momentum: what a batch norm keeps of its statistics at each step; None: as
        Keras has it, 0.99 or, in MobileNet-v2, 0.999.
    """

    variant: str
    num_classes: int
    dtype: str = "float32"
    norm_momentum: float | None = None

    @nn.compact
    def __call__(self, images: jax.Array, train: bool = False) -> jax.Array:
        """Normalised `[B, H, W, 3]` -> float32 `[B, num_classes]`, or `[B, C]`."""
        x = self._map(jnp.asarray(images, jnp.float32), train)
        x = jnp.mean(x.astype(jnp.float32), (1, 2))
        if not self.num_classes:
            return x
        dropout = keras_graph.find(self.variant).dropout
        x = nn.Dropout(dropout, deterministic=not train)(x)
        return nn.Dense(self.num_classes, dtype=jnp.float32, name="predictions")(x)

    def _map(self, images: jax.Array, train: bool) -> jax.Array:
        """Runs the graph on the variables, and keeps the statistics it returns."""
        graph = keras_graph.trunk(self.variant, self.dtype, self.norm_momentum)
        held = {
            name: _Layer(specs, name=name)() for name, specs in graph.layers().items()
        }
        seeds = iter(self._seeds(graph.state.count(None), train))
        x, state = graph.model.stateless_call(
            [held[spec.layer][spec.name] for spec in graph.params],
            [
                next(seeds) if spec is None else held[spec.layer][spec.name].value
                for spec in graph.state
            ],
            images,
            training=train,
        )
        keep = train and not self.is_initializing()
        if keep and self.is_mutable_collection("batch_stats"):
            for spec, value in zip(graph.state, state, strict=True):
                if spec is not None:
                    held[spec.layer][spec.name].value = value
        return x

    def _seeds(self, count: int, train: bool) -> jax.Array:
        """State of the random generators of dropped paths, `[count, 2]`."""
        if not (train and count):
            return jnp.zeros((count, 2), jnp.uint32)
        return jax.random.bits(self.make_rng("dropout"), (count, 2), jnp.uint32)


def backbone(
    variant: str,
    num_classes: int,
    image_size: Size,
    dtype: Any = "float32",
    norm_momentum: float | None = None,
) -> KerasBackbone:
    """Returns a network for any size of image, as the registry asks for one.

    Args:
      variant: a key of `keras_graph.NETWORKS`.
      num_classes: width of the logits, or 0.
      image_size: any.
      dtype: of activations.
      norm_momentum: what a batch norm keeps of its statistics at each step; less than
        the usual where training is short.

    Raises:
      ConfigError: unknown variant, another dtype than "float32" and "bfloat16", or a
        momentum outside of [0, 1).
    """
    del image_size
    keras_graph.find(variant)
    name = jnp.dtype(dtype).name
    if name not in DTYPES:
        raise ConfigError(unknown(f"dtype of {variant}", name, DTYPES))
    if norm_momentum is not None and not 0 <= norm_momentum < 1:
        raise ConfigError(f"norm_momentum is {norm_momentum}, expected one in [0, 1)")
    return KerasBackbone(variant, num_classes, name, norm_momentum)
