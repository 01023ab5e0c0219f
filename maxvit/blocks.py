"""The MaxViT block (arXiv 2204.01697, figure 2): MBConv, block and grid attention.

Maps are NHWC. Inside an attention layer the tokens stand in groups,
`[B, groups, tokens, C]`; LayerNorm, Dense layers and residuals are per token, so
attention and feed-forward share one partition. Where one layer's tokens become
another's, XLA joins both permutations and the residual sum into one pass over the
data, and drops the permutations of a map that is a single group.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from common.kernels.partition import Partition
from common.kernels.window_attention import attention, relative_position_bias
from common.models.layers import gelu
from common.models.remat import remat
from maxvit.layers import KERNEL_INIT, DropPath, Layer, MBConv, average_pool
from maxvit.layout import Layout

Pair = tuple[int, int]


class RelativeAttention(Layer):
    """Multi-head self-attention in groups, with a bias per relative position."""

    features: int
    group: Pair
    head_dim: int

    @nn.compact
    def __call__(self, tokens: jax.Array, mask: np.ndarray | None) -> jax.Array:
        """Maps `[B, groups, P*Q, C]` to `[B, groups, P*Q, features]`.

        `mask` says which tokens are of the map, see `Partition.mask`.
        """
        heads = self.features // self.head_dim
        # Output columns: all queries, all keys, all values, each head by head.
        qkv = self.dense(3 * self.features, name="qkv")(tokens)
        qkv = qkv.reshape(*tokens.shape[:-1], 3, heads, self.head_dim)
        query, key, value = (qkv[..., i, :, :] for i in range(3))

        p, q = self.group
        table = self.param(
            "relative_bias",
            KERNEL_INIT,
            (heads, 2 * p - 1, 2 * q - 1),
            self.param_dtype,
        )
        bias = relative_position_bias(table, self.group)
        mixed = attention(query, key, value, bias, mask)
        mixed = mixed.reshape(*tokens.shape[:-1], self.features)
        return self.dense(self.features, name="out")(mixed)


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
    """Pre-norm attention in windows or grids and feed-forward, each with its residual.

    With stride 2, which only the ablations have, it downsamples as CoAtNet does:
    normalised tokens and shortcut are both pooled, and a Dense layer widens the
    shortcut.
    """

    kind: str
    features: int
    stride: int
    group: Pair
    head_dim: int
    expansion: int
    drop_path: float

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """Maps `[B, H, W, C]` to `[B, H/stride, W/stride, features]`."""
        norm = self.layer_norm(name="attention_norm")
        if self.stride == 2:
            branch = average_pool(norm(x))
            x = average_pool(x)
            if x.shape[-1] != self.features:
                x = self.dense(self.features, name="shortcut_conv")(x)
            partition = self.partition(x)
            tokens, branch = partition.split(x), partition.split(branch)
        else:
            partition = self.partition(x)
            tokens = partition.split(x)
            branch = norm(tokens)

        branch = RelativeAttention(
            self.features,
            self.group,
            self.head_dim,
            name="attention",
            **self.precision(),
        )(branch, partition.mask())
        tokens = tokens + DropPath(self.drop_path)(branch, train)
        branch = self.layer_norm(name="ffn_norm")(tokens)
        branch = FeedForward(self.expansion, name="ffn", **self.precision())(branch)
        return partition.join(tokens + DropPath(self.drop_path)(branch, train))

    @nn.nowrap
    def partition(self, x: jax.Array) -> Partition:
        """Returns how the tokens of `[B, H, W, C]` are grouped."""
        return Partition(self.kind, (x.shape[1], x.shape[2]), self.group)


class MaxViTBlock(Layer):
    """The layers that `layout` names, by default those of figure 2, right.

    The first one halves the resolution when `stride` is 2.
    """

    features: int
    stride: int
    layout: Layout
    window: Pair
    grid: Pair
    head_dim: int
    expansion: int
    se_ratio: float
    drop_path: float

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """Maps `[B, H, W, C]` to `[B, H/stride, W/stride, features]`."""
        stride = self.stride
        for layers in self.layout:
            if len(layers) == 1:
                x = self.layer(layers[0], stride)(x, train)
            else:
                x = self.parallel(layers, x, train)
            stride = 1
        return x

    def parallel(self, layers: tuple[str, ...], x: jax.Array, train: bool) -> jax.Array:
        """Runs layers side by side, each on its part of a wider projection."""
        branch = self.layer_norm(name="parallel_norm")(x)
        width = len(layers) * self.features
        branch = self.dense(width, name="parallel_expand")(branch)
        parts = [
            self.layer(layer, 1)(part, train)
            for layer, part in zip(
                layers, jnp.split(branch, len(layers), axis=-1), strict=True
            )
        ]
        branch = jnp.concatenate(parts, axis=-1)
        branch = self.dense(self.features, name="parallel_shrink")(branch)
        return x + DropPath(self.drop_path)(branch, train)

    @nn.nowrap
    def layer(self, name: str, stride: int) -> MBConv | TransformerLayer:
        """Returns a layer by its name in the layout, such as "GA" or "BA_1"."""
        kind, _, number = name.partition("_")
        suffix = f"_{number}" if number else ""
        shared: dict[str, Any] = {
            "features": self.features,
            "stride": stride,
            "expansion": self.expansion,
            "drop_path": self.drop_path,
            **self.precision(),
        }
        if kind == "C":
            return MBConv(
                se_ratio=self.se_ratio,
                folded=self.folded,
                name=f"mbconv{suffix}",
                **shared,
            )
        kind, group, title = {
            "BA": ("window", self.window, "block_attention"),
            "GA": ("grid", self.grid, "grid_attention"),
        }[kind]
        return TransformerLayer(
            kind=kind,
            group=group,
            head_dim=self.head_dim,
            name=f"{title}{suffix}",
            **shared,
        )


class Stage(Layer):
    """Blocks at one resolution; the first halves it.

    `drop_paths` holds one rate per block and so sets their number.
    """

    features: int
    drop_paths: tuple[float, ...]
    layout: Layout
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
                layout=self.layout,
                window=self.window,
                grid=self.grid,
                head_dim=self.head_dim,
                expansion=self.expansion,
                se_ratio=self.se_ratio,
                drop_path=drop_path,
                folded=self.folded,
                name=f"block{index}",
                **self.precision(),
            )(x, train)
        return x
