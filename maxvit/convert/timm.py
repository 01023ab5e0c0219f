"""Weights of timm's `maxvit_{size}_tf_{resolution}` models, in both directions.

Those are ports of the official checkpoints: layouts differ, values do not.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from common.errors import ConfigError
from maxvit.convert import layouts
from maxvit.convert.layouts import Leaf, Table, vector

_BIAS = vector("bias")
_CONV = Leaf("params", "kernel", "oihw", "hwio")
_POINTWISE = Leaf("params", "kernel", "oihw", "io")
_DENSE = Leaf("params", "kernel", "oi", "io")

CONV = {"weight": _CONV, "bias": _BIAS}
# A depthwise kernel has one input channel, so its layout is a convolution's.
DEPTHWISE = {"weight": _CONV}
POINTWISE = {"weight": _POINTWISE, "bias": _BIAS}
POINTWISE_NO_BIAS = {"weight": _POINTWISE}
DENSE = {"weight": _DENSE, "bias": _BIAS}
LAYER_NORM = {"weight": vector("scale"), "bias": _BIAS}
BATCH_NORM = LAYER_NORM | {
    "running_mean": vector("mean", "batch_stats"),
    "running_var": vector("var", "batch_stats"),
}
BIAS_TABLE = {
    "relative_position_bias_table": Leaf("params", "relative_bias", "hpq", "hpq")
}

# Query, key and value are one layer in both, in the same order, head by head.
_TRANSFORMER: Table = {
    "norm1": ("attention_norm", LAYER_NORM),
    "attn.qkv": ("attention/qkv", DENSE),
    "attn.rel_pos": ("attention", BIAS_TABLE),
    "attn.proj": ("attention/out", DENSE),
    "norm2": ("ffn_norm", LAYER_NORM),
    "mlp.fc1": ("ffn/expand", DENSE),
    "mlp.fc2": ("ffn/shrink", DENSE),
}
TIMM = layouts.Format(
    title="a timm maxvit_*_tf_* model",
    separator=".",
    block="stages.{stage}.blocks.{block}.",
    ends={
        "stem.conv1": ("stem/conv1", CONV),
        "stem.norm1": ("stem/norm1", BATCH_NORM),
        "stem.conv2": ("stem/conv2", CONV),
        "head.norm": ("head/norm", LAYER_NORM),
        "head.pre_logits.fc": ("head/hidden", DENSE),
        "head.fc": ("head/logits", DENSE),
    },
    layers={
        "conv.pre_norm": ("mbconv/pre_norm", BATCH_NORM),
        "conv.conv1_1x1": ("mbconv/expand_conv", POINTWISE_NO_BIAS),
        "conv.norm1": ("mbconv/expand_norm", BATCH_NORM),
        "conv.conv2_kxk": ("mbconv/depthwise_conv", DEPTHWISE),
        "conv.norm2": ("mbconv/depthwise_norm", BATCH_NORM),
        "conv.se.fc1": ("mbconv/se/reduce", POINTWISE),
        "conv.se.fc2": ("mbconv/se/expand", POINTWISE),
        "conv.conv3_1x1": ("mbconv/shrink_conv", POINTWISE),
        **{
            f"{theirs}.{layer}": (f"{ours}/{our_layer}", kind)
            for theirs, ours in (
                ("attn_block", "block_attention"),
                ("attn_grid", "grid_attention"),
            )
            for layer, (our_layer, kind) in _TRANSFORMER.items()
        },
    },
    shortcut={"conv.shortcut.expand": ("mbconv/shortcut_conv", POINTWISE)},
)

_COUNTER = "num_batches_tracked"


def from_timm(state_dict: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Converts the weights of a timm `maxvit_{size}_tf_{resolution}` model.

    Args:
      state_dict: PyTorch parameter names to arrays. The number of stages and blocks
        is read from the names. Batch counters are left out: nothing reads them.

    Returns:
      `{"params", "batch_stats"}`, nested, float32, for `maxvit.models.create` with
      the same sizes.

    Raises:
      ConfigError: if a name is unknown or missing, an array has the wrong number of
        axes or non-finite values, or the weights are of timm's own (`rw`, `rmlp`)
        variants, whose architecture differs.
    """
    source = {
        name: np.asarray(array)
        for name, array in state_dict.items()
        if not name.endswith(f".{_COUNTER}")
    }
    _check_is_tf_variant(source)
    return layouts.read(TIMM, source)


def to_timm(variables: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Converts our variables to the state dict of a timm `maxvit_*_tf_*` model.

    The exact inverse of `from_timm` on float32 weights. Batch norm's counters, which
    ours do not have, are int64 zeros as in the published files; PyTorch reads them
    only when a batch norm is built without momentum, and timm's are not.

    Args:
      variables: `{"params", "batch_stats"}`, nested, of a MaxViT of the default block
        layout. Other layers are noticed; another order of the same ones is not, since
        variables do not tell it.

    Returns:
      PyTorch parameter names to float32 arrays, with all that a strict
      `load_state_dict` asks for.

    Raises:
      ConfigError: if a name is unknown or missing or a value is not finite.
    """
    state = layouts.write(TIMM, variables)
    counters = {
        name.removesuffix("running_var") + _COUNTER: np.zeros((), np.int64)
        for name in state
        if name.endswith(".running_var")
    }
    return state | counters


def _check_is_tf_variant(source: Mapping[str, np.ndarray]) -> None:
    """Refuses timm's own variants, whose names look alike."""
    for name, array in source.items():
        flat_table = name.endswith("bias_table") and array.ndim == 2
        if flat_table or ".rel_pos.mlp." in name:
            raise ConfigError(
                f"{name} {array.shape} is of a timm variant with its own architecture "
                "(rw, rmlp); only the maxvit_*_tf_* models can be converted"
            )
