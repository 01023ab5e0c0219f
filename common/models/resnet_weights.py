"""Published weights of residual networks, with the names of torchvision and timm."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from common.checkpoint import matching
from common.errors import ConfigError
from common.models import named_arrays, torch_layout

# Our arrays to PyTorch's. A kernel and a scale are both called weight there.
_ARRAYS = {
    "kernel": "weight",
    "scale": "weight",
    "bias": "bias",
    "mean": "running_mean",
    "var": "running_var",
}
_BLOCK = re.compile(r"layer\d+\.\d+\.(?!.*num_batches_tracked$)")


def torch_name(name: str) -> str:
    """Returns the name of an array there: "params/layer1_0/conv1/kernel" here."""
    _, *layers, array = name.split("/")
    theirs = ".".join(layers).replace("downsample_conv", "downsample.0")
    theirs = theirs.replace("downsample_bn", "downsample.1")
    theirs = re.sub(r"^layer(\d+)_(\d+)", r"layer\1.\2", theirs)
    return f"{theirs}.{_ARRAYS[array]}"


def read(
    init_from: str | os.PathLike[str], variables: Mapping[str, Any]
) -> dict[str, np.ndarray]:
    """Reads weights with the names of torchvision or timm.

    Args:
      init_from: a `.safetensors` or `.npz` file.
      variables: of a `common.models.resnet.ResNet` with the stem "imagenet", abstract.

    Returns:
      Flat names as in `variables` to arrays, the classifier as in the file.

    Raises:
      ConfigError: the file is a pickle or broken, or holds another network, such as a
        deeper one.
      DataError: there is no such file.
    """
    known = {name: [torch_name(name)] for name, _ in matching.leaves(variables)}
    found = torch_layout.read([init_from], known, variables, classifier="params/fc/")
    _check_depth(init_from, {theirs for (theirs,) in known.values()})
    return found


def _check_depth(init_from: str | os.PathLike[str], known: Collection[str]) -> None:
    """A deeper network has all the arrays of a shallower one, and more."""
    names = named_arrays.listed(init_from)
    more = [name for name in names if _BLOCK.match(name) and name not in known]
    if more:
        raise ConfigError(
            f"{init_from} holds a deeper or another ResNet: {len(more)} arrays more, "
            f"as {', '.join(more[:3])}"
        )
