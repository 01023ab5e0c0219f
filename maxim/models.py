"""MAXIM: stacked UNets of multi-axis gMLPs for restoration (arXiv 2201.02973)."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax

from common.config import unknown
from common.errors import ConfigError
from common.models.remat import remat
from common.models.trace_once import trace_once
from common.size import height_width
from maxim.blocks import (
    BottleneckBlock,
    CrossGatingBlock,
    DecoderBlock,
    EncoderBlock,
    SupervisedAttention,
)
from maxim.layers import Layer, Pair
from maxim.linear import Affine, Convolution, Part, Pointwise, UpSampleRatio
from maxim.resize import nearest_down

# What tells the published models apart (official configs): features and stages.
VARIANTS = {
    "S-1": (32, 1),
    "S-2": (32, 2),
    "S-3": (32, 3),
    "M-1": (64, 1),
    "M-2": (64, 2),
    "M-3": (64, 3),
}
# What they share, where it differs from the defaults of the fields.
_PUBLISHED = {"num_groups": 2, "num_bottleneck_blocks": 2}
_PAIRS = ("block_size_hr", "grid_size_hr", "block_size_lr", "grid_size_lr")


class MAXIM(Layer):
    """The network; `create` builds and checks it. Fields as in the official code.

    Attributes:
      features: width at full resolution; level i of a UNet has `features * 2 ** i`.
      depth: levels of a UNet, each followed by halving the resolution.
      num_stages: UNets in a row.
      num_groups: multi-axis layers with channel attention per block.
      num_supervision_scales: scales of inputs and outputs, from full resolution down.
      lrelu_slope: has no effect, as in the official code: the slope is always 0.2.
      use_global_mlp: False leaves the multi-axis layers of encoders and decoders out,
        not those of the bottleneck.
      use_cross_gating: False replaces the gating of skips and between stages by plain
        convolutions; encoders go on to gate with the stage before.
      high_res_stages: levels that have the sizes `_hr`; the others have `_lr`.
      block_size_hr: `(P, Q)` of the local branches.
      grid_size_hr: `(G, K)` of the global branches.
      block_size_lr: of both branches on the lower levels and in the bottleneck.
      grid_size_lr: has no effect, as in the official code.
      num_bottleneck_blocks: blocks in a row at the lowest resolution.
      block_gmlp_factor: inner over outer width of the local branches.
      grid_gmlp_factor: inner over outer width of the global branches.
      input_proj_factor: width of both branches together over the input's; in decoders
        and gates always 2, as in the official code.
      channels_reduction: squeeze ratio of channel attention.
      num_outputs: channels of the output; 3, as every stage adds the image.
      dropout_rate: on the branches of multi-axis layers.
      remat: what the blocks save for the backward pass (`common.models.remat`).
    """

    features: int = 64
    depth: int = 3
    num_stages: int = 2
    num_groups: int = 1
    num_supervision_scales: int = 1
    lrelu_slope: float = 0.2
    use_global_mlp: bool = True
    use_cross_gating: bool = True
    high_res_stages: int = 2
    block_size_hr: Pair = (16, 16)
    grid_size_hr: Pair = (16, 16)
    block_size_lr: Pair = (8, 8)
    grid_size_lr: Pair = (8, 8)
    num_bottleneck_blocks: int = 1
    block_gmlp_factor: int = 2
    grid_gmlp_factor: int = 2
    input_proj_factor: int = 2
    channels_reduction: int = 4
    num_outputs: int = 3
    dropout_rate: float = 0.0
    remat: str = "none"

    @property
    def size_multiple(self) -> int:
        """Sides of images must be multiples of this."""
        sides = [2**self.depth * side for side in self.block_size_lr]
        for level in range(self.depth):
            sizes = self._sizes(level)
            sides += [2**level * side for pair in sizes.values() for side in pair]
        return math.lcm(*sides)

    @nn.compact
    def __call__(self, images: jax.Array, train: bool = False) -> list[list[jax.Array]]:
        """Restores images at every stage and scale.

        Args:
          images: `[B, H, W, 3]` in [0, 1], sides multiples of `size_multiple`.
          train: whether dropout is on.

        Returns:
          A list over stages of lists over scales, from coarse to fine, of images
          `[B, H / 2**k, W / 2**k, num_outputs]`, not clipped.

        Raises:
          ConfigError: a side does not divide.
        """
        return self._run(images, train, all_outputs=True)

    @nn.compact
    def restore(self, images: jax.Array) -> jax.Array:
        """Returns the last and finest image alone, `[B, H, W, num_outputs]`."""
        return self._run(images, train=False, all_outputs=False)[-1][-1]

    def _run(
        self, images: jax.Array, train: bool, all_outputs: bool
    ) -> list[list[jax.Array]]:
        self._check(images)
        scales = range(1, self.num_supervision_scales)
        pyramid = [images, *(nearest_down(images, 2**level) for level in scales)]
        outputs, before = [], None
        for stage in range(self.num_stages):
            inputs = self._inputs(stage, pyramid, before, train)
            encoded, x = self._encode(stage, inputs, before, train)
            skips = self._skips(stage, encoded, x, train)
            decoded = self._decode(stage, skips, x, train)
            if stage < self.num_stages - 1:
                attended, restored = self._attend(stage, decoded, pyramid)
                before = _Before(encoded, decoded, attended)
            else:
                levels = len(pyramid) if all_outputs else 1
                restored = self._outputs(stage, decoded, pyramid[:levels])
            outputs.append(restored[::-1])
        return outputs

    def _inputs(
        self,
        stage: int,
        pyramid: Sequence[jax.Array],
        before: _Before | None,
        train: bool,
    ) -> list[Part]:
        """Features of the input images, joined with what the stage before attended."""
        inputs: list[Part] = []
        for level, image in enumerate(pyramid):
            width = self.features * 2**level
            name = f"stage_{stage}_input_conv_{level}"
            conv = Affine(features=width, size=3, name=name, **self.shared())
            # Only its features are in `dtype`: what is added to the image stays
            # float32, whose levels bfloat16 could not hold.
            image = image.astype(self.dtype)
            x: Part = Convolution(image, *conv(image))
            if before is not None and self.use_cross_gating:
                fuse = self._gating(level, f"stage_{stage}_input_fuse_sam_{level}")
                x, _ = trace_once(fuse, (x,), before.attended[level], train=train)
            elif before is not None:
                name = f"stage_{stage}_input_catconv_{level}"
                fuse = Pointwise(features=width, name=name, **self.shared())
                x = fuse(x, before.attended[level])
            inputs.append(x)
        return inputs

    def _encode(
        self, stage: int, inputs: Sequence[Part], before: _Before | None, train: bool
    ) -> tuple[list[jax.Array], jax.Array]:
        """Returns the encoder's maps, from fine to coarse, and the bottleneck's."""
        encoded: list[jax.Array] = []
        down: tuple[jax.Array, ...] = ()
        for level in range(self.depth):
            gate = (before.encoded[level], before.decoded[level]) if before else ()
            block = remat(EncoderBlock, self.remat, static_argnums=4)(
                # The finest input is both the block's input and its skip.
                repeats=1 if level else 2,
                input_proj_factor=self.input_proj_factor,
                use_global_mlp=self.use_global_mlp,
                name=f"stage_{stage}_encoder_block_{level}",
                **self._widths(level),
                **self._sizes(level),
            )
            parts = (*down, *inputs[level : level + 1])
            x, features = block(parts, *(gate or (None, None)), train)
            down = (x,)
            encoded.append(features)
        (x,) = down
        for number in range(self.num_bottleneck_blocks):
            block = remat(BottleneckBlock, self.remat, static_argnums=2)(
                input_proj_factor=self.input_proj_factor,
                name=f"stage_{stage}_global_block_{number}",
                **self._widths(self.depth - 1),
                **self._sizes(self.depth),
            )
            x = block(x, train)
        return encoded, x

    def _skips(
        self, stage: int, encoded: Sequence[jax.Array], x: jax.Array, train: bool
    ) -> list[jax.Array]:
        """Gates all levels of the encoder with the bottleneck's map, which grows."""
        skips: list[jax.Array] = []
        first = 2 * self.depth**2 * stage
        for level in reversed(range(self.depth)):
            sources = [*enumerate(encoded)]
            parts = self._resize(first + len(skips) * self.depth, sources, level)
            if self.use_cross_gating:
                name = f"stage_{stage}_cross_gating_block_{level}"
                gating = self._gating(level, name, upsample_y=True)
                skip, x = trace_once(gating, parts, x, train=train)
            else:
                width = self.features * 2**level
                number = 2 * (stage * self.depth + len(skips))
                name = f"Conv_{number}"
                joined = Pointwise(features=width, name=name, **self.shared())(*parts)
                skip = self.conv(width, 3, f"Conv_{number + 1}")(joined)
            skips.append(skip)
        return skips[::-1]

    def _decode(
        self, stage: int, skips: Sequence[jax.Array], x: jax.Array, train: bool
    ) -> list[jax.Array]:
        """Returns the decoder's maps, from fine to coarse."""
        decoded: list[jax.Array] = []
        first = 2 * self.depth**2 * stage + self.depth**2
        for level in reversed(range(self.depth)):
            sources = [*enumerate(skips)][::-1]  # here the coarsest comes first
            parts = self._resize(first + len(decoded) * self.depth, sources, level)
            block = remat(DecoderBlock, self.remat, static_argnums=3)(
                use_global_mlp=self.use_global_mlp,
                name=f"stage_{stage}_decoder_block_{level}",
                **self._widths(level),
                **self._sizes(level),
            )
            x = block(x, parts, train)
            decoded.append(x)
        return decoded[::-1]

    def _attend(
        self, stage: int, decoded: Sequence[jax.Array], pyramid: Sequence[jax.Array]
    ) -> tuple[list[jax.Array], list[jax.Array]]:
        """Returns features for the next stage and images, both from fine to coarse."""
        pairs = [
            SupervisedAttention(
                features=self.features * 2**level,
                name=f"stage_{stage}_supervised_attention_module_{level}",
                **self.shared(),
            )(decoded[level], image)
            for level, image in enumerate(pyramid)
        ]
        return [pair[0] for pair in pairs], [pair[1] for pair in pairs]

    def _outputs(
        self, stage: int, decoded: Sequence[jax.Array], pyramid: Sequence[jax.Array]
    ) -> list[jax.Array]:
        """Returns the images of the last stage, from fine to coarse."""
        return [
            self.conv(self.num_outputs, 3, f"stage_{stage}_output_conv_{level}")(
                decoded[level]
            )
            + image
            for level, image in enumerate(pyramid)
        ]

    @nn.nowrap
    def _resize(
        self, first: int, sources: Sequence[tuple[int, jax.Array]], level: int
    ) -> tuple[Part, ...]:
        """Brings maps of the levels that `sources` names to `level`; `first` counts."""
        return tuple(
            UpSampleRatio(
                features=self.features * 2**level,
                steps=source - level,
                name=f"UpSampleRatio_{first + number}",
                **self.shared(),
            )(x)
            for number, (source, x) in enumerate(sources)
        )

    @nn.nowrap
    def _gating(self, level: int, name: str, upsample_y: bool = False) -> Any:
        return remat(CrossGatingBlock, self.remat, static_argnums=3)(
            features=self.features * 2**level,
            upsample_y=upsample_y,
            dropout_rate=self.dropout_rate,
            name=name,
            **self._sizes(level),
            **self.shared(),
        )

    @nn.nowrap
    def _sizes(self, level: int) -> dict[str, Any]:
        """Block and grid of a level; the bottleneck is the one after the last."""
        if level < min(self.high_res_stages, self.depth):
            return {"block_size": self.block_size_hr, "grid_size": self.grid_size_hr}
        return {"block_size": self.block_size_lr, "grid_size": self.block_size_lr}

    @nn.nowrap
    def _widths(self, level: int) -> dict[str, Any]:
        """What the blocks of encoder, bottleneck and decoder share."""
        return {
            "features": self.features * 2**level,
            "num_groups": self.num_groups,
            "block_gmlp_factor": self.block_gmlp_factor,
            "grid_gmlp_factor": self.grid_gmlp_factor,
            "channels_reduction": self.channels_reduction,
            "dropout_rate": self.dropout_rate,
            **self.shared(),
        }

    @nn.nowrap
    def _check(self, images: jax.Array) -> None:
        multiple = self.size_multiple
        shape = images.shape
        if (
            len(shape) != 4
            or shape[-1] != 3
            or shape[1] % multiple
            or shape[2] % multiple
        ):
            raise ConfigError(
                f"images are [B, H, W, 3] with H and W multiples of {multiple}, given "
                f"{list(shape)}; maxim.predict.restore takes any size"
            )


