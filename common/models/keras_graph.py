"""Networks of Keras as graphs without weights: functions of the weights given to them.

A graph is made under `jax.eval_shape`: its variables have names, shapes and
initialisers but no values, and no initialiser is compiled, which would take half a
minute.
"""

from __future__ import annotations

import dataclasses
import functools
import os
import re
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from common.config import unknown
from common.errors import ConfigError
from common.kernels.depthwise import depthwise_conv

# Of activations -> Keras' name of the policy; variables are float32 in both.
DTYPES = {"float32": "float32", "bfloat16": "mixed_bfloat16"}
STATISTICS = ("moving_mean", "moving_variance")


@dataclasses.dataclass(frozen=True)
class Network:
    """A function of `keras.applications`.

    Attributes:
      function: its name.
      first: the first layer with weights, which no other network here has.
      dropout: share of the features that it leaves out before its classifier.
    """

    function: str
    first: str
    dropout: float = 0.0


NETWORKS = {
    "mobilenet_v2": Network("MobileNetV2", "Conv1"),
    "densenet121": Network("DenseNet121", "conv1_conv"),
    "efficientnet_b0": Network("EfficientNetB0", "stem_conv", dropout=0.2),
    "inception_v3": Network("InceptionV3", "conv2d"),
}


@dataclasses.dataclass(frozen=True)
class Spec:
    """A variable of a layer.

    Attributes:
      layer: its name.
      name: of the variable in it.
      shape: of the array.
      init: makes a first value from a key, a shape and a dtype.
    """

    layer: str
    name: str
    shape: tuple[int, ...]
    init: Callable[..., jax.Array]


@dataclasses.dataclass(frozen=True)
class Graph:
    """A network up to its last map.

    Attributes:
      model: of Keras; it holds no values.
      params: specs of what is learned, in the order in which the model takes it.
      state: the same of the rest; None for the state of a random generator.
    """

    model: Any
    params: tuple[Spec, ...]
    state: tuple[Spec | None, ...]

    def layers(self) -> Mapping[str, list[Spec]]:
        """Returns the specs by layer."""
        found: dict[str, list[Spec]] = {}
        for spec in (*self.params, *self.state):
            if spec is not None:
                found.setdefault(spec.layer, []).append(spec)
        return found


def find(variant: str) -> Network:
    """Returns what is known of a network.

    Raises:
      ConfigError: unknown name.
    """
    if variant not in NETWORKS:
        raise ConfigError(unknown("network of Keras", variant, NETWORKS))
    return NETWORKS[variant]


def library() -> Any:
    """Imports Keras, which takes seconds, with JAX as its backend.

    Raises:
      ConfigError: it runs on another backend, or with channels before rows.
    """
    backend = os.environ.setdefault("KERAS_BACKEND", "jax")
    layout = "channels_last"
    if backend == "jax":
        import keras

        # It may have been imported, with another backend, before the variable was set.
        backend, layout = keras.config.backend(), keras.config.image_data_format()
        if (backend, layout) == ("jax", "channels_last"):
            return keras
    raise ConfigError(
        f"Keras has the backend {backend!r} and the layout {layout!r}, needed are "
        "'jax' and 'channels_last': set the environment variable KERAS_BACKEND=jax "
        "before anything imports keras, and see image_data_format in "
        "~/.keras/keras.json"
    )


@functools.cache
def original(variant: str, classes: int = 0) -> Any:
    """Returns the model as Keras makes it, without values.

    Args:
      variant: a key of `NETWORKS`.
      classes: width of its classifier; 0: it ends with the last map.
    """
    make = getattr(library().applications, find(variant).function)
    if classes:
        # With a classifier Keras wants to know the size.
        options = {"classes": classes, "input_shape": (224, 224, 3)}
    else:
        options = {"include_top": False, "input_shape": (None, None, 3)}
    model = _abstractly(lambda: make(weights=None, **options))
    _renumber(model)
    return model


