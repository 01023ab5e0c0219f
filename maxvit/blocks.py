"""The MaxViT block (arXiv 2204.01697, figure 2): MBConv, block and grid attention.

Maps are NHWC. Between a partition and its reverse the same tokens stand as
`[B, groups, tokens, C]`; LayerNorm, Dense layers and residuals are per token, so
attention and feed-forward share one partition.
"""

import flax.linen as nn
import jax

from common.kernels.partition import (
    grid_partition,
    grid_reverse,
    window_partition,
    window_reverse,
)
from common.kernels.window_attention import attention, relative_position_bias
from common.models.remat import remat
from maxvit.layers import KERNEL_INIT, DropPath, Layer, MBConv, gelu

Pair = tuple[int, int]


class RelativeAttention(Layer):
    """Multi-head self-attention in groups, with a bias per relative position."""

    window: Pair
    head_dim: int

    @nn.compact
    def __call__(self, tokens: jax.Array) -> jax.Array:
        """Maps `[B, groups, P*Q, C]` to the same shape."""
        channels = tokens.shape[-1]
        heads = channels // self.head_dim
        # Output columns: all queries, all keys, all values, each head by head.
        qkv = self.dense(3 * channels, name="qkv")(tokens)
        qkv = qkv.reshape(*tokens.shape[:-1], 3, heads, self.head_dim)
        query, key, value = (qkv[..., i, :, :] for i in range(3))

        p, q = self.window
        table = self.param(
            "relative_bias",
            KERNEL_INIT,
            (heads, 2 * p - 1, 2 * q - 1),
            self.param_dtype,
        )
        mixed = attention(query, key, value, relative_position_bias(table, self.window))
        return self.dense(channels, name="out")(mixed.reshape(tokens.shape))


class FeedForward(Layer):
    """Two Dense layers on each token."""

    expansion: int

    @nn.compact
    def __call__(self, tokens: jax.Array) -> jax.Array:
        """Maps `[..., C]` to the same shape."""
        channels = tokens.shape[-1]
        x = gelu(self.dense(self.expansion * channels, name="expand")(tokens))
        return self.dense(channels, name="shrink")(x)


class TransformerLayer(Layer):
    """Pre-norm attention and feed-forward, each with its residual."""

    window: Pair
    head_dim: int
    expansion: int
    drop_path: float

    @nn.compact
    def __call__(self, tokens: jax.Array, train: bool) -> jax.Array:
        """Maps `[B, groups, P*Q, C]` to the same shape."""
        x = self.layer_norm(name="attention_norm")(tokens)
        x = RelativeAttention(
            self.window, self.head_dim, name="attention", **self.precision()
        )(x)
        tokens = tokens + DropPath(self.drop_path)(x, train)
        x = self.layer_norm(name="ffn_norm")(tokens)
        x = FeedForward(self.expansion, name="ffn", **self.precision())(x)
        return tokens + DropPath(self.drop_path)(x, train)


class MaxViTBlock(Layer):
    """MBConv, block attention, grid attention (figure 2, right)."""

    features: int
    stride: int
    window: Pair
    grid: Pair
    head_dim: int
    expansion: int
    se_ratio: float
    drop_path: float

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """Maps `[B, H, W, C]` to `[B, H/stride, W/stride, features]`."""
        x = MBConv(
            self.features,
            self.stride,
            self.expansion,
            self.se_ratio,
            self.drop_path,
            name="mbconv",
            **self.precision(),
        )(x, train)
        batch, *size, _ = x.shape
        size = (size[0], size[1])

        tokens = window_partition(x, self.window)
        tokens = tokens.reshape(batch, -1, *tokens.shape[1:])
        tokens = self.transformer(self.window, "block_attention")(tokens, train)
        x = window_reverse(tokens, self.window, size)

        tokens = grid_partition(x, self.grid)
        tokens = tokens.reshape(batch, -1, *tokens.shape[1:])
        tokens = self.transformer(self.grid, "grid_attention")(tokens, train)
        return grid_reverse(tokens, self.grid, size)

    @nn.nowrap
    def transformer(self, window: Pair, name: str) -> TransformerLayer:
        """Returns one of the block's two attention layers."""
        return TransformerLayer(
            window,
            self.head_dim,
            self.expansion,
            self.drop_path,
            name=name,
            **self.precision(),
        )


class Stage(Layer):
    """Blocks at one resolution; the first halves it.

    `drop_paths` holds one rate per block and so sets their number.
    """

    features: int
    drop_paths: tuple[float, ...]
    window: Pair
    grid: Pair
    head_dim: int
    expansion: int
    se_ratio: float
    remat: str

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """Maps `[B, H, W, C]` to `[B, H/2, W/2, features]`."""
        block_class = remat(MaxViTBlock, self.remat, static_argnums=(2,))
        for index, drop_path in enumerate(self.drop_paths):
            x = block_class(
                features=self.features,
                stride=2 if index == 0 else 1,
                window=self.window,
                grid=self.grid,
                head_dim=self.head_dim,
                expansion=self.expansion,
                se_ratio=self.se_ratio,
                drop_path=drop_path,
                name=f"block{index}",
                **self.precision(),
            )(x, train)
        return x
