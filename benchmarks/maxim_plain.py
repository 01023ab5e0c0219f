"""MAXIM in its plain formulation: what `benchmarks.maxim` compares with.

It computes what the official code computes in the way that code goes about it: windows
and grids are cut out as patches, tokens and channels change places around a Dense
layer, maps are concatenated before 1 x 1 convolutions, and features are resized by
`jax.image.resize`. Names of parameters are the official ones, so the weights of
`maxim.models` fit. For the published variants alone, with equal sizes on both axes.
"""

# ruff: noqa: D101, D102, D103 (the parts are those of maxim.layers and maxim.blocks)

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

SMALL = nn.initializers.normal(0.02)


def norm(name: str) -> nn.LayerNorm:
    return nn.LayerNorm(epsilon=1e-6, name=name)


def conv(features: int, size: int, name: str, stride: int = 1) -> nn.Conv:
    return nn.Conv(features, (size, size), stride, "SAME", name=name)


def patches(x: jax.Array, rows: int, cols: int) -> jax.Array:
    """Cuts `[B, H, W, C]` to `[B, patches, tokens of a patch, C]`."""
    batch, height, width, channels = x.shape
    high, wide = height // rows, width // cols
    x = x.reshape(batch, rows, high, cols, wide, channels).swapaxes(2, 3)
    return x.reshape(batch, rows * cols, high * wide, channels)


def whole(x: jax.Array, rows: int, cols: int, size: tuple[int, int]) -> jax.Array:
    """Puts patches back together."""
    high, wide = size[0] // rows, size[1] // cols
    x = x.reshape(x.shape[0], rows, cols, high, wide, x.shape[-1]).swapaxes(2, 3)
    return x.reshape(x.shape[0], *size, x.shape[-1])


class Mix(nn.Module):
    """A Dense layer over the axis of tokens, which is 1 for grids and 2 for blocks."""

    axis: int
    bias_init: Any = nn.initializers.zeros

    @nn.compact
    def __call__(self, x):
        dense = nn.Dense(
            x.shape[self.axis], kernel_init=SMALL, bias_init=self.bias_init, name=None
        )
        # The name of this module is the Dense layer's in the official tree.
        nn.share_scope(self, dense)
        return dense(x.swapaxes(-1, self.axis)).swapaxes(-1, self.axis)


