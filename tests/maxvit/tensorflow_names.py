"""timm's tensors under the names and layouts of the official TensorFlow graphs.

Written out by hand from the official layer definitions; shares no table with
`maxvit.convert`.
"""

import re

import numpy as np

CONVS = {
    "conv.conv1_1x1": "mbconv/expand_conv",
    "conv.se.fc1": "mbconv/se/reduce_conv2d",
    "conv.se.fc2": "mbconv/se/expand_conv2d",
    "conv.conv3_1x1": "mbconv/shrink_conv",
    "conv.shortcut.expand": "mbconv/shortcut_conv",
    "stem.conv1": "stem/conv_0",
    "stem.conv2": "stem/conv_1",
}
BATCH_NORMS = {
    "conv.pre_norm": "mbconv/pre_norm",
    "conv.norm1": "mbconv/expand_norm",
    "conv.norm2": "mbconv/depthwise_norm",
    "stem.norm1": "stem/norm_0",
}
STATISTICS = {
    "weight": "gamma",
    "bias": "beta",
    "running_mean": "moving_mean",
    "running_var": "moving_variance",
}


def variables(state_dict, head_dim, scope="maxvit/"):
    """Returns TensorFlow names to arrays."""
    found = {}
    for name, array in state_dict.items():
        if name.endswith("num_batches_tracked"):
            continue
        match = re.match(r"stages\.(\d)\.blocks\.(\d+)\.(.*)", name)
        prefix, rest = scope, name
        if match:
            prefix += f"block_0{match[1]}_{int(match[2]):02d}/"
            rest = match[3]
        for ours, value in _layer(rest, array, head_dim):
            found[prefix + ours] = np.ascontiguousarray(value)
    return found


def _layer(name, array, head_dim):
    layer, kind = name.rsplit(".", 1)
    if layer in CONVS:
        value = np.moveaxis(array, (0, 1), (3, 2)) if kind == "weight" else array
        return [(f"{CONVS[layer]}/{'kernel' if kind == 'weight' else kind}", value)]
    if layer == "conv.conv2_kxk":
        kernel = np.moveaxis(array, (0, 1), (2, 3))  # [3, 3, channels, multiplier]
        return [("mbconv/depthwise_conv/depthwise_kernel", kernel)]
    if layer in BATCH_NORMS:
        return [(f"{BATCH_NORMS[layer]}/{STATISTICS[kind]}", array)]
    if layer == "head.norm":
        return [(f"final_layer_norm/{STATISTICS[kind]}", array)]
    if layer.startswith("head."):
        dense = {"head.fc": "logit_dense", "head.pre_logits.fc": "inner_dense"}[layer]
        return [(f"cls_head/{dense}/{kind}", array.T)]
    which, layer = layer.split(".", 1)
    suffix = {"attn_block": "", "attn_grid": "_1"}[which]
    return _attention(layer, kind, array, suffix, head_dim)


def _attention(layer, kind, array, suffix, head_dim):
    if layer in ("norm1", "norm2"):
        norm = {"norm1": "attn", "norm2": "ffn"}[layer]
        return [(f"{norm}_layer_norm{suffix}/{STATISTICS[kind]}", array)]
    if layer in ("mlp.fc1", "mlp.fc2"):
        dense = {"mlp.fc1": "expand", "mlp.fc2": "shrink"}[layer]
        return [(f"ffn{suffix}/{dense}_dense/{kind}", array.T)]
    if layer == "attn.rel_pos":
        return [(f"attention{suffix}/relative_bias", array)]
    if layer == "attn.proj":
        value = array.T.reshape(-1, head_dim, len(array)) if array.ndim > 1 else array
        return [(f"attention{suffix}/o/{kind}", value)]
    thirds = array.reshape(3, -1, head_dim, *array.shape[1:])
    if array.ndim > 1:
        thirds = np.moveaxis(thirds, 3, 1)  # [3, inputs, heads, head_dim]
    return [
        (f"attention{suffix}/{letter}/{kind}", value)
        for letter, value in zip("qkv", thirds, strict=True)
    ]
