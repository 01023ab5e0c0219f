"""Published weights of other frameworks as Flax variables.

Tables say for every layer of the source where it stands here and of which kind it
is; the kind says how its arrays are laid out. An array the tables do not name is an
error, and so is one they name that the source lacks.
"""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from flax import traverse_util

from common.errors import ConfigError


class Leaf(NamedTuple):
    """How one array of a source layer becomes one of ours."""

    collection: str
    name: str
    shape: str  # axes of the source
    order: str  # axes of ours; those left out have length 1


_BIAS = Leaf("params", "bias", "o", "o")
_CONV = Leaf("params", "kernel", "oihw", "hwio")
_POINTWISE = Leaf("params", "kernel", "oihw", "io")
_DENSE = Leaf("params", "kernel", "oi", "io")
_SCALE = Leaf("params", "scale", "o", "o")

# Kinds of layers: the source's array names and what becomes of them.
CONV = {"weight": _CONV, "bias": _BIAS}
# A depthwise kernel has one input channel, so its layout is a convolution's.
DEPTHWISE = {"weight": _CONV}
POINTWISE = {"weight": _POINTWISE, "bias": _BIAS}
POINTWISE_NO_BIAS = {"weight": _POINTWISE}
DENSE = {"weight": _DENSE, "bias": _BIAS}
LAYER_NORM = {"weight": _SCALE, "bias": _BIAS}
BATCH_NORM = LAYER_NORM | {
    "running_mean": Leaf("batch_stats", "mean", "o", "o"),
    "running_var": Leaf("batch_stats", "var", "o", "o"),
}
BIAS_TABLE = {
    "relative_position_bias_table": Leaf("params", "relative_bias", "hpq", "hpq")
}

Kind = dict[str, Leaf]
Table = dict[str, tuple[str, Kind]]

TIMM_STEM: Table = {
    "stem.conv1": ("stem/conv1", CONV),
    "stem.norm1": ("stem/norm1", BATCH_NORM),
    "stem.conv2": ("stem/conv2", CONV),
}
TIMM_MBCONV: Table = {
    "pre_norm": ("pre_norm", BATCH_NORM),
    "conv1_1x1": ("expand_conv", POINTWISE_NO_BIAS),
    "norm1": ("expand_norm", BATCH_NORM),
    "conv2_kxk": ("depthwise_conv", DEPTHWISE),
    "norm2": ("depthwise_norm", BATCH_NORM),
    "se.fc1": ("se/reduce", POINTWISE),
    "se.fc2": ("se/expand", POINTWISE),
    "conv3_1x1": ("shrink_conv", POINTWISE),
}
TIMM_SHORTCUT: Table = {"shortcut.expand": ("shortcut_conv", POINTWISE)}
# Query, key and value are one layer in both, in the same order, head by head.
TIMM_TRANSFORMER: Table = {
    "norm1": ("attention_norm", LAYER_NORM),
    "attn.qkv": ("attention/qkv", DENSE),
    "attn.rel_pos": ("attention", BIAS_TABLE),
    "attn.proj": ("attention/out", DENSE),
    "norm2": ("ffn_norm", LAYER_NORM),
    "mlp.fc1": ("ffn/expand", DENSE),
    "mlp.fc2": ("ffn/shrink", DENSE),
}
TIMM_HEAD: Table = {
    "head.norm": ("head/norm", LAYER_NORM),
    "head.pre_logits.fc": ("head/hidden", DENSE),
    "head.fc": ("head/logits", DENSE),
}


def from_timm(state_dict: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Converts the weights of timm's `maxvit_{size}_tf_{resolution}` models.

    Those are ports of the official checkpoints, so layouts change and values do not.

    Args:
      state_dict: PyTorch parameter names to arrays. The number of stages and blocks
        is read from the names.

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
        if not name.endswith(".num_batches_tracked")
    }
    _check_is_tf_variant(source)
    expected = _timm_names(source)
    _check_same_names(source, expected)
    flat = {
        f"{leaf.collection}/{path}/{leaf.name}": _convert(name, source[name], leaf)
        for name, (path, leaf) in expected.items()
    }
    return traverse_util.unflatten_dict(flat, sep="/")