def cut(x: jax.Array, kind: str, side: int) -> jax.Array:
    if kind == "grid":
        return patches(x, side, side)
    return patches(x, x.shape[1] // side, x.shape[2] // side)


def join(x: jax.Array, kind: str, side: int, size: tuple[int, int]) -> jax.Array:
    if kind == "grid":
        return whole(x, side, side, size)
    return whole(x, size[0] // side, size[1] // side, size)


class Unit(nn.Module):
    axis: int

    @nn.compact
    def __call__(self, x):
        u, v = jnp.split(x, 2, axis=-1)
        v = norm("intermediate_layernorm")(v)
        return u * (Mix(self.axis, name="Dense_0")(v) + 1)


class Gmlp(nn.Module):
    kind: str
    side: int

    @nn.compact
    def __call__(self, x):
        channels, size = x.shape[-1], x.shape[1:3]
        x = cut(x, self.kind, self.side)
        y = norm("LayerNorm")(x)
        y = nn.gelu(nn.Dense(2 * channels, kernel_init=SMALL, name="in_project")(y))
        unit = f"{self.kind.capitalize()}GatingUnit"
        y = Unit({"grid": 1, "block": 2}[self.kind], name=unit)(y)
        y = nn.Dense(channels, kernel_init=SMALL, name="out_project")(y)
        return join(x + y, self.kind, self.side, size)


class MultiAxis(nn.Module):
    side: int

    @nn.compact
    def __call__(self, x):
        channels = x.shape[-1]
        y = norm("LayerNorm_in")(x)
        y = nn.gelu(nn.Dense(2 * channels, kernel_init=SMALL, name="in_project")(y))
        u, v = jnp.split(y, 2, axis=-1)
        u = Gmlp("grid", self.side, name="GridGmlpLayer")(u)
        v = Gmlp("block", self.side, name="BlockGmlpLayer")(v)
        y = jnp.concatenate([u, v], -1)
        return x + nn.Dense(channels, kernel_init=SMALL, name="out_project")(y)


class Attention(nn.Module):
    @nn.compact
    def __call__(self, x):
        y = jnp.mean(x, (1, 2), keepdims=True)
        y = nn.relu(conv(x.shape[-1] // 4, 1, "Conv_0")(y))
        return x * nn.sigmoid(conv(x.shape[-1], 1, "Conv_1")(y))


class ConvAttention(nn.Module):
    @nn.compact
    def __call__(self, x):
        y = norm("LayerNorm")(x)
        y = nn.leaky_relu(conv(x.shape[-1], 3, "conv1")(y), 0.2)
        y = conv(x.shape[-1], 3, "conv2")(y)
        return x + Attention(name="channel_attention")(y)


class Mlp(nn.Module):
    @nn.compact
    def __call__(self, x):
        y = nn.gelu(nn.Dense(x.shape[-1], kernel_init=SMALL, name="Dense_0")(x))
        return nn.Dense(x.shape[-1], kernel_init=SMALL, name="Dense_1")(y)


class MlpAttention(nn.Module):
    @nn.compact
    def __call__(self, x):
        y = Mlp(name="channel_mixing")(norm("LayerNorm")(x))
        return x + Attention(name="channel_attention")(y)


class Gate(nn.Module):
    side: int

    @nn.compact
    def __call__(self, x):
        channels, size = x.shape[-1], x.shape[1:3]
        y = norm("LayerNorm_in")(x)
        y = nn.gelu(nn.Dense(2 * channels, name="in_project")(y))
        mixed = []
        ones = nn.initializers.ones
        for number, (kind, part) in enumerate(
            zip(("grid", "block"), jnp.split(y, 2, -1), strict=True)
        ):
            mix = Mix(number + 1, bias_init=ones, name=f"Dense_{number}")
            z = mix(cut(part, kind, self.side))
            mixed.append(join(z, kind, self.side, size))
        return nn.Dense(channels, name="out_project")(jnp.concatenate(mixed, -1))


class CrossGating(nn.Module):
    features: int
    side: int
    upsample_y: bool = False

    @nn.compact
    def __call__(self, x, y):
        if self.upsample_y:
            y = nn.ConvTranspose(self.features, (2, 2), (2, 2), name="ConvTranspose_0")(
                y
            )
        x = conv(self.features, 1, "Conv_0")(x)
        y = conv(self.features, 1, "Conv_1")(y)
        shortcut_x, shortcut_y = x, y
        x = nn.gelu(
            nn.Dense(self.features, name="in_project_x")(norm("LayerNorm_x")(x))
        )
        gate_x = Gate(self.side, name="SplitHeadMultiAxisGating_x")(x)
        y = nn.gelu(
            nn.Dense(self.features, name="in_project_y")(norm("LayerNorm_y")(y))
        )
        gate_y = Gate(self.side, name="SplitHeadMultiAxisGating_y")(y)
        y = nn.Dense(self.features, name="out_project_y")(y * gate_x) + shortcut_y
        x = nn.Dense(self.features, name="out_project_x")(x * gate_y)
        return x + y + shortcut_x, y


class Encoder(nn.Module):
    features: int
    side: int
    groups: int
    downsample: bool = True

    @nn.compact
    def __call__(self, x, skip=None, enc=None, dec=None):
        if skip is not None:
            x = jnp.concatenate([x, skip], -1)
        x = shortcut = conv(self.features, 1, "Conv_0")(x)
        for group in range(self.groups):
            name = f"SplitHeadMultiAxisGmlpLayer_{group}"
            x = MultiAxis(self.side, name=name)(x)
            x = ConvAttention(name=f"channel_attention_block_1{group}")(x)
        x = x + shortcut
        if enc is not None:
            gate = CrossGating(self.features, self.side, name="cross_gating_block")
            x, _ = gate(x, enc + dec)
        if self.downsample:
            return conv(self.features, 4, "Conv_1", stride=2)(x), x
        return x


class Decoder(nn.Module):
    features: int
    side: int
    groups: int

    @nn.compact
    def __call__(self, x, bridge):
        x = nn.ConvTranspose(self.features, (2, 2), (2, 2), name="ConvTranspose_0")(x)
        block = Encoder(
            self.features, self.side, self.groups, False, name="UNetEncoderBlock_0"
        )
        return block(x, bridge)


class Bottleneck(nn.Module):
    features: int
    side: int
    groups: int

    @nn.compact
    def __call__(self, x):
        x = shortcut = conv(self.features, 1, "input_proj")(x)
        for group in range(self.groups):
            name = f"SplitHeadMultiAxisGmlpLayer_{group}"
            x = MultiAxis(self.side, name=name)(x)
            x = MlpAttention(name=f"channel_attention_block_1_{group}")(x)
        return x + shortcut


class SupervisedAttention(nn.Module):
    features: int

    @nn.compact
    def __call__(self, x, image):
        y = conv(self.features, 3, "Conv_0")(x)
        image = conv(3, 3, "Conv_1")(x) + image
        return y * nn.sigmoid(conv(self.features, 3, "Conv_2")(image)) + x, image


class Resize(nn.Module):
    features: int
    ratio: float

    @nn.compact
    def __call__(self, x):
        batch, height, width, channels = x.shape
        size = int(height * self.ratio), int(width * self.ratio)
        x = jax.image.resize(x, (batch, *size, channels), "bilinear")
        return conv(self.features, 1, "Conv_0")(x)


class Plain(nn.Module):
    """A published variant; see `maxim.models.MAXIM` for the fields."""

    features: int = 32
    num_stages: int = 2
    num_groups: int = 2
    num_bottleneck_blocks: int = 2
    depth: int = 3
    side_hr: int = 16
    side_lr: int = 8

    @nn.compact
    def __call__(self, images):
        """Returns images of all stages and scales, `[B, H, W, 3]` each."""
        levels, groups = range(self.depth), self.num_groups
        widths = [self.features * 2**level for level in levels]
        sides = [self.side_hr if level < 2 else self.side_lr for level in levels]
        batch, height, width, channels = images.shape
        pyramid = [
            jax.image.resize(
                images, (batch, height >> i, width >> i, channels), "nearest"
            )
            for i in levels
        ]
        outputs, encoded, decoded, attended = [], [], [], []
        resizes = 0
        for s in range(self.num_stages):
            inputs = []
            for i in levels:
                x = conv(widths[i], 3, f"stage_{s}_input_conv_{i}")(pyramid[i])
                if s:
                    name = f"stage_{s}_input_fuse_sam_{i}"
                    x, _ = CrossGating(widths[i], sides[i], name=name)(x, attended[i])
                inputs.append(x)
            x, maps = inputs[0], []
            for i in levels:
                name = f"stage_{s}_encoder_block_{i}"
                gates = (encoded[i], decoded[i]) if s else ()
                block = Encoder(widths[i], sides[i], groups, name=name)
                x, features = block(x, inputs[i], *gates)
                maps.append(features)
            encoded = maps
            for n in range(self.num_bottleneck_blocks):
                name = f"stage_{s}_global_block_{n}"
                x = Bottleneck(widths[-1], self.side_lr, groups, name=name)(x)
            gate, skips = x, {}
            for i in reversed(levels):
                parts = []
                for j in levels:
                    name = f"UpSampleRatio_{resizes}"
                    parts.append(Resize(widths[i], 2 ** (j - i), name=name)(encoded[j]))
                    resizes += 1
                name = f"stage_{s}_cross_gating_block_{i}"
                block = CrossGating(widths[i], sides[i], True, name=name)
                skips[i], gate = block(jnp.concatenate(parts, -1), gate)
            decoded = {}
            for i in reversed(levels):
                parts = []
                for j in reversed(levels):
                    name = f"UpSampleRatio_{resizes}"
                    parts.append(Resize(widths[i], 2 ** (j - i), name=name)(skips[j]))
                    resizes += 1
                name = f"stage_{s}_decoder_block_{i}"
                block = Decoder(widths[i], sides[i], groups, name=name)
                x = decoded[i] = block(x, jnp.concatenate(parts, -1))
            attended, restored = [], []
            for i in levels:
                if s < self.num_stages - 1:
                    name = f"stage_{s}_supervised_attention_module_{i}"
                    y, image = SupervisedAttention(widths[i], name=name)(
                        decoded[i], pyramid[i]
                    )
                    attended.append(y)
                else:
                    name = f"stage_{s}_output_conv_{i}"
                    image = conv(3, 3, name)(decoded[i]) + pyramid[i]
                restored.append(image)
            outputs.append(restored[::-1])
        return outputs
