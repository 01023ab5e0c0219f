"""LPIPS; and, under the same roof, DISTS and the networks that both look into.

Zhang et al. 2018, "The Unreasonable Effectiveness of Deep Features as a Perceptual
Metric" (arXiv 1801.03924), version 0.1 of the authors' PyTorch package `lpips`.

    variables = perceptual.load_lpips(["vgg16.safetensors", "lpips_vgg.safetensors"])
    distance = jax.jit(perceptual.lpips)(variables, a, b)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from common.config import unknown
from common.errors import ConfigError
from common.metrics import trunks
from common.metrics.dists import dists
from common.metrics.dists import load as load_dists
from common.metrics.trunks import features
from common.metrics.trunks import load as load_trunk
from common.models import torch_layout

__all__ = [
    "NETS",
    "dists",
    "features",
    "load_dists",
    "load_lpips",
    "load_trunk",
    "lpips",
    "lpips_layers",
    "untrained_lpips",
]

# net -> the trunk, and the maps that are compared, as in the package.
NETS = {
    "alex": ("alex", ("relu1", "relu2", "relu3", "relu4", "relu5")),
    "vgg": ("vgg16", ("relu1_2", "relu2_2", "relu3_3", "relu4_3", "relu5_3")),
}
# The package's normalisation of images in [-1, 1].
_SHIFT = (-0.030, -0.088, -0.188)
_SCALE = (0.458, 0.448, 0.450)
# The package's, beside the length of a pixel's features.
_EPSILON = 1e-10


def load_lpips(paths: trunks.Paths, net: str = "vgg") -> dict[str, Any]:
    """Reads weights of LPIPS.

    Args:
      paths: `.safetensors` or `.npz` files that hold together: the trunk with the names
        of torchvision (`features.0.weight`) or of the package (`net.slice1.0.weight`),
        and the package's five heads (`lin0.model.1.weight`, `[1, C, 1, 1]`). One file
        of a whole model of the package will do. PyTorch's pickles, which both come as,
        have to be converted; the message that refuses one says how.
      net: "vgg" or "alex".

    Returns:
      `{"params": {"trunk", "heads"}}`, float32.

    Raises:
      ConfigError: unknown `net`, a pickle, or weights that are missing, of another
        shape or not finite.
      DataError: there is no such file.
    """
    trunk, taps = _find(net)
    layers = {}
    for ours, theirs in trunks.torch_layers(trunk).items():
        slice_, index = ours.removeprefix("trunk/conv")[0], theirs.split(".")[1]
        layers[ours] = [theirs, f"net.slice{slice_}.{index}"]
    parameters = trunks.parameters(trunk)
    known, heads = torch_layout.names(layers), {}
    for number, tap in enumerate(taps):
        # A model of the package lists its heads twice; without dropout they come first
        # in their sequence.
        layers_of_head = (f"lin{number}.model.1", f"lins.{number}.model.1")
        layers_of_head += (f"lin{number}.model.0", f"lin{number}.1", f"lin{number}")
        known[f"params/heads/{tap}"] = [f"{name}.weight" for name in layers_of_head]
        bias = parameters[tap.replace("relu", "conv")]["bias"]
        heads[tap] = jax.ShapeDtypeStruct(bias.shape, jnp.float32)
    target = {"params": {"trunk": parameters, "heads": heads}}
    return trunks.read(paths, known, target)


def untrained_lpips(net: str = "vgg", seed: int = 0) -> dict[str, Any]:
    """Returns variables of LPIPS' form that learned nothing, for runs without any.

    A trunk of `trunks.untrained`, and heads by which channels count alike, 1 / C each.
    Distances are no LPIPS and must not be called so.

    Args:
      net: "vgg" or "alex".
      seed: of the trunk's values.

    Raises:
      ConfigError: unknown `net`.
    """
    trunk, taps = _find(net)
    variables = trunks.untrained(trunk, seed)
    heads = {}
    for tap in taps:
        layer = variables["params"]["trunk"][tap.replace("relu", "conv")]
        width = layer["bias"].shape[0]
        heads[tap] = jnp.full(width, 1 / width, jnp.float32)
    return {"params": {**variables["params"], "heads": heads}}


def lpips(
    variables: Mapping[str, Any],
    a: jax.Array,
    b: jax.Array,
    net: str = "vgg",
    *,
    precision: Any = "highest",
) -> jax.Array:
    """Returns the distance of each pair of images, which has a gradient everywhere.

    Args:
      variables: of `load_lpips`, for the same `net`.
      a: `[B, H, W, 3]` in [0, 1], which cannot be checked under `jax.jit`, or uint8.
        Sides of at least 16 pixels for "vgg", 31 for "alex".
      b: of the same shape; the distance is symmetric.
      net: "vgg", which the authors recommend as a loss, or "alex", which agrees best
        with people. A static argument of `jax.jit`.
      precision: of the products, as jax.lax's. The default makes all backends agree;
        None is faster where the backend has a shorter format, and enough for a loss.

    Returns:
      float32 `[B]`: 0 for equal images, but for rounding; not negative if the heads are
      not, which those of the package are not.

    Raises:
      ConfigError: unknown `net`.
      ValueError: the shapes differ, are none of images, or are too small.
    """
    layers = lpips_layers(variables, a, b, net, precision=precision)
    return jnp.stack(list(layers.values())).sum(0)


def lpips_layers(
    variables: Mapping[str, Any],
    a: jax.Array,
    b: jax.Array,
    net: str = "vgg",
    *,
    precision: Any = "highest",
) -> dict[str, jax.Array]:
    """Returns what each map adds to `lpips`, which see: tap -> float32 `[B]`."""
    trunk, taps = _find(net)
    both = trunks.side_by_side(a, b, trunks.least_side(trunk))
    shift, scale = jnp.array(_SHIFT), jnp.array(_SCALE)
    x = (2 * both - 1 - shift) / scale
    maps = trunks.apply(variables, x, trunk, precision=precision)
    heads = variables["params"]["heads"]
    return {tap: _compare(maps[tap], heads[tap]) for tap in taps}


def _find(net: str) -> tuple[str, tuple[str, ...]]:
    if net not in NETS:
        raise ConfigError(unknown("network of LPIPS", net, NETS))
    return NETS[net]


def _compare(maps: jax.Array, head: jax.Array) -> jax.Array:
    """Returns the weighted distance of features of length 1, averaged over pixels.

    Args:
      maps: `[2 B, h, w, C]`.
      head: `[C]`.
    """
    square = jnp.square(maps).sum(-1, keepdims=True)
    # Where a pixel has no features the root would have no gradient.
    some = square > 0
    length = jnp.where(some, jnp.sqrt(jnp.where(some, square, 1)), 0)
    x, y = trunks.apart(maps / (length + _EPSILON))
    return (jnp.square(x - y) * head).sum(-1).mean((1, 2))