@dataclasses.dataclass
class _Before:
    """What a stage hands to the next: maps per level, from fine to coarse."""

    encoded: list[jax.Array]
    decoded: list[jax.Array]
    attended: list[jax.Array]


def create(
    variant: str = "S-2", num_supervision_scales: int = 3, **overrides: Any
) -> MAXIM:
    """Builds a network.

    Args:
      variant: "S-1" to "S-3" or "M-1" to "M-3", of which the paper's MAXIM-2S and
        MAXIM-3S are S-2 and S-3; their depth is 3.
      num_supervision_scales: scales of input and output; 3 in all released weights.
      **overrides: further fields of `MAXIM`; sizes are one side or a pair.

    Raises:
      ConfigError: unknown variant or field, or a value that cannot be.
    """
    if variant not in VARIANTS:
        raise ConfigError(unknown("variant", str(variant), VARIANTS))
    features, stages = VARIANTS[variant]
    values: dict[str, Any] = {"features": features, "num_stages": stages, **_PUBLISHED}
    values["num_supervision_scales"] = num_supervision_scales
    known = [field.name for field in dataclasses.fields(MAXIM)]
    for name, value in overrides.items():
        if name not in known or name in ("parent", "name"):
            raise ConfigError(unknown("field of MAXIM", name, known))
        values[name] = height_width(value, name) if name in _PAIRS else value
    model = MAXIM(**values)
    _check_fields(model)
    return model


