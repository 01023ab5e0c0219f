"""Layers by their definition, of `[B, C, H, W]` and kernels `[O, I, h, w]`."""

import numpy as np


def windows(x, size, strides):
    """`[B, C, H, W]` -> `[B, C, H', W', size, size]`."""
    found = np.lib.stride_tricks.sliding_window_view(x, (size, size), (2, 3))
    return found[:, :, ::strides, ::strides]


def pad(x, before, after, value=0.0):
    edges = [(0, 0), (0, 0), (before, after), (before, after)]
    return np.pad(x, edges, constant_values=value)


def conv(x, weight, bias=None, strides=1, padding=0):
    """A convolution with the padding of PyTorch."""
    x = pad(x, padding, padding)
    y = np.einsum("bcijhw,ochw->boij", windows(x, weight.shape[-1], strides), weight)
    return y if bias is None else y + bias[:, None, None]


def max_pool(x, size, strides, padding=0):
    x = pad(x, padding, padding, -np.inf)
    return windows(x, size, strides).max((-1, -2))


def norm(x, scale, bias, mean, var, epsilon=1e-5):
    scale, bias, mean, var = (v[:, None, None] for v in (scale, bias, mean, var))
    return (x - mean) / np.sqrt(var + epsilon) * scale + bias


def relu(x):
    return np.maximum(x, 0)


def same_pad(x, size, strides, value=0.0):
    """TensorFlow's "SAME": what is odd goes to the end."""
    total = max((-(-x.shape[2] // strides) - 1) * strides + size - x.shape[2], 0)
    return pad(x, total // 2, total - total // 2, value)
