"""Published weights of Inception-v2, with the names of TF-slim's checkpoints.

TensorFlow turns a checkpoint into the file that is read here, wherever it is installed:

    import numpy as np, tensorflow as tf
    reader = tf.train.load_checkpoint("inception_v2.ckpt")
    names = reader.get_variable_to_shape_map()
    np.savez("inception_v2.npz", **{name: reader.get_tensor(name) for name in names})
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from common.checkpoint import matching
from common.errors import ConfigError
from common.models import named_arrays

SCOPE = "InceptionV2/"
_ENDS = {
    "conv/kernel": "weights",
    "depthwise_kernel": "depthwise_weights",
    "pointwise_kernel": "pointwise_weights",
    "BatchNorm/bias": "BatchNorm/beta",
    "BatchNorm/mean": "BatchNorm/moving_mean",
    "BatchNorm/var": "BatchNorm/moving_variance",
    "Logits/kernel": "Logits/Conv2d_1c_1x1/weights",
    "Logits/bias": "Logits/Conv2d_1c_1x1/biases",
    "bias": "biases",
}
_SCALE = re.compile(rf"{SCOPE}.*/BatchNorm/gamma$")
_END = re.compile(rf"({'|'.join(_ENDS)})$")


def read(
    init_from: str | os.PathLike[str], variables: Mapping[str, Any]
) -> dict[str, np.ndarray]:
    """Reads weights with TF-slim's names.

    Published weights have 1001 classes, the first of which is none of ImageNet's.

    Args:
      init_from: a `.npz` or `.safetensors` file with the variables of a checkpoint.
      variables: of a `common.models.inception.InceptionV2`, abstract.

    Returns:
      Flat names as in `variables` to arrays, the classifier as in the file.

    Raises:
      ConfigError: the file is a pickle or broken, or holds another network.
      DataError: there is no such file.
    """
    known = {name: [tensorflow_name(name)] for name, _ in matching.leaves(variables)}
    found = named_arrays.read([init_from], known, variables, _LAYOUT, "params/Logits/")
    scaled = [name for name in named_arrays.listed(init_from) if _SCALE.match(name)]
    if scaled:
        raise ConfigError(
            f"{init_from} holds another network: its norms scale, as {scaled[0]}, "
            "which those of TF-slim's inception_v2 do not"
        )
    return found


def tensorflow_name(name: str) -> str:
    """Returns the variable of TF-slim: "params/Conv2d_2b_1x1/conv/kernel" here."""
    _, name = name.split("/", 1)
    return SCOPE + _END.sub(lambda end: _ENDS[end[0]], name)


def _there(shape: named_arrays.Shape) -> named_arrays.Shape:
    """Returns the shape there: what is a matrix here is a convolution of 1 x 1."""
    return (1, 1, *shape) if len(shape) == 2 else shape


_LAYOUT = named_arrays.Layout(_there, named_arrays.same, width=-1)