@functools.cache
def trunk(variant: str, dtype: str, momentum: float | None = None) -> Graph:
    """Returns a network that takes normalised images, without its classifier.

    Layers that normalise are left out, and depthwise convolutions are those of
    `common.kernels.depthwise`.

    Args:
      variant: a key of `NETWORKS`.
      dtype: of activations, a key of `DTYPES`.
      momentum: of batch norms; None: as in Keras.

    Raises:
      ConfigError: unknown name or dtype, or Keras has another backend.
    """
    if dtype not in DTYPES:
        raise ConfigError(unknown(f"dtype of {variant}", dtype, DTYPES))
    keras = library()
    left_out = (keras.layers.Rescaling, keras.layers.Normalization)

    def clone(layer: Any) -> Any:
        kind, config = type(layer), layer.get_config() | {"dtype": DTYPES[dtype]}
        if isinstance(layer, left_out):
            return keras.layers.Identity(name=layer.name)
        if isinstance(layer, keras.layers.DepthwiseConv2D):
            kind = _depthwise_class()
        if isinstance(layer, keras.layers.BatchNormalization) and momentum is not None:
            config["momentum"] = momentum
        return kind.from_config(config)

    model = _abstractly(
        lambda: keras.models.clone_model(original(variant), clone_function=clone)
    )
    layers = {id(v): layer for layer in model.layers for v in layer.weights}
    return Graph(
        model,
        params=tuple(_spec(layers[id(v)], v) for v in model.trainable_variables),
        state=tuple(
            _spec(layers[id(v)], v) if id(v) in layers else None
            for v in model.non_trainable_variables
        ),
    )


@functools.cache
def _depthwise_class() -> type:
    base: Any = library().layers.DepthwiseConv2D

    class Depthwise(base):
        """Keras' layer, of one filter per channel and no bias, with our kernel."""

        def call(self, inputs: jax.Array) -> jax.Array:
            kernel = jnp.swapaxes(self.kernel.value, 2, 3)
            padding = self.padding.upper()
            return depthwise_conv(inputs, kernel, self.strides[0], padding)

    return Depthwise


def _abstractly(make: Callable[[], Any]) -> Any:
    """Calls a function that makes a model with none of its arrays computed."""
    models: list[Any] = []
    jax.eval_shape(lambda: models.append(make()))
    return models[0]


def _renumber(model: Any) -> None:
    """Gives layers without names of their own those that they have in a new process.

    Inception-v3 leaves it to Keras to number its layers, on through a process.
    """
    for kind in ("conv2d", "batch_normalization"):
        layers = {}
        for layer in model.layers:
            found = re.fullmatch(rf"{kind}(?:_(\d+))?", layer.name)
            if found:
                layers[int(found[1] or 0)] = layer
        for number, old in enumerate(sorted(layers)):
            layers[old].name = f"{kind}_{number}" if number else kind


def _spec(layer: Any, variable: Any) -> Spec:
    name = variable.name
    initializer = getattr(layer, f"{name}_initializer", None)
    if initializer is None:  # of the kernel of a depthwise convolution
        initializer = layer.depthwise_initializer
    return Spec(layer.name, name, tuple(variable.shape), _init(initializer))


def _init(initializer: Any) -> Callable[..., jax.Array]:
    """Returns JAX's counterpart of an initialiser; fans are counted the same way."""
    kinds = library().initializers
    if isinstance(initializer, kinds.Zeros):
        return jax.nn.initializers.zeros
    if isinstance(initializer, kinds.Ones):
        return jax.nn.initializers.ones
    if not isinstance(initializer, kinds.VarianceScaling):
        raise TypeError(f"no counterpart of {initializer} is known")
    names = {"untruncated_normal": "normal"}
    distribution: Any = names.get(initializer.distribution, initializer.distribution)
    return jax.nn.initializers.variance_scaling(
        initializer.scale, initializer.mode, distribution
    )