def _check_fields(model: MAXIM) -> None:
    """Refuses fields with which nothing could be built."""
    for name in (
        "features",
        "depth",
        "num_stages",
        "num_groups",
        "num_supervision_scales",
        "channels_reduction",
        "block_gmlp_factor",
        "grid_gmlp_factor",
        "input_proj_factor",
    ):
        value = getattr(model, name)
        if type(value) is not int or value < 1:
            raise ConfigError(f"{name} is a positive whole number, given {value!r}")
    for name in ("num_bottleneck_blocks", "high_res_stages"):
        value = getattr(model, name)
        if type(value) is not int or value < 0:
            raise ConfigError(f"{name} is a whole number from 0 on, given {value!r}")
    if model.num_outputs != 3:
        raise ConfigError(
            f"num_outputs={model.num_outputs}: only 3 channels can be added to the "
            "image, as the last stage does"
        )
    if model.num_supervision_scales > model.depth:
        raise ConfigError(
            f"num_supervision_scales={model.num_supervision_scales} must not be above "
            f"depth={model.depth}"
        )
    if model.features < model.channels_reduction:
        raise ConfigError(
            f"features={model.features} must be at least "
            f"channels_reduction={model.channels_reduction}"
        )
    remat(nn.Module, model.remat)  # refuses an unknown policy
    if not 0 <= model.dropout_rate < 1:
        raise ConfigError(f"dropout_rate={model.dropout_rate} must be in [0, 1)")
