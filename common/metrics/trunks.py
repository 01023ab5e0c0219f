"""Networks trained on ImageNet whose maps perceptual distances and losses compare.

variables = trunks.load("vgg19.safetensors", "vgg19")
maps = trunks.features(variables, images, ["relu2_2", "relu3_4"], net="vgg19")
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from common.checkpoint import matching
from common.config import unknown
from common.data import normalization
from common.errors import ConfigError
from common.models import alexnet, torch_layout, vgg

NETS = ("alex", "vgg16", "vgg19")
# One file, or several that hold the arrays together.
Paths = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]


def load(paths: Paths, net: str = "vgg19") -> dict[str, Any]:
    """Reads a trunk from the file of torchvision's classifier.

    Args:
      paths: one `.safetensors` or `.npz` file with torchvision's names, as
        `features.0.weight`, or several. timm names these layers alike. What is none of
        the trunk's is not looked at.
      net: one of `NETS`.

    Returns:
      `{"params": {"trunk": ...}}`, float32.

    Raises:
      ConfigError: unknown `net`, a pickle, or weights that are missing, of another
        shape or not finite.
      DataError: there is no such file.
    """
    known = torch_layout.names({ours: [it] for ours, it in torch_layers(net).items()})
    return read(paths, known, {"params": {"trunk": parameters(net)}})


def untrained(net: str = "vgg19", seed: int = 0) -> dict[str, Any]:
    """Returns initial values of a trunk, for runs without any weights.

    What such maps compare is not what people see. They do tell textures apart, as
    random filters do, so that a loss or a distance of them has a meaning of its own.

    Args:
      net: one of `NETS`.
      seed: of the values.

    Returns:
      As `load`.

    Raises:
      ConfigError: unknown `net`.
    """
    images = jnp.zeros((1, 64, 64, 3))
    values = jax.jit(_module(net).init)(jax.random.key(seed), images)
    return {"params": {"trunk": values["params"]}}


def features(
    variables: Mapping[str, Any],
    images: jax.Array,
    taps: Sequence[str] | None = None,
    *,
    net: str = "vgg19",
    precision: Any = None,
) -> dict[str, jax.Array]:
    """Returns maps of images; differentiable, and free of what `jax.jit` forbids.

    Args:
      variables: of `load`; of the heads of a distance, if any, nothing is used.
      images: `[B, H, W, 3]` in [0, 1], which cannot be checked under `jax.jit`, or
        uint8. The mean and deviation of ImageNet's channels are applied here. Sides of
        at least 16 pixels for a VGG, 31 for AlexNet.
      taps: names such as "relu1_2" of VGG or "relu1" of AlexNet, and of a VGG "conv1_2"
        for what comes into that ReLU; None for all after ReLUs. Under `jax.jit` what
        lies behind the last is not computed.
      net: what `variables` are of.
      precision: of the products, as jax.lax's; None is the backend's choice, which
        suits losses.

    Returns:
      float32 `[B, h, w, C]` by name, in the order of `taps`.

    Raises:
      ConfigError: unknown `net` or tap.
      ValueError: the images have another form or are too small.
    """
    names, before = tap_names(net), _before_relu(net)
    for tap in taps or ():
        check_tap(net, tap)
    check_images(images, least_side(net))
    x = imagenet(as_float(images))
    # Outside of `jax.jit` maps that nobody asks for would only take memory.
    some = any(tap in before for tap in taps or ())
    maps = apply(variables, x, net, precision=precision, before_relu=some)
    return {name: maps[name] for name in taps or names}


def apply(
    variables: Mapping[str, Any],
    x: jax.Array,
    net: str,
    *,
    precision: Any = None,
    pool: Callable[[jax.Array], jax.Array] = vgg.max_pool,
    before_relu: bool = False,
) -> dict[str, jax.Array]:
    """Returns the maps of `x`, `[B, H, W, 3]`, which is normalised already.

    Args:
      variables: of `load`, or any with such a trunk.
      x: float32.
      net: one of `NETS`.
      precision: of the products.
      pool: halves a map between the stages of a VGG.
      before_relu: also returns what comes into the ReLUs of a VGG.
    """
    trunk = {"params": variables["params"]["trunk"]}
    maps: Any = _module(net, precision, pool, before_relu).apply(trunk, x)
    return maps


def read(
    paths: Paths, known: torch_layout.Names, target: Mapping[str, Any]
) -> dict[str, Any]:
    """Returns variables like the abstract `target`; see `torch_layout.read`."""
    if isinstance(paths, str | os.PathLike):
        paths = [paths]
    if not paths:
        raise ConfigError("no weight file is given")
    arrays = torch_layout.read(paths, known, target)
    # On the device once, not anew with each call.
    return jax.tree.map(jnp.asarray, matching.nest(arrays))


def torch_layers(net: str) -> dict[str, str]:
    """Returns torchvision's names of layers by ours: "trunk/conv1_1".

    Raises:
      ConfigError: unknown `net`.
    """
    if net not in NETS:
        raise ConfigError(unknown("feature network", net, NETS))
    return alexnet.TORCH_LAYERS if net == "alex" else vgg.torch_layers(_depth(net))


def parameters(net: str) -> dict[str, Any]:
    """Returns the abstract parameters of a trunk."""
    images = jax.ShapeDtypeStruct((1, 64, 64, 3), jnp.float32)
    module = _module(net)
    return jax.eval_shape(module.init, jax.random.key(0), images)["params"]


def tap_names(net: str) -> list[str]:
    """Returns the names of all maps after ReLUs, in order."""
    return [name.replace("trunk/conv", "relu") for name in torch_layers(net)]


def check_tap(net: str, tap: str) -> None:
    """Refuses what `features` knows no map by.

    Raises:
      ConfigError: unknown `net` or tap.
    """
    known = (*tap_names(net), *_before_relu(net))
    if tap not in known:
        raise ConfigError(unknown(f"tap of {net}", tap, known))


def _before_relu(net: str) -> list[str]:
    """Returns the names of maps that come into the ReLUs of a VGG."""
    if net == "alex":
        return []
    return [tap.replace("relu", "conv") for tap in tap_names(net)]


def least_side(net: str) -> int:
    """Returns the least side of an image, in pixels, that leaves a last map."""
    return alexnet.LEAST_SIDE if net == "alex" else vgg.LEAST_SIDE


def imagenet(images: jax.Array) -> jax.Array:
    """Returns images in [0, 1] less ImageNet's mean, over its deviation."""
    return normalization.normalize(images * 255, "imagenet")


