"""Linear maps that wait for the 1 x 1 convolution behind them.

MAXIM joins features of several levels by long chains of linear maps: a 1 x 1
convolution, a resize, a concatenation, and the next 1 x 1 convolution. What is in front
of the last one is not computed by itself. Its kernel is multiplied with the last one's,
which is a product of two small matrices, and the resize works on the outcome. So no
concatenation is ever formed, and the products run at the lower of both resolutions.
"""

from __future__ import annotations

import abc
import dataclasses
import functools
import operator

import flax
import flax.linen as nn
import jax
import jax.numpy as jnp

from common.models.layers import matrix_product
from maxim import resize
from maxim.layers import DEFAULT_INIT, Layer


@flax.struct.dataclass
class Linear(abc.ABC):
    """A convolution of `x` that was not applied yet.

    Attributes:
      x: `[B, H, W, C]`.
      kernel: `[h, w, C, D]`.
      bias: `[D]` or None.
    """

    x: jax.Array
    kernel: jax.Array
    bias: jax.Array | None

    @property
    def features(self) -> int:
        """D."""
        return self.kernel.shape[-1]

    def then(self, matrix: jax.Array) -> Linear:
        """Puts the matrix `[D, E]` behind it."""
        kernel = jnp.einsum("hwcd,de->hwce", self.kernel, matrix, precision="highest")
        bias = self.bias
        if bias is not None:
            bias = jnp.matmul(bias, matrix, precision="highest")
        return dataclasses.replace(self, kernel=kernel, bias=bias)

    @abc.abstractmethod
    def without_bias(self) -> jax.Array:
        """Applies all but the bias."""


Part = jax.Array | Linear


@flax.struct.dataclass
class Resized(Linear):
    """A 1 x 1 convolution of `x`, which was resized by `2 ** steps` before it."""

    steps: int = flax.struct.field(pytree_node=False, default=0)

    def without_bias(self) -> jax.Array:
        """Applies both in the order that computes on fewer pixels."""
        x, factor = self.x, 2 ** abs(self.steps)
        if self.steps < 0:
            x = resize.bilinear_down(x, factor)
        x = _product(x, self.kernel[0, 0])
        return resize.bilinear_up(x, factor) if self.steps > 0 else x


@flax.struct.dataclass
class Convolution(Linear):
    """A convolution with padding SAME and stride 1."""

    def without_bias(self) -> jax.Array:
        """Applies the kernel."""
        return jax.lax.conv_general_dilated(
            self.x,
            self.kernel.astype(self.x.dtype),
            (1, 1),
            "SAME",
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )


@flax.struct.dataclass
class Doubled(Linear):
    """A transposed 2 x 2 convolution of stride 2: each pixel becomes four."""

    def without_bias(self) -> jax.Array:
        """Computes the four as channels, and puts them side by side."""
        batch, height, width, channels = self.x.shape
        # Flax's transposed convolution applies its kernel mirrored.
        matrix = self.kernel[::-1, ::-1].transpose(2, 0, 1, 3).reshape(channels, -1)
        y = _product(self.x, matrix).reshape(batch, height, width, 2, 2, -1)
        return y.swapaxes(2, 3).reshape(batch, 2 * height, 2 * width, -1)


class Affine(Layer):
    """Kernel and bias of a convolution, for a `Linear`.

    Attributes:
      features: of the output.
      size: side of the kernel.
    """

    features: int
    size: int = 1

    @nn.compact
    def __call__(self, x: jax.Array) -> tuple[jax.Array, jax.Array | None]:
        """Returns both, in `param_dtype`, for inputs like `x`."""
        return _parameters(self, (self.size, self.size, x.shape[-1], self.features))


class UpSampleRatio(Layer):
    """A resize of features by `2 ** steps`, then a 1 x 1 convolution."""

    features: int
    steps: int

    @nn.compact
    def __call__(self, x: jax.Array) -> Resized:
        """Takes `[B, H, W, C]`; the result is still to be applied."""
        affine = Affine(features=self.features, name="Conv_0", **self.shared())
        return Resized(x, *affine(x), steps=self.steps)


class Pointwise(Layer):
    """A 1 x 1 convolution of the concatenation of maps, any of them still `Linear`.

    Attributes:
      features: of the output.
      repeats: how often the maps stand in the concatenation, one after the other.
    """

    features: int
    repeats: int = 1

    @nn.compact
    def __call__(self, *parts: Part) -> jax.Array:
        """Maps parts `[B, H, W, C_k]` to `[B, H, W, features]`."""
        widths = [_features(part) for part in parts]
        shape = (1, 1, self.repeats * sum(widths), self.features)
        kernel, bias = _parameters(self, shape)
        # The same map twice is the map once, with the sum of both matrices.
        matrices = kernel.reshape(self.repeats, -1, self.features).sum(0)
        biases = [bias]
        maps = []
        start = 0
        for part, width in zip(parts, widths, strict=True):
            matrix = matrices[start : start + width]
            start += width
            if isinstance(part, Linear):
                part = part.then(matrix)
                maps.append(part.without_bias())
                biases.append(part.bias)
            else:
                maps.append(_product(part, matrix))
        given = [bias.astype(maps[0].dtype) for bias in biases if bias is not None]
        return functools.reduce(operator.add, [*maps, *given])


def _parameters(
    module: Layer, shape: tuple[int, int, int, int]
) -> tuple[jax.Array, jax.Array | None]:
    kernel = module.param("kernel", DEFAULT_INIT, shape, module.param_dtype)
    if not module.use_bias:
        return kernel, None
    zeros = nn.initializers.zeros
    return kernel, module.param("bias", zeros, shape[-1:], module.param_dtype)


def _features(part: Part) -> int:
    return part.features if isinstance(part, Linear) else part.shape[-1]


def _product(x: jax.Array, matrix: jax.Array) -> jax.Array:
    return matrix_product(x, matrix.astype(x.dtype))
