"""MaxViT as a classifier and as a multi-scale backbone (arXiv 2204.01697)."""

import dataclasses
import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from common.config import unknown
from common.errors import ConfigError
from common.models.remat import remat
from common.size import Size, height_width
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

    Takes every image size that its windows divide, not only the one it was built for.

    Attributes:
      num_classes: width of the logits.
      stem_width: channels of the stem.
      depths: blocks per stage; the first block of each stage halves the resolution.
      channels: channels per stage.
      window_size: `(P, Q)`, tokens along the sides of a block-attention window.
      grid_size: `(G, K)`, the same of a grid-attention group.
      head_dim: channels per attention head.
      expansion: inner over outer width of MBConv and feed-forward.
      se_ratio: squeezed width over the MBConv's output width.
      drop_path_rate: stochastic depth; block b of D drops at `drop_path_rate * b / D`.
      dtype: precision of the computation.
      param_dtype: precision of the parameters.
      remat: what the blocks save for the backward pass (`common.models.remat`).
    """

    num_classes: int
    stem_width: int
    depths: tuple[int, ...]
    channels: tuple[int, ...]
    window_size: Pair
    grid_size: Pair
    head_dim: int = 32
    expansion: int = 4
    se_ratio: float = 0.25
    drop_path_rate: float = 0.0
    dtype: Any = jnp.float32
    param_dtype: Any = jnp.float32
    remat: str = "none"

    def setup(self):
        """Names the parts: stem, stage1/block0, ..., head."""
        precision = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        rates = iter(
            self.drop_path_rate * np.arange(sum(self.depths)) / sum(self.depths)
        )
        self.stem = Stem(self.stem_width, **precision)
        self.stages = [
            Stage(
                features=channels,
                drop_paths=tuple(float(next(rates)) for _ in range(depth)),
                window=self.window_size,
                grid=self.grid_size,
                head_dim=self.head_dim,
                expansion=self.expansion,
                se_ratio=self.se_ratio,
                remat=self.remat,
                name=f"stage{number}",
                **precision,
            )
            for number, (channels, depth) in enumerate(
                zip(self.channels, self.depths, strict=True), start=1
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
          each `[B, H/stride, W/stride, C]` of `dtype`.

        Raises:
          ConfigError: if a window or grid does not divide the image's maps.
        """
        _, height, width, _ = images.shape
        stages = len(self.depths)
        check_size((height, width), self.window_size, self.grid_size, stages)
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
          float32 logits `[B, num_classes]`.

        Raises:
          ConfigError: if a window or grid does not divide the image's maps.
        """
        return self.head(self.features(images, train)[f"stage{len(self.depths)}"])


def create(
    variant: str, num_classes: int = 1000, image_size: Size = 224, **overrides: Any
) -> MaxViT:
    """Builds a MaxViT.

    Args:
      variant: a name in `VARIANTS` or a letter in `ALIASES`.
      num_classes: width of the logits.
      image_size: side, or `(H, W)`. It decides the windows, where they are not
        overridden: as published, the side of the last stage's map.
      **overrides: fields of `MaxViT`. `window_size` and `grid_size` may be one number
        (the grid follows the window), `dtype` and `param_dtype` may be names.

    Returns:
      The module. It starts with random weights; "dropout" is its only random stream.

    Raises:
      ConfigError: for an unknown variant or field, a value that no model can have, or
        an image size that does not divide into windows.
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
    size = height_width(image_size)
    stages = len(fields["depths"])
    window = fields.get("window_size") or _default_window(size, stages)
    fields["window_size"] = height_width(window)
    fields["grid_size"] = height_width(fields.get("grid_size") or window)

    model = MaxViT(num_classes=num_classes, **fields)
    _check_fields(model)
    check_size(size, model.window_size, model.grid_size, stages)
    return model


def check_size(size: Pair, window: Pair, grid: Pair, stages: int) -> None:
    """Checks that windows and grids divide the map of every stage.

    Args:
      size: `(H, W)` of the image.
      window: sides of a block-attention window.
      grid: sides of a grid-attention group.
      stages: number of stages; each halves the resolution after the stem did.

    Raises:
      ConfigError: if not; it names the first stage that fails and sizes that work.
    """
    total_stride = 2 ** (stages + 1)
    for axis, name in enumerate(("height", "width")):
        unit = total_stride * math.lcm(window[axis], grid[axis])
        for stage in range(1, stages + 1):
            side = math.ceil(size[axis] / 2 ** (stage + 1))
            if side % window[axis] or side % grid[axis]:
                raise ConfigError(
                    f"image size {size[0]} x {size[1]}: stage{stage} has a feature map "
                    f"of {name} {side}, which does not divide by window "
                    f"{window[axis]} and grid {grid[axis]}; {name}s that work: "
                    f"{_nearest(size[axis], unit)}"
                )


def _default_window(size: Pair, stages: int) -> Pair:
    """Returns the sides of the last stage's map."""
    stride = 2 ** (stages + 1)
    for side in size:
        if side % stride:
            raise ConfigError(
                f"image size {size[0]} x {size[1]} has no default window: sides must "
                f"be multiples of {stride}, the last stage's stride. In place of "
                f"{side}: {_nearest(side, stride)}; or set window_size"
            )
    return size[0] // stride, size[1] // stride


def _nearest(side: int, unit: int) -> str:
    """Names the multiples of `unit` on both sides of `side`."""
    below = side // unit * unit
    return f"{below} or {below + unit}" if below else str(unit)


def _check_fields(model: MaxViT) -> None:
    """Checks what would otherwise fail deep inside the network."""
    if not model.depths or len(model.depths) != len(model.channels):
        raise ConfigError(
            "depths and channels need one entry per stage, got "
            f"{model.depths} and {model.channels}"
        )
    numbers = ("num_classes", "stem_width", "head_dim", "expansion")
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
