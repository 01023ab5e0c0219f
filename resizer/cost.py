"""Parameters and FLOPs of a learned resizer in closed form, as the paper counts them.

It counts the kernels of convolutions alone: no biases, no norms and no resizes, and two
FLOPs for each product. So counted, DenseNet-121 at 224 pixels takes 5.67 G and behind
the resizer from 448 pixels 7.65 G, which are its numbers.
"""

from __future__ import annotations

from common.size import Size, height_width


def kernel_parameters(
    features: int = 16, num_blocks: int = 1, channels: int = 3
) -> int:
    """Returns the elements of all kernels: the paper's table 2, which cuts them off."""
    full, small = _products(features, num_blocks, channels)
    return full + small


def trainable_parameters(
    features: int = 16, num_blocks: int = 1, channels: int = 3
) -> int:
    """Returns all that is trained: kernels, three biases, and two values per norm."""
    norms = 2 + 2 * num_blocks
    extra = 2 * features + channels + 2 * norms * features
    return kernel_parameters(features, num_blocks, channels) + extra


def flops(
    features: int = 16,
    num_blocks: int = 1,
    input_size: Size = 448,
    output_size: Size = 224,
    channels: int = 3,
) -> int:
    """Returns the FLOPs for one image, forwards.

    Args:
      features: channels inside.
      num_blocks: residual blocks.
      input_size: side, or (height, width), of the image.
      output_size: the same of the result.
      channels: of both.
    """
    full, small = _products(features, num_blocks, channels)
    (h_in, w_in), (h_out, w_out) = height_width(input_size), height_width(output_size)
    return 2 * (full * h_in * w_in + small * h_out * w_out)


def _products(features: int, num_blocks: int, channels: int) -> tuple[int, int]:
    """Returns the products for each pixel at full and at the small size."""
    wide, square = 7 * 7 * channels * features, features**2
    return wide + square, (2 * num_blocks + 1) * 9 * square + wide
