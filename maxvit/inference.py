"""MaxViT for inference alone: batch norms folded away, and one portable file.

At inference a batch norm multiplies each channel and adds to it, and so do the
convolutions around it: `pre_norm` and `expand_norm` go into the 1 x 1 `expand_conv`
between them, `depthwise_norm` into the depthwise kernel, the stem's `norm1` into its
first convolution. All are exact: no folded norm stands before padding.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from common.errors import ConfigError
from maxvit.layers import BATCH_NORM
from maxvit.models import MaxViT

Tree = Mapping[str, Any]


def fold(model: MaxViT, variables: Tree) -> tuple[MaxViT, dict[str, Any]]:
    """Folds the batch norms into the convolutions.

    Args:
      model: as `maxvit.models.create` returns it.
      variables: `{"params", "batch_stats"}`.

    Returns:
      A model without batch norms, and its variables `{"params"}` in NumPy. It gives
      the same maps and logits, but for rounding.

    Raises:
      ConfigError: the model is folded already.
    """
    if model.folded:
        raise ConfigError("the model is folded already")
    params = _fold(variables["params"], variables["batch_stats"])
    return model.clone(folded=True), {"params": params}


def _fold(params: Tree, stats: Tree) -> dict[str, Any]:
    """Folds what lies in one module, and in those below it."""
    out = {
        name: _fold(value, stats.get(name, {})) if isinstance(value, Mapping) else value
        for name, value in params.items()
        if name not in stats or "mean" not in stats[name]
    }
    if "norm1" in stats:  # the stem
        scale, shift = _affine(params, stats, "norm1")
        conv = params["conv1"]
        out["conv1"] = {
            "kernel": np.asarray(conv["kernel"]) * scale,
            "bias": np.asarray(conv["bias"]) * scale + shift,
        }
    if "pre_norm" in stats:  # an MBConv
        scale, shift = _affine(params, stats, "pre_norm")
        kernel = np.asarray(params["expand_conv"]["kernel"])
        bias, kernel = shift @ kernel, scale[:, None] * kernel
        scale, shift = _affine(params, stats, "expand_norm")
        out["expand_conv"] = {"kernel": kernel * scale, "bias": bias * scale + shift}
        scale, shift = _affine(params, stats, "depthwise_norm")
        kernel = np.asarray(params["depthwise_conv"]["kernel"])
        out["depthwise_conv"] = {"kernel": kernel * scale, "bias": shift}
    return out


def _affine(params: Tree, stats: Tree, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Returns what a batch norm multiplies by and what it adds."""
    mean, var = (np.asarray(stats[name][key]) for key in ("mean", "var"))
    scale = np.asarray(params[name]["scale"]) / np.sqrt(var + BATCH_NORM["epsilon"])
    return scale, np.asarray(params[name]["bias"]) - mean * scale
