"""Names of networks that other papers can use: papers never import each other.

A name stands for an import string, which is resolved when the network is asked for, so
that nothing is imported for the others.
"""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from common.config import unknown
from common.errors import ConfigError

if TYPE_CHECKING:
    import flax.linen as nn
    import numpy as np

    from common.classification import Classification
    from common.size import Size

# Name -> "module:Class" of a task. Its variants are its configs.
CLASSIFIERS = {"maxvit": "maxvit.tasks:Classification"}


@dataclasses.dataclass(frozen=True)
class Backbone:
    """A network that others put a head on.

    Attributes:
      create: "module:function", called with `variant`, `num_classes`, `image_size`,
        `dtype` and further fields.
      variant: which network of that function.
      weights: "module:function" that reads published weights, called with what
        `--init_from` names and the backbone's variables, abstract; None where nothing
        is published in a format that is read here.
      normalization: of images, as published weights expect it; a key of
        `common.data.normalization.STYLES`.
    """

    create: str
    variant: str
    weights: str | None = None
    normalization: str = "imagenet"


def _maxvit(variant: str) -> Backbone:
    return Backbone("maxvit.models:create", variant, "maxvit.convert.fitting:read")


BACKBONES: Mapping[str, Backbone] = {
    **{
        f"maxvit_{name}": _maxvit(name)
        for name in ("testing", "tiny", "small", "base", "large", "xlarge")
    },
    "resnet20": Backbone("common.models.resnet:backbone", "resnet20"),
    **{
        name: Backbone(
            "common.models.resnet:backbone", name, "common.models.resnet_weights:read"
        )
        for name in ("resnet18", "resnet34", "resnet50")
    },
    **{
        name: Backbone("common.models.vgg:backbone", name, "common.models.vgg:read")
        for name in ("vgg16", "vgg19")
    },
    **{
        name: Backbone(
            "common.models.keras_backbone:backbone",
            name,
            "common.models.keras_weights:read",
            style,
        )
        for name, style in (
            ("mobilenet_v2", "half"),
            ("densenet121", "imagenet"),
            ("efficientnet_b0", "imagenet"),
            ("inception_v3", "half"),
        )
    },
    "inception_v2": Backbone(
        "common.models.inception:backbone",
        "inception_v2",
        "common.models.inception_weights:read",
        "half",
    ),
    "cnniqa": Backbone("common.models.cnniqa:create", "cnniqa"),
    # Any of the others behind a learned resizer; its fields say which.
    "resized": Backbone("resizer.models:create", "resized", "resizer.weights:read"),
}


def backbone(
    name: str,
    num_classes: int = 0,
    image_size: Size = 224,
    dtype: str = "float32",
    **options: Any,
) -> nn.Module:
    """Builds a network.

    Args:
      name: a key of `BACKBONES`.
      num_classes: width of the logits; 0 for the pooled features, `[B, C]`.
      image_size: side, or (height, width), that it is built for.
      dtype: of activations.
      **options: further fields of this network.

    Returns:
      A module: `apply(variables, images, train=False)` takes normalised images
      `[B, H, W, 3]` and returns float32; "dropout" is its only random stream.

    Raises:
      ConfigError: unknown name, or a field that cannot be.
    """
    entry = _entry(name)
    return _resolve(entry.create)(
        entry.variant,
        num_classes=num_classes,
        image_size=image_size,
        dtype=dtype,
        **options,
    )


def normalization(name: str) -> str:
    """Returns how the published weights of a backbone want images to be normalised.

    Raises:
      ConfigError: unknown name.
    """
    return _entry(name).normalization


def read_weights(
    name: str, init_from: str, variables: Mapping[str, Any]
) -> dict[str, np.ndarray]:
    """Reads published weights of a backbone.

    Args:
      name: a key of `BACKBONES`.
      init_from: a file, a folder, or a name that this network's reader knows.
      variables: of the backbone, abstract.

    Returns:
      Flat names as in `variables`, such as "params/stem/conv1/kernel", to arrays.

    Raises:
      ConfigError: unknown name, weights that do not fit, or none to be read.
      DataError: nothing is there.
    """
    reader = _entry(name).weights
    if reader is None:
        raise ConfigError(
            f"{init_from} holds no weights of a run, and published weights of {name} "
            "are not read"
        )
    return _resolve(reader)(init_from, variables)


def _entry(name: str) -> Backbone:
    if name not in BACKBONES:
        raise ConfigError(unknown("backbone", name, BACKBONES))
    return BACKBONES[name]


def _resolve(name: str) -> Any:
    module, attribute = name.split(":")
    return getattr(importlib.import_module(module), attribute)


def find(name: str) -> type[Classification]:
    """Returns the task of a classifier.

    Args:
      name: a key of `CLASSIFIERS`.

    Raises:
      ConfigError: there is none of this name.
    """
    if name not in CLASSIFIERS:
        raise ConfigError(unknown("classifier", name, CLASSIFIERS))
    return _resolve(CLASSIFIERS[name])
