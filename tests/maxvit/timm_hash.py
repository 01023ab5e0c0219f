"""Weights and images made by a hash, the same on every machine and in every library."""

import json
import pathlib
import zlib

import numpy as np

GOLDEN = json.loads(
    (pathlib.Path(__file__).parents[1] / "golden/maxvit_tiny_timm.json").read_text()
)


def values(count, seed):
    """Returns `count` numbers of mean 0 and variance 1 (specification 5.4)."""
    x = np.arange(1, count + 1, dtype=np.uint32) * np.uint32(0x9E3779B1)
    x += np.uint32(seed)
    x ^= x >> np.uint32(15)
    x *= np.uint32(0x85EBCA77)
    x ^= x >> np.uint32(13)
    x *= np.uint32(0xC2B2AE3D)
    x ^= x >> np.uint32(16)
    return (x / 2**32 - 0.5) * np.sqrt(12)


def image(height, width):
    """Returns `[1, H, W, 3]`."""
    pixels = values(height * width * 3, 12345)
    return pixels.reshape(1, height, width, 3).astype(np.float32)


def tensor(name, shape):
    """Returns the array of one PyTorch name."""
    if name.endswith("num_batches_tracked"):
        return np.array(7)
    x = values(int(np.prod(shape)), zlib.crc32(name.encode()))
    if name.endswith("running_var"):
        x = 1 + 0.3 * x
    elif name.endswith("running_mean"):
        x = 0.1 * x
    elif name.endswith("bias_table"):
        x = 0.5 * x
    elif len(shape) == 1:
        x = 1 + 0.2 * x if name.endswith("weight") else 0.05 * x
    else:
        x = x / np.sqrt(np.prod(shape[1:]))
    return x.reshape(shape).astype(np.float32)


def tiny_shapes():
    """Returns the names and shapes of timm's `maxvit_tiny_tf_224`."""
    return {
        prefix + suffix: tuple(shape)
        for group in GOLDEN["groups"]
        for prefix in group["prefixes"]
        for suffix, shape in group["tensors"].items()
    }


def tiny_state_dict():
    """Returns all of that model's tensors."""
    return {name: tensor(name, shape) for name, shape in tiny_shapes().items()}


def narrow_state_dict():
    """Returns a model of the same names with one narrow block in each of two stages."""
    keep = ("stem.", "head.", "stages.0.blocks.0.", "stages.1.blocks.0.")
    narrow = {64: 8, 128: 16, 192: 24, 256: 32, 384: 48, 512: 64, 1024: 64, 32: 4}
    return {
        name: tensor(name, [narrow.get(side, side) for side in shape])
        for name, shape in tiny_shapes().items()
        if name.startswith(keep)
    }
