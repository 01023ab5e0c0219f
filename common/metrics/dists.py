"""DISTS: a perceptual distance that forgives textures.

Ding et al. 2020, "Image Quality Assessment: Unifying Structure and Texture Similarity"
(arXiv 2004.07728), as its authors' PyTorch package computes it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from common.errors import ConfigError
from common.metrics import trunks
from common.models import torch_layout

_NET = "vgg16"
# Maps that are compared, besides the image itself, as in the package.
_TAPS = ("relu1_2", "relu2_2", "relu3_3", "relu4_3", "relu5_3")
_CHANNELS = 3 + 64 + 128 + 256 + 512 + 512
# c1 and c2 beside the moments of a map, from the package.
_C1 = _C2 = 1e-6
# Under the root of the pooling, so that it has a gradient at 0; from the package.
_ROOT = 1e-12


def load(paths: trunks.Paths) -> dict[str, Any]:
    """Reads weights of DISTS.

    Args:
      paths: `.safetensors` or `.npz` files that hold together: the trunk of VGG-16 with
        the names of the authors' package (`stage1.0.weight`) or of torchvision
        (`features.0.weight`), and `alpha` and `beta`, `[1, 1475, 1, 1]`, which the
        authors' `weights.pt` has; PyTorch's pickles have to be converted.

    Returns:
      `{"params": {"trunk", "alpha", "beta"}}`, float32, the latter two `[1475]`.

    Raises:
      ConfigError: a pickle, or weights that are missing, of another shape, not finite
        or of no positive sum.
      DataError: there is no such file.
    """
    layers = {}
    for ours, theirs in trunks.torch_layers(_NET).items():
        stage, index = ours.removeprefix("trunk/conv")[0], theirs.split(".")[1]
        layers[ours] = [theirs, f"stage{stage}.{index}"]
    known = torch_layout.names(layers)
    known |= {f"params/{name}": [name] for name in ("alpha", "beta")}
    weight = jax.ShapeDtypeStruct((_CHANNELS,), jnp.float32)
    target = {"trunk": trunks.parameters(_NET), "alpha": weight, "beta": weight}
    variables = trunks.read(paths, known, {"params": target})
    total = sum(float(variables["params"][name].sum()) for name in ("alpha", "beta"))
    if not total > 0:
        raise ConfigError(f"{paths}: alpha and beta have the sum {total}, no positive")
    return variables


def dists(
    variables: Mapping[str, Any],
    a: jax.Array,
    b: jax.Array,
    *,
    precision: Any = "highest",
) -> jax.Array:
    """Returns the distance of each pair of images, which has a gradient everywhere.

    The authors' evaluation first scales images whose shorter side is longer than 256
    pixels down to that; here images count as they are given.

    Args:
      variables: of `load`.
      a: `[B, H, W, 3]` in [0, 1], which cannot be checked under `jax.jit`, or uint8.
      b: of the same shape; the distance is symmetric.
      precision: of the products, as jax.lax's. The default makes all backends agree;
        None is faster where the backend has a shorter format, and enough for a loss.

    Returns:
      float32 `[B]`: 0 for equal images, but for rounding; about 1 where nothing is
      alike.

    Raises:
      ValueError: the shapes differ, or are none of images.
    """
    both = trunks.side_by_side(a, b, 1)
    maps = trunks.apply(
        variables, trunks.imagenet(both), _NET, precision=precision, pool=_l2_pool
    )
    texture, structure = [], []
    for tap in (both, *(maps[name] for name in _TAPS)):
        t, s = _differences(*trunks.apart(tap))
        texture.append(t)
        structure.append(s)
    alpha, beta = (variables["params"][name] for name in ("alpha", "beta"))
    total = (jnp.concatenate(texture, axis=-1) * alpha).sum(-1)
    total += (jnp.concatenate(structure, axis=-1) * beta).sum(-1)
    return total / (alpha.sum() + beta.sum())


def _differences(x: jax.Array, y: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns 1 less the similarities of texture and of structure, each `[B, C]`.

    So written, not as differences of similarities from 1, they are exact near 0: with
    the same denominators what is left above them are the square of the difference of
    the means, and the variance of the difference.
    """
    mean_x, mean_y = x.mean((1, 2)), y.mean((1, 2))
    x, y = x - mean_x[:, None, None], y - mean_y[:, None, None]
    square_x, square_y = jnp.square(x).mean((1, 2)), jnp.square(y).mean((1, 2))
    above = jnp.square(mean_x - mean_y)
    texture = above / (jnp.square(mean_x) + jnp.square(mean_y) + _C1)
    return texture, jnp.square(x - y).mean((1, 2)) / (square_x + square_y + _C2)


def _l2_pool(x: jax.Array) -> jax.Array:
    """Halves a map `[B, H, W, C]`: the root of the blurred square.

    The window is Hann's of 5 x 5 without its zeros: [1, 2, 1] / 4 in each direction.
    Sides are rounded up.
    """
    x = jnp.square(x)
    for axis in (1, 2):
        last = x.shape[axis] - 1
        padding = [(0, 0)] * x.ndim
        padding[axis] = (1, 1)
        padded = jnp.pad(x, padding)
        first, middle, end = (
            jax.lax.slice_in_dim(padded, i, i + last + 1, stride=2, axis=axis)
            for i in range(3)
        )
        x = (first + end) / 4 + middle / 2
    return jnp.sqrt(x + _ROOT)