def side_by_side(a: Any, b: Any, least: int) -> jax.Array:
    """Returns pairs as one batch: a network that sees it runs once.

    Args:
      a: `[B, H, W, 3]` in [0, 1], or uint8.
      b: of the same shape.
      least: side in pixels.

    Returns:
      float32 `[2 B, H, W, 3]`, the images of a pair one after the other: unlike one
      batch behind the other this leaves them where they are when a batch is sharded.

    Raises:
      ValueError: the shapes differ, are none of images, or are too small.
    """
    if a.shape != b.shape:
        raise ValueError(f"images to compare have shapes {a.shape} and {b.shape}")
    check_images(a, least)
    check_images(b, least)
    both = jnp.stack([as_float(a), as_float(b)], axis=1)
    return both.reshape(-1, *a.shape[1:])


def apart(maps: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Undoes `side_by_side`: `[2 B, ...]` to two `[B, ...]`."""
    pairs = maps.reshape(-1, 2, *maps.shape[1:])
    return pairs[:, 0], pairs[:, 1]


def check_images(images: Any, least: int) -> None:
    """Refuses what is no batch of RGB images.

    Raises:
      ValueError: the shape or the type.
    """
    shape, dtype = images.shape, images.dtype
    if len(shape) != 4 or shape[3] != 3:
        raise ValueError(f"images are [B, H, W, 3], given {list(shape)}")
    if min(shape[1:3]) < least:
        raise ValueError(
            f"images need sides of at least {least} pixels, given {shape[1]} x "
            f"{shape[2]}"
        )
    if not (jnp.issubdtype(dtype, jnp.floating) or dtype == np.uint8):
        raise ValueError(f"images are floats in [0, 1] or uint8, given {dtype}")


def as_float(images: Any) -> jax.Array:
    """Returns float32 in [0, 1] of floats in [0, 1] or of uint8."""
    return jnp.asarray(normalization.to_unit(images), jnp.float32)


def _module(
    net: str,
    precision: Any = None,
    pool: Callable[[jax.Array], jax.Array] = vgg.max_pool,
    before_relu: bool = False,
) -> nn.Module:
    torch_layers(net)  # Refuses an unknown name.
    if net == "alex":
        return alexnet.Trunk(precision)
    return vgg.Trunk(
        _depth(net), precision=precision, pool=pool, before_relu=before_relu
    )


def _depth(net: str) -> int:
    return vgg.VARIANTS[net]
