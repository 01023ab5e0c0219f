"""MaxViT as a classifier and as a multi-scale backbone (arXiv 2204.01697)."""

import dataclasses
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from common.config import unknown
from common.errors import ConfigError
from common.models.remat import remat
from common.size import Size, height_width
from maxvit import layout
from maxvit.blocks import MaxViTBlock, Pair, Stage
from maxvit.layers import Head, Stem


@dataclasses.dataclass(frozen=True)
class Variant:
    """What tells the published models apart (tables 1 and 12)."""

    stem_width: int
    depths: tuple[int, ...]
    channels: tuple[int, ...]
    # Of ImageNet-1k training. XL was never trained on it from scratch: its rate is
    # that of ImageNet-21k pre-training.
    drop_path_rate: float
    head_dim: int = 32


VARIANTS = {
    # Not in the paper: small enough for tests, with both kinds of shortcut.
    "testing": Variant(8, (1, 1, 2, 1), (8, 16, 32, 48), 0.0, head_dim=8),
    "tiny": Variant(64, (2, 2, 5, 2), (64, 128, 256, 512), 0.2),
    "small": Variant(64, (2, 2, 5, 2), (96, 192, 384, 768), 0.3),
    "base": Variant(64, (2, 6, 14, 2), (96, 192, 384, 768), 0.4),
    "large": Variant(128, (2, 6, 14, 2), (128, 256, 512, 1024), 0.6),
    "xlarge": Variant(192, (2, 6, 14, 2), (192, 384, 768, 1536), 0.6),
}
ALIASES = {"T": "tiny", "S": "small", "B": "base", "L": "large", "XL": "xlarge"}


class MaxViT(nn.Module):
    """Stem, stages of MaxViT blocks, head (figure 2). `create` builds and checks it.

    Takes images of every size, not only that it was built for. Where windows or grids
    do not divide a map it is padded for the attention, and padding is never attended
    to; sizes that divide are faster.

    Attributes:
      num_classes: width of the logits; 0: none, but what they would be made of.
      stem_width: channels of the stem.
      depths: blocks per stage; the first block of each stage halves the resolution.
      channels: channels per stage.
      window_size: `(P, Q)`, tokens along the sides of a block-attention window.
      grid_size: `(G, K)`, the same of a grid-attention group.
      block_layout: the layers of a block, see `maxvit.layout`.
      head_dim: channels per attention head.
      expansion: inner over outer width of MBConv and feed-forward.
      se_ratio: squeezed width over the MBConv's output width.
      drop_path_rate: stochastic depth; block b of D drops at `drop_path_rate * b / D`.
      dtype: precision of the computation.
      param_dtype: precision of the parameters.
      remat: what the blocks save for the backward pass (`common.models.remat`).
      folded: without batch norms, see `maxvit.inference.fold`; not for training.
    """

    num_classes: int
    stem_width: int
    depths: tuple[int, ...]
    channels: tuple[int, ...]
    window_size: Pair
    grid_size: Pair
    block_layout: str = layout.DEFAULT
    head_dim: int = 32
    expansion: int = 4
    se_ratio: float = 0.25
    drop_path_rate: float = 0.0
    dtype: Any = jnp.float32
    param_dtype: Any = jnp.float32
    remat: str = "none"
    folded: bool = False

    def setup(self):
        """Names the parts: stem, stage1/block0, ..., head."""
        precision = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        rates = iter(
            self.drop_path_rate * np.arange(sum(self.depths)) / sum(self.depths)
        )
        layouts = layout.parse(self.block_layout, len(self.depths))
        self.stem = Stem(self.stem_width, folded=self.folded, **precision)
        self.stages = [
            Stage(
                features=channels,
                drop_paths=tuple(float(next(rates)) for _ in range(depth)),
                layout=block,
                window=self.window_size,
                grid=self.grid_size,
                head_dim=self.head_dim,
                expansion=self.expansion,
                se_ratio=self.se_ratio,
                remat=self.remat,
                folded=self.folded,
                name=f"stage{number}",
                **precision,
            )
            for number, (channels, depth, block) in enumerate(
                zip(self.channels, self.depths, layouts, strict=True), start=1
            )
        ]
        self.head = Head(self.num_classes, **precision)

    def features(self, images: jax.Array, train: bool = False) -> dict[str, jax.Array]:
        """Returns the maps of all resolutions.

        Args:
          images: `[B, H, W, 3]`, normalised.
          train: batch statistics (updates "batch_stats") and stochastic depth (needs
            the "dropout" random stream).

        Returns:
          `stem` at stride 2, `stage1` at stride 4, `stage2` at stride 8 and so on,
          each `[B, H/stride, W/stride, C]` of `dtype`; sides that do not divide are
          rounded up.

        Raises:
          ConfigError: if the images have no pixels or not three channels, or a
            folded model is to be trained.
        """
        if train and self.folded:
            raise ConfigError("a folded model has no batch norms and cannot be trained")
        if images.ndim != 4 or images.shape[-1] != 3 or 0 in images.shape[1:]:
            raise ConfigError(
                f"images must be [B, H, W, 3] with at least one pixel: {images.shape}"
            )
        x = self.stem(images, train)
        maps = {"stem": x}
        for number, stage in enumerate(self.stages, start=1):
            x = stage(x, train)
            maps[f"stage{number}"] = x
        return maps

    def __call__(self, images: jax.Array, train: bool = False) -> jax.Array:
        """Classifies images.

        Args:
          images: `[B, H, W, 3]`, normalised.
          train: as in `features`.

        Returns:
          float32 logits `[B, num_classes]`, or `[B, C]` without classes.

        Raises:
          ConfigError: as in `features`.
        """
        return self.head(self.features(images, train)[f"stage{len(self.depths)}"])


