"""The blocks of MAXIM's UNets (arXiv 2201.02973).

Where the official code concatenates maps for a 1 x 1 convolution, these take the parts,
see `maxim.linear`.
"""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from common.kernels.token_mixing import to_map, to_tokens
from common.models.layers import gelu
from common.models.trace_once import trace_once
from maxim.layers import (
    DEFAULT_INIT,
    ConvAttentionBlock,
    Layer,
    MlpAttentionBlock,
    MultiAxisGmlpLayer,
    Pair,
    TokenMix,
    gelu_halves,
)
from maxim.linear import Affine, Doubled, Part, Pointwise

KINDS = ("grid", "block")  # of the two halves of the channels, in this order


class MultiAxis(Layer, kw_only=True):
    """What all blocks with multi-axis layers share.

    Attributes:
      block_size: `(P, Q)` of the local branches.
      grid_size: `(G, K)` of the global branches.
      dropout_rate: on the branches of the multi-axis layers.
    """

    block_size: Pair
    grid_size: Pair
    dropout_rate: float = 0.0

    @nn.nowrap
    def sizes(self) -> dict[str, Any]:
        """Returns the arguments that hand the sizes to a submodule."""
        return {"block_size": self.block_size, "grid_size": self.grid_size}


class SpatialGate(MultiAxis):
    """Weights for another map, from a global and a local mix of this one."""

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        """Maps `[B, H, W, C]` to the same shape."""
        channels = x.shape[-1]
        y = self.layer_norm("LayerNorm_in")(x)
        # The official code never hands its projection factor on to this layer.
        halves = gelu_halves(self.dense(2 * channels, "in_project", DEFAULT_INIT)(y))
        mixed = []
        for number, (half, kind) in enumerate(zip(halves, KINDS, strict=True)):
            size = self.grid_size if kind == "grid" else self.block_size
            mix = TokenMix(
                bias_init=nn.initializers.ones,
                name=f"Dense_{number}",
                **self.shared(),
            )
            tokens = mix(to_tokens(half, kind, size))
            mixed.append(to_map(tokens, kind, size, x.shape))
        y = jnp.concatenate(mixed, axis=-1)
        y = self.dense(channels, "out_project", DEFAULT_INIT)(y)
        return nn.Dropout(self.dropout_rate, deterministic=not train)(y)


class CrossGatingBlock(MultiAxis):
    """The CGB: two maps that gate each other.

    Attributes:
      features: channels of both results.
      upsample_y: whether `y` has half the resolution of `x`.
    """

    features: int
    upsample_y: bool = False

    @nn.compact
    def __call__(
        self, parts: tuple[Part, ...], y: jax.Array, train: bool = False
    ) -> tuple[jax.Array, jax.Array]:
        """Returns new x and y, both `[B, H, W, features]`; x comes in parts."""
        gating: Part = y
        if self.upsample_y:
            up = Affine(
                features=self.features, size=2, name="ConvTranspose_0", **self.shared()
            )
            gating = Doubled(y, *up(y))
        x = Pointwise(features=self.features, name="Conv_0", **self.shared())(*parts)
        y = Pointwise(features=self.features, name="Conv_1", **self.shared())(gating)
        x_in, gate_x = self._gate(x, "x", train)
        y_in, gate_y = self._gate(y, "y", train)
        y = y + self._out(y_in * gate_x, "y", train)
        # Of three terms the middle one is the new y.
        x = x + y + self._out(x_in * gate_y, "x", train)
        return x, y

    def _gate(
        self, x: jax.Array, name: str, train: bool
    ) -> tuple[jax.Array, jax.Array]:
        """Returns a projection of the map and the gate made of it."""
        x = self.layer_norm(f"LayerNorm_{name}")(x)
        x = gelu(self.dense(self.features, f"in_project_{name}", DEFAULT_INIT)(x))
        gate = SpatialGate(
            dropout_rate=self.dropout_rate,
            name=f"SplitHeadMultiAxisGating_{name}",
            **self.sizes(),
            **self.shared(),
        )
        return x, gate(x, train)

    def _out(self, x: jax.Array, name: str, train: bool) -> jax.Array:
        x = self.dense(self.features, f"out_project_{name}", DEFAULT_INIT)(x)
        return nn.Dropout(self.dropout_rate, deterministic=not train)(x)


class LevelBlock(MultiAxis, kw_only=True):
    """What the blocks on one level of a UNet share.

    Attributes:
      features: channels of the results.
      num_groups: how often gMLPs and channel attention are applied.
      block_gmlp_factor: see `MultiAxisGmlpLayer`.
      grid_gmlp_factor: see `MultiAxisGmlpLayer`.
      channels_reduction: of channel attention.
    """

    features: int
    num_groups: int = 1
    block_gmlp_factor: int = 2
    grid_gmlp_factor: int = 2
    channels_reduction: int = 4

    @nn.nowrap
    def multi_axis(self, group: int, input_proj_factor: int) -> MultiAxisGmlpLayer:
        """Returns the gMLPs of a group."""
        return MultiAxisGmlpLayer(
            block_gmlp_factor=self.block_gmlp_factor,
            grid_gmlp_factor=self.grid_gmlp_factor,
            input_proj_factor=input_proj_factor,
            dropout_rate=self.dropout_rate,
            name=f"SplitHeadMultiAxisGmlpLayer_{group}",
            **self.sizes(),
            **self.shared(),
        )