def _timm_names(source: Mapping[str, np.ndarray]) -> dict[str, tuple[str, Leaf]]:
    """Returns, for a model as deep as `source`, name -> (our layer, leaf)."""
    names = {}

    def add(table: Table, their_prefix: str = "", our_prefix: str = "") -> None:
        for their_layer, (our_layer, kind) in table.items():
            for array, leaf in kind.items():
                name = f"{their_prefix}{their_layer}.{array}"
                names[name] = (our_prefix + our_layer, leaf)

    add(TIMM_STEM)
    for stage, depth in enumerate(_depths(source)):
        for block in range(depth):
            theirs = f"stages.{stage}.blocks.{block}."
            ours = f"stage{stage + 1}/block{block}/"
            add(TIMM_MBCONV, f"{theirs}conv.", f"{ours}mbconv/")
            if _has_shortcut(source, f"{theirs}conv."):
                add(TIMM_SHORTCUT, f"{theirs}conv.", f"{ours}mbconv/")
            add(TIMM_TRANSFORMER, f"{theirs}attn_block.", f"{ours}block_attention/")
            add(TIMM_TRANSFORMER, f"{theirs}attn_grid.", f"{ours}grid_attention/")
    add(TIMM_HEAD)
    return names


def _depths(source: Mapping[str, np.ndarray]) -> list[int]:
    """Returns the number of blocks in each stage, read from the names."""
    depths: dict[int, int] = {}
    for name in source:
        if match := re.match(r"stages\.(\d+)\.blocks\.(\d+)\.", name):
            stage, block = map(int, match.groups())
            depths[stage] = max(depths.get(stage, 0), block + 1)
    if not depths:
        raise ConfigError(
            "no weights of MaxViT blocks: expected timm names such as "
            f"'stages.0.blocks.0.conv.norm1.weight', got {_some(source)}"
        )
    return [depths.get(stage, 1) for stage in range(max(depths) + 1)]


def _has_shortcut(source: Mapping[str, np.ndarray], prefix: str) -> bool:
    """Whether a block changes its width, and so projects its shortcut."""
    before = source.get(f"{prefix}pre_norm.weight")
    after = source.get(f"{prefix}conv3_1x1.bias")
    return before is not None and after is not None and before.shape != after.shape


def _check_is_tf_variant(source: Mapping[str, np.ndarray]) -> None:
    """Refuses timm's own variants, whose names look alike."""
    for name, array in source.items():
        flat_table = name.endswith("bias_table") and array.ndim == 2
        if flat_table or ".rel_pos.mlp." in name:
            raise ConfigError(
                f"{name} {array.shape} is of a timm variant with its own architecture "
                "(rw, rmlp); only the maxvit_*_tf_* models can be converted"
            )


def _check_same_names(source: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    missing = [name for name in expected if name not in source]
    extra = [name for name in source if name not in expected]
    if missing or extra:
        parts = [
            f"{len(names)} {what} ({_some(names)})"
            for what, names in (("missing", missing), ("unknown", extra))
            if names
        ]
        raise ConfigError(
            "the weights do not fit a timm maxvit_*_tf_* model: " + ", ".join(parts)
        )


def _convert(name: str, array: np.ndarray, leaf: Leaf) -> np.ndarray:
    sizes = dict(zip(leaf.shape, array.shape, strict=False))
    dropped = [axis for axis in leaf.shape if axis not in leaf.order]
    if array.ndim != len(leaf.shape) or any(sizes[axis] != 1 for axis in dropped):
        raise ConfigError(
            f"{name} has shape {array.shape}; expected axes {tuple(leaf.shape)}"
            + (f" with {dropped} of length 1" if dropped else "")
        )
    array = array.astype(np.float32)
    if not np.isfinite(array).all():
        raise ConfigError(f"{name} has values that are not finite")
    order = [leaf.shape.index(axis) for axis in leaf.order + "".join(dropped)]
    kept = tuple(sizes[axis] for axis in leaf.order)
    return np.ascontiguousarray(array.transpose(order).reshape(kept))


def _some(names) -> str:
    shown = list(names)[:4]
    return ", ".join(shown) + (", ..." if len(names) > len(shown) else "")