def create(
    variant: str, num_classes: int = 1000, image_size: Size = 224, **overrides: Any
) -> MaxViT:
    """Builds a MaxViT.

    Args:
      variant: a name in `VARIANTS` or a letter in `ALIASES`.
      num_classes: width of the logits; 0 for a network that ends before them.
      image_size: side, or `(H, W)`. It decides the windows, where they are not
        overridden: as published, the sides of the last stage's map, that is 1/32 of
        the image's (rounded up) in four stages.
      **overrides: fields of `MaxViT`. `window_size` and `grid_size` may be one number
        (the grid follows the window), `dtype` and `param_dtype` may be names.

    Returns:
      The module. It starts with random weights; "dropout" is its only random stream.

    Raises:
      ConfigError: for an unknown variant or field, or a value that no model can have.
    """
    name = ALIASES.get(variant, variant)
    if name not in VARIANTS:
        raise ConfigError(unknown("MaxViT variant", variant, [*VARIANTS, *ALIASES]))
    names = {field.name for field in dataclasses.fields(MaxViT)}
    names -= {"parent", "name", "num_classes"}
    for key in overrides:
        if key not in names:
            raise ConfigError(unknown("MaxViT field", key, names))

    fields: dict[str, Any] = dataclasses.asdict(VARIANTS[name]) | overrides
    for key in ("depths", "channels"):
        if not isinstance(fields[key], list | tuple):
            raise ConfigError(f"{key} must list one integer per stage: {fields[key]!r}")
        fields[key] = tuple(fields[key])
    for key in ("dtype", "param_dtype"):
        if key in fields:
            fields[key] = _float_type(key, fields[key])
    # The stem and every stage halve the resolution.
    stride = 2 ** (len(fields["depths"]) + 1)
    last_map = tuple(-(-side // stride) for side in height_width(image_size))
    default = last_map
    for key in ("window_size", "grid_size"):
        if fields.get(key) is None:
            fields[key] = default
        default = fields[key] = height_width(fields[key], key)
    model = MaxViT(num_classes=num_classes, **fields)
    _check_fields(model)
    return model


def _check_fields(model: MaxViT) -> None:
    """Checks what would otherwise fail deep inside the network."""
    if not model.depths or len(model.depths) != len(model.channels):
        raise ConfigError(
            "depths and channels need one entry per stage, got "
            f"{model.depths} and {model.channels}"
        )
    if not isinstance(model.num_classes, int) or model.num_classes < 0:
        raise ConfigError(
            f"num_classes must be an integer of at least 0, got {model.num_classes!r}"
        )
    numbers = ("stem_width", "head_dim", "expansion")
    values = [(name, getattr(model, name)) for name in numbers]
    for name in ("depths", "channels"):
        values += [(name, entry) for entry in getattr(model, name)]
    for name, value in values:
        if not isinstance(value, int) or value < 1:
            raise ConfigError(f"{name} must be a positive integer, got {value!r}")
    for channels in model.channels:
        if channels % model.head_dim:
            raise ConfigError(
                f"channels {channels} do not divide into heads of {model.head_dim}"
            )
        if int(channels * model.se_ratio) < 1:
            raise ConfigError(
                f"se_ratio {model.se_ratio} leaves nothing of {channels} channels"
            )
    if not 0.0 <= model.drop_path_rate <= 1.0:
        raise ConfigError(
            f"drop_path_rate must be in [0, 1], got {model.drop_path_rate}"
        )
    layout.parse(model.block_layout, len(model.depths))
    remat(MaxViTBlock, model.remat)


def _float_type(name: str, value: Any) -> np.dtype:
    choices = ("float32", "bfloat16", "float64")
    try:
        dtype = jnp.dtype(value)
    except TypeError:
        dtype = None
    if dtype is None or dtype.name not in choices:
        raise ConfigError(unknown(name, str(value), choices))
    return dtype
