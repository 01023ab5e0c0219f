"""The convolutional parts of MaxViT (arXiv 2204.01697, figure 2): stem, MBConv, head.

Parameters are stored in `param_dtype` and used in `dtype`. Softmax, statistics of
the normalisations, global means and the logits are float32 in any case.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from common.kernels.depthwise import depthwise_conv
from common.models.layers import gelu, matrix_product

# The official code draws every kernel and bias table from this one distribution.
KERNEL_INIT = nn.initializers.normal(0.02)
# Keras names its momentum as Flax does: the share of the running value that stays.
BATCH_NORM = {"momentum": 0.99, "epsilon": 1e-3}
LAYER_NORM_EPSILON = 1e-5


# For the backward pass it keeps its input and small statistics; what else it needs is
# cheaper to compute again than to keep (benchmarks/README.md).
def _is_statistic(primitive, *_, **__) -> bool:
    return primitive.name == "reduce_sum"


BatchNorm = nn.remat(nn.BatchNorm, policy=_is_statistic)


def average_pool(x: jax.Array) -> jax.Array:
    """Halves the resolution; padding at an odd border does not count."""
    # Without the padding in the count the pool promotes to float32.
    pooled = nn.avg_pool(x, (2, 2), (2, 2), "SAME", count_include_pad=False)
    return pooled.astype(x.dtype)


class Layer(nn.Module, kw_only=True):
    """A module with the two precisions and the ingredients all parts share.

    When `folded`, the batch norms are part of the convolutions' kernels and biases
    (`maxvit.inference.fold`).
    """

    dtype: Any = jnp.float32
    param_dtype: Any = jnp.float32
    folded: bool = False

    @nn.nowrap
    def precision(self) -> dict[str, Any]:
        """Returns the arguments that hand both precisions to a submodule."""
        return {"dtype": self.dtype, "param_dtype": self.param_dtype}

    @nn.nowrap
    def conv(self, features: int, stride: int, name: str) -> nn.Conv:
        """Returns a 3 x 3 convolution with TensorFlow's SAME padding."""
        return nn.Conv(
            features,
            (3, 3),
            stride,
            padding="SAME",
            kernel_init=KERNEL_INIT,
            name=name,
            **self.precision(),
        )

    @nn.nowrap
    def dense(self, features: int, name: str, use_bias: bool = True) -> nn.Dense:
        """Returns a Dense layer; on a map it is a 1 x 1 convolution."""
        return nn.Dense(
            features,
            use_bias,
            kernel_init=KERNEL_INIT,
            dot_general=matrix_product,
            name=name,
            **self.precision(),
        )

    @nn.nowrap
    def batch_norm(self, x: jax.Array, train: bool, name: str) -> jax.Array:
        """Normalises channels over the batch, under jit the global one."""
        if self.folded:
            return x
        norm = BatchNorm(not train, name=name, **BATCH_NORM, **self.precision())
        return norm(x)

    @nn.nowrap
    def layer_norm(self, name: str) -> nn.LayerNorm:
        """Returns a LayerNorm over channels."""
        return nn.LayerNorm(LAYER_NORM_EPSILON, name=name, **self.precision())


class DropPath(nn.Module):
    """Stochastic depth: drops a residual branch, per sample, in training.

    Kept branches are divided by the survival probability. Draws from the "dropout"
    random stream.
    """

    rate: float

    @nn.compact
    def __call__(self, branch: jax.Array, train: bool) -> jax.Array:
        """Maps `[B, ...]` to the same shape."""
        if not train or self.rate == 0.0:
            return branch
        survival = 1.0 - self.rate
        shape = (branch.shape[0],) + (1,) * (branch.ndim - 1)
        kept = jax.random.bernoulli(self.make_rng("dropout"), survival, shape)
        return jnp.where(kept, branch / survival, 0)


class Stem(Layer):
    """Two convolutions, the first halving the resolution."""

    features: int

    @nn.compact
    def __call__(self, images: jax.Array, train: bool) -> jax.Array:
        """Maps images `[B, H, W, 3]` to `[B, H/2, W/2, features]`."""
        x = self.conv(self.features, 2, name="conv1")(images)
        x = gelu(self.batch_norm(x, train, name="norm1"))
        return self.conv(self.features, 1, name="conv2")(x)


class DepthwiseConv(Layer):
    """Depthwise 3 x 3 convolution, SAME padding."""

    stride: int
    use_bias: bool

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps `[B, H, W, C]` to `[B, H/stride, W/stride, C]`."""
        shape = (3, 3, 1, x.shape[-1])
        kernel = self.param("kernel", KERNEL_INIT, shape, self.param_dtype)
        x = depthwise_conv(x, kernel.astype(self.dtype), self.stride)
        if not self.use_bias:
            return x
        bias = self.param("bias", nn.initializers.zeros, x.shape[-1:], self.param_dtype)
        return x + bias.astype(self.dtype)


class SqueezeExcite(Layer):
    """Scales every channel by a gate computed from all channels' global means."""

    features: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps `[B, H, W, C]` to the same shape."""
        mean = x.mean((1, 2), keepdims=True, dtype=jnp.float32)
        gate = nn.silu(self.dense(self.features, name="reduce")(mean))
        return x * nn.sigmoid(self.dense(x.shape[-1], name="expand")(gate))


class MBConv(Layer):
    """Inverted bottleneck with squeeze-and-excitation (figure 2, left).

    Expansion and squeeze ratios both count from the output width.
    """

    features: int
    stride: int
    expansion: int
    se_ratio: float
    drop_path: float

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """Maps `[B, H, W, C]` to `[B, H/stride, W/stride, features]`."""
        shortcut = average_pool(x) if self.stride == 2 else x
        if x.shape[-1] != self.features:
            shortcut = self.dense(self.features, name="shortcut_conv")(shortcut)

        width = self.expansion * self.features
        x = self.batch_norm(x, train, name="pre_norm")
        x = self.dense(width, use_bias=self.folded, name="expand_conv")(x)
        x = gelu(self.batch_norm(x, train, name="expand_norm"))
        x = DepthwiseConv(
            self.stride,
            use_bias=self.folded,
            name="depthwise_conv",
            **self.precision(),
        )(x)
        x = gelu(self.batch_norm(x, train, name="depthwise_norm"))
        squeezed = int(self.features * self.se_ratio)
        x = SqueezeExcite(squeezed, name="se", **self.precision())(x)
        x = self.dense(self.features, name="shrink_conv")(x)
        return shortcut + DropPath(self.drop_path)(x, train)


class Head(Layer):
    """Global average, hidden layer with tanh, classifier if there are classes."""

    num_classes: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps `[B, H, W, C]` to float32 logits `[B, num_classes]`, or to `[B, C]`."""
        x = x.mean((1, 2), dtype=jnp.float32)
        x = self.layer_norm(name="norm")(x)
        x = nn.tanh(self.dense(x.shape[-1], name="hidden")(x))
        if not self.num_classes:
            return x.astype(jnp.float32)
        return nn.Dense(
            self.num_classes,
            dtype=jnp.float32,
            param_dtype=self.param_dtype,
            kernel_init=KERNEL_INIT,
            name="logits",
        )(x)
