"""The layers inside MAXIM's blocks (arXiv 2201.02973): gMLPs and attention.

Maps are NHWC. Submodules have the names of the official code, since its checkpoints do.
Parameters are stored in `param_dtype` and used in `dtype`; the normalisations'
statistics are float32 in any case.
"""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from common.kernels.token_mixing import mix, to_map, to_tokens
from common.models.layers import gelu, matrix_product

Pair = tuple[int, int]

# Initialisers of the official code: this one inside the gMLPs and around them, and
# `DEFAULT_INIT`, which is Flax's own, everywhere else.
SMALL_INIT = nn.initializers.normal(0.02)
DEFAULT_INIT = nn.initializers.lecun_normal()
LAYER_NORM_EPSILON = 1e-6
# The official code takes another slope but never hands it on to this layer.
LEAKY_SLOPE = 0.2


def gelu_halves(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns the activation of both halves of the channels.

    Each half is cut out first, so that its activation is computed where it is used.
    """
    u, v = jnp.split(x, 2, axis=-1)
    return gelu(u), gelu(v)


class LayerNorm(nn.Module):
    """Normalises the channels, in float32.

    Of the rows of a matrix, which XLA's CPU backend does faster, and in fewer
    operations than Flax's: a network has hundreds of them to compile.

    Attributes:
      dtype: of the result.
      param_dtype: precision of the parameters.
    """

    dtype: Any
    param_dtype: Any

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps `[..., C]` to the same shape."""
        channels = x.shape[-1:]
        scale = self.param("scale", nn.initializers.ones, channels, self.param_dtype)
        bias = self.param("bias", nn.initializers.zeros, channels, self.param_dtype)
        rows = x.reshape(-1, *channels).astype(jnp.float32)
        centred = rows - rows.mean(-1, keepdims=True)
        variance = jnp.square(centred).mean(-1, keepdims=True)
        y = centred * jax.lax.rsqrt(variance + LAYER_NORM_EPSILON) * scale + bias
        return y.astype(self.dtype).reshape(x.shape)


class Layer(nn.Module, kw_only=True):
    """A module with the precisions and the ingredients all parts share.

    Attributes:
      use_bias: whether convolutions and Dense layers have a bias; LayerNorms always do.
      dtype: precision of the computation.
      param_dtype: precision of the parameters.
    """

    use_bias: bool = True
    dtype: Any = jnp.float32
    param_dtype: Any = jnp.float32

    @nn.nowrap
    def shared(self) -> dict[str, Any]:
        """Returns the arguments that hand these attributes to a submodule."""
        return {
            "use_bias": self.use_bias,
            "dtype": self.dtype,
            "param_dtype": self.param_dtype,
        }

    @nn.nowrap
    def layer_norm(self, name: str) -> LayerNorm:
        """Returns a normalisation over the channels."""
        return LayerNorm(self.dtype, self.param_dtype, name=name)

    @nn.nowrap
    def dense(self, features: int, name: str, init=SMALL_INIT) -> nn.Dense:
        """Returns a linear map of the channels."""
        return nn.Dense(
            features,
            kernel_init=init,
            dot_general=matrix_product,
            name=name,
            **self.shared(),
        )

    @nn.nowrap
    def conv(self, features: int, size: int, name: str, stride: int = 1) -> nn.Conv:
        """Returns a convolution with padding SAME."""
        return nn.Conv(
            features,
            (size, size),
            stride,
            padding="SAME",
            name=name,
            **self.shared(),
        )


class TokenMix(Layer):
    """The matrix that mixes tokens, in blocks or across a grid: "Dense_0" or "Dense_1".

    Attributes:
      bias_init: of the bias.
    """

    bias_init: Any = nn.initializers.zeros

    @nn.compact
    def __call__(self, tokens: jax.Array) -> jax.Array:
        """Maps `[T, N, C]` to the same shape."""
        count = tokens.shape[0]
        kernel = self.param("kernel", SMALL_INIT, (count, count), self.param_dtype)
        bias = None
        if self.use_bias:
            bias = self.param("bias", self.bias_init, (count,), self.param_dtype)
        tokens, kernel, bias = nn.dtypes.promote_dtype(
            tokens, kernel, bias, dtype=self.dtype
        )
        return mix(tokens, kernel, bias)


class SpatialGatingUnit(Layer):
    """Gates half the channels with the other half, mixed over tokens (gMLP).

    Attributes:
      kind: "block" or "grid".
      size: `(P, Q)`, tokens along the sides of a group.
    """

    kind: str
    size: Pair

    @nn.compact
    def __call__(self, u: jax.Array, v: jax.Array) -> jax.Array:
        """Returns `[B, H, W, C]`: u, of this shape, gated by v."""
        v = to_tokens(v, self.kind, self.size)
        v = self.layer_norm("intermediate_layernorm")(v)
        v = TokenMix(name="Dense_0", **self.shared())(v)
        return u * (to_map(v, self.kind, self.size, u.shape) + 1)


class GmlpLayer(Layer):
    """A gMLP block of which the spatial part stays in blocks or spans a grid.

    Attributes:
      kind: "block" or "grid".
      size: `(P, Q)`, tokens along the sides of a group.
      factor: inner over outer width.
      dropout_rate: on the branch.
    """

    kind: str
    size: Pair
    factor: int
    dropout_rate: float = 0.0

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        """Maps `[B, H, W, C]` to the same shape."""
        channels = x.shape[-1]
        y = self.layer_norm("LayerNorm")(x)
        u, v = gelu_halves(self.dense(channels * self.factor, "in_project")(y))
        y = SpatialGatingUnit(
            kind=self.kind,
            size=self.size,
            name=f"{self.kind.capitalize()}GatingUnit",
            **self.shared(),
        )(u, v)
        y = self.dense(channels, "out_project")(y)
        return x + nn.Dropout(self.dropout_rate, deterministic=not train)(y)


class MultiAxisGmlpLayer(Layer):
    """The MAB: a global and a local gMLP, each on half of the channels.

    Attributes:
      block_size: of the local branch.
      grid_size: of the global branch.
      block_gmlp_factor: inner over outer width of the local branch.
      grid_gmlp_factor: inner over outer width of the global branch.
      input_proj_factor: width of both branches together over the input's.
      dropout_rate: on the branches.
    """

    block_size: Pair
    grid_size: Pair
    block_gmlp_factor: int = 2
    grid_gmlp_factor: int = 2
    input_proj_factor: int = 2
    dropout_rate: float = 0.0

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        """Maps `[B, H, W, C]` to the same shape."""
        channels = x.shape[-1]
        y = self.layer_norm("LayerNorm_in")(x)
        y = self.dense(channels * self.input_proj_factor, "in_project")(y)
        u, v = gelu_halves(y)
        u = GmlpLayer(
            kind="grid",
            size=self.grid_size,
            factor=self.grid_gmlp_factor,
            dropout_rate=self.dropout_rate,
            name="GridGmlpLayer",
            **self.shared(),
        )(u, train)
        v = GmlpLayer(
            kind="block",
            size=self.block_size,
            factor=self.block_gmlp_factor,
            dropout_rate=self.dropout_rate,
            name="BlockGmlpLayer",
            **self.shared(),
        )(v, train)
        y = self.dense(channels, "out_project")(jnp.concatenate([u, v], axis=-1))
        return x + nn.Dropout(self.dropout_rate, deterministic=not train)(y)


class ChannelAttention(Layer):
    """Scales channels by what their means say, as in squeeze-and-excitation."""

    reduction: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps `[B, H, W, C]` to the same shape."""
        channels = x.shape[-1]
        y = jnp.mean(x, axis=(1, 2), keepdims=True, dtype=jnp.float32).astype(x.dtype)
        y = nn.relu(self.conv(channels // self.reduction, 1, "Conv_0")(y))
        return x * nn.sigmoid(self.conv(channels, 1, "Conv_1")(y))


class ConvAttentionBlock(Layer):
    """The RCAB: two convolutions and channel attention, around which a skip goes."""

    reduction: int

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        """Maps `[B, H, W, C]` to the same shape."""
        del train  # it has no dropout
        channels = x.shape[-1]
        y = self.layer_norm("LayerNorm")(x)
        y = nn.leaky_relu(self.conv(channels, 3, "conv1")(y), LEAKY_SLOPE)
        y = self.conv(channels, 3, "conv2")(y)
        attention = ChannelAttention(
            reduction=self.reduction, name="channel_attention", **self.shared()
        )
        return x + attention(y)


class Mlp(Layer):
    """Two Dense layers on the channels.

    Attributes:
      features: inner width.
      dropout_rate: behind the activation.
    """

    features: int
    dropout_rate: float = 0.0

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        """Maps `[B, H, W, C]` to the same shape."""
        y = gelu(self.dense(self.features, "Dense_0")(x))
        y = nn.Dropout(self.dropout_rate, deterministic=not train)(y)
        return self.dense(x.shape[-1], "Dense_1")(y)


class MlpAttentionBlock(Layer):
    """The RDCAB of the bottleneck: an MLP in place of RCAB's convolutions."""

    reduction: int
    dropout_rate: float = 0.0

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        """Maps `[B, H, W, C]` to the same shape."""
        y = self.layer_norm("LayerNorm")(x)
        y = Mlp(
            features=x.shape[-1],
            dropout_rate=self.dropout_rate,
            name="channel_mixing",
            **self.shared(),
        )(y, train)
        attention = ChannelAttention(
            reduction=self.reduction, name="channel_attention", **self.shared()
        )
        return x + attention(y)
