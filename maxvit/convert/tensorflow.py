"""Weights of the official TensorFlow checkpoints (google-research/maxvit).

Names are those of the published graphs. `dump_tensorflow` turns a checkpoint into the
mapping that is read here; only that script needs TensorFlow.
"""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
from absl import logging

from maxvit.convert import layouts
from maxvit.convert.layouts import Leaf, Table, vector

_BIAS = vector("bias")
_CONV = Leaf("params", "kernel", "hwio", "hwio")
_POINTWISE = Leaf("params", "kernel", "hwio", "io")

CONV = {"kernel": _CONV, "bias": _BIAS}
DEPTHWISE = {"depthwise_kernel": Leaf("params", "kernel", "hwom", "hwmo")}
POINTWISE = {"kernel": _POINTWISE, "bias": _BIAS}
POINTWISE_NO_BIAS = {"kernel": _POINTWISE}
DENSE = {"weight": Leaf("params", "kernel", "io", "io"), "bias": _BIAS}
LAYER_NORM = {"gamma": vector("scale"), "beta": _BIAS}
BATCH_NORM = LAYER_NORM | {
    "moving_mean": vector("mean", "batch_stats"),
    "moving_variance": vector("var", "batch_stats"),
}
# h heads of d channels; ours fuses them, and then query, key and value.
FROM_HEADS = {"weight": Leaf("params", "kernel", "hdo", "(hd)o"), "bias": _BIAS}
TO_HEADS = {
    "weight": Leaf("params", "kernel", "ihd", "i(hd)"),
    "bias": Leaf("params", "bias", "hd", "(hd)"),
}
BIAS_TABLE = {"relative_bias": Leaf("params", "relative_bias", "hpq", "hpq")}


def _transformer(suffix: str, ours: str) -> Table:
    """The layers of one of the block's two attentions."""
    attention, ffn = f"attention{suffix}", f"ffn{suffix}"
    return {
        f"attn_layer_norm{suffix}": (f"{ours}/attention_norm", LAYER_NORM),
        f"{attention}/q": (f"{ours}/attention/qkv", TO_HEADS),
        f"{attention}/k": (f"{ours}/attention/qkv", TO_HEADS),
        f"{attention}/v": (f"{ours}/attention/qkv", TO_HEADS),
        attention: (f"{ours}/attention", BIAS_TABLE),
        f"{attention}/o": (f"{ours}/attention/out", FROM_HEADS),
        f"ffn_layer_norm{suffix}": (f"{ours}/ffn_norm", LAYER_NORM),
        f"{ffn}/expand_dense": (f"{ours}/ffn/expand", DENSE),
        f"{ffn}/shrink_dense": (f"{ours}/ffn/shrink", DENSE),
    }


TENSORFLOW = layouts.Format(
    title="an official TensorFlow checkpoint",
    separator="/",
    block="block_{stage:02d}_{block:02d}/",
    ends={
        "stem/conv_0": ("stem/conv1", CONV),
        "stem/norm_0": ("stem/norm1", BATCH_NORM),
        "stem/conv_1": ("stem/conv2", CONV),
        "final_layer_norm": ("head/norm", LAYER_NORM),
        "cls_head/inner_dense": ("head/hidden", DENSE),
        "cls_head/logit_dense": ("head/logits", DENSE),
    },
    layers={
        "mbconv/pre_norm": ("mbconv/pre_norm", BATCH_NORM),
        "mbconv/expand_conv": ("mbconv/expand_conv", POINTWISE_NO_BIAS),
        "mbconv/expand_norm": ("mbconv/expand_norm", BATCH_NORM),
        "mbconv/depthwise_conv": ("mbconv/depthwise_conv", DEPTHWISE),
        "mbconv/depthwise_norm": ("mbconv/depthwise_norm", BATCH_NORM),
        "mbconv/se/reduce_conv2d": ("mbconv/se/reduce", POINTWISE),
        "mbconv/se/expand_conv2d": ("mbconv/se/expand", POINTWISE),
        "mbconv/shrink_conv": ("mbconv/shrink_conv", POINTWISE),
        **_transformer("", "block_attention"),
        **_transformer("_1", "grid_attention"),
    },
    shortcut={"mbconv/shortcut_conv": ("mbconv/shortcut_conv", POINTWISE)},
)

_SCOPE = "maxvit/"
_AVERAGE = "/ExponentialMovingAverage"
# What training keeps beside the weights: counters, and the slots of optimisers.
_BOOKKEEPING = re.compile(
    r"(^|/)(global_step|save_counter|beta[12]_power)$"
    r"|/(Adam\w*|adam_[mv]|LAMB\w*|RMSProp|Momentum)(_\d+)?$"
)


def is_bookkeeping(name: str) -> bool:
    """Whether a variable of a checkpoint belongs to its training, not its model."""
    return _BOOKKEEPING.search(name) is not None


def from_tensorflow(variables: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Converts the variables of an official checkpoint.

    The published results use the moving average of the weights, batch statistics
    included, so a variable's copy `*/ExponentialMovingAverage` counts where there is
    one. The tables of relative positions keep their size, 13 x 13 in the published
    checkpoints of every resolution: `maxvit.bias_tables` resizes them.

    Args:
      variables: variable names, with or without the scope `maxvit/`, to arrays. The
        number of stages and blocks is read from the names; step counters and slots of
        optimisers are left out.

    Returns:
      `{"params", "batch_stats"}`, nested, float32, for `maxvit.models.create` with
      the same sizes.

    Raises:
      ConfigError: a name is unknown or missing, or an array has the wrong number of
        axes or values that are not finite.
    """
    model = {
        name.removeprefix(_SCOPE): array
        for name, array in variables.items()
        if not is_bookkeeping(name)
    }
    averages = {
        name.removesuffix(_AVERAGE): array
        for name, array in model.items()
        if name.endswith(_AVERAGE)
    }
    raw = {name: array for name, array in model.items() if not name.endswith(_AVERAGE)}
    converted = layouts.read(TENSORFLOW, raw | averages)
    without = raw.keys() - averages.keys()
    if averages and without:
        logging.warning(
            "%d of %d variables have no moving average, e.g. %s: their last value is "
            "used",
            len(without),
            len(raw | averages),
            min(without),
        )
    return converted