class EncoderBlock(LevelBlock):
    """Multi-axis gMLPs and channel attention on one level of a UNet.

    Attributes:
      input_proj_factor: see `MultiAxisGmlpLayer`.
      downsample: whether there is a level below.
      use_global_mlp: False leaves out the gMLPs.
      repeats: how often the input comes in, one after the other.
    """

    input_proj_factor: int = 2
    downsample: bool = True
    use_global_mlp: bool = True
    repeats: int = 1

    @nn.compact
    def __call__(
        self,
        parts: tuple[Part, ...],
        enc: jax.Array | None = None,
        dec: jax.Array | None = None,
        train: bool = False,
    ) -> tuple[jax.Array, jax.Array]:
        """Returns the input of the level below, if there is one, and this one's map.

        Args:
          parts: of the input, as if concatenated.
          enc: the map of this level of the encoder before, to gate with.
          dec: the map of this level of the decoder before.
          train: whether dropout is on.
        """
        x = Pointwise(
            features=self.features,
            repeats=self.repeats,
            name="Conv_0",
            **self.shared(),
        )(*parts)
        shortcut = x
        for group in range(self.num_groups):
            if self.use_global_mlp:
                gmlps = self.multi_axis(group, self.input_proj_factor)
                x = trace_once(gmlps, x, train=train)
            attention = ConvAttentionBlock(
                reduction=self.channels_reduction,
                name=f"channel_attention_block_1{group}",
                **self.shared(),
            )
            x = trace_once(attention, x, train=train)
        x = x + shortcut
        if enc is not None and dec is not None:
            gating = CrossGatingBlock(
                features=self.features,
                dropout_rate=self.dropout_rate,
                name="cross_gating_block",
                **self.sizes(),
                **self.shared(),
            )
            x, _ = trace_once(gating, (x,), enc + dec, train=train)
        if not self.downsample:
            return x, x
        return self.conv(self.features, 4, "Conv_1", stride=2)(x), x


class DecoderBlock(LevelBlock):
    """Doubles the resolution, and goes on as an `EncoderBlock`.

    Attributes:
      use_global_mlp: False leaves out the gMLPs.
    """

    use_global_mlp: bool = True

    @nn.compact
    def __call__(
        self, x: jax.Array, bridge: tuple[Part, ...], train: bool = False
    ) -> jax.Array:
        """Joins `[B, H/2, W/2, D]` with parts `[B, H, W, C_k]`."""
        up = Affine(
            features=self.features, size=2, name="ConvTranspose_0", **self.shared()
        )
        # The official code does not hand its projection factor on either.
        block = EncoderBlock(
            features=self.features,
            num_groups=self.num_groups,
            block_gmlp_factor=self.block_gmlp_factor,
            grid_gmlp_factor=self.grid_gmlp_factor,
            channels_reduction=self.channels_reduction,
            downsample=False,
            use_global_mlp=self.use_global_mlp,
            dropout_rate=self.dropout_rate,
            name="UNetEncoderBlock_0",
            **self.sizes(),
            **self.shared(),
        )
        return block((Doubled(x, *up(x)), *bridge), train=train)[1]


class BottleneckBlock(LevelBlock):
    """Multi-axis gMLPs and MLPs with channel attention on the lowest resolution.

    Attributes:
      input_proj_factor: see `MultiAxisGmlpLayer`.
    """

    input_proj_factor: int = 2

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        """Maps `[B, H, W, D]` to `[B, H, W, features]`."""
        x = Pointwise(features=self.features, name="input_proj", **self.shared())(x)
        shortcut = x
        for group in range(self.num_groups):
            gmlps = self.multi_axis(group, self.input_proj_factor)
            attention = MlpAttentionBlock(
                reduction=self.channels_reduction,
                dropout_rate=self.dropout_rate,
                name=f"channel_attention_block_1_{group}",
                **self.shared(),
            )
            x = trace_once(gmlps, x, train=train)
            x = trace_once(attention, x, train=train)
        return x + shortcut


class SupervisedAttention(Layer):
    """The SAM: features for the next stage, weighted by what the image has become."""

    features: int

    @nn.compact
    def __call__(self, x: jax.Array, image: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Returns features `[B, H, W, C]` and the image `[B, H, W, 3]`."""
        y = self.conv(self.features, 3, "Conv_0")(x)
        out = self.conv(image.shape[-1], 3, "Conv_1")(x) + image
        attention = nn.sigmoid(self.conv(self.features, 3, "Conv_2")(out))
        return y * attention + x, out
