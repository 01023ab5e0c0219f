"""Which MAXIM weights are of, told by their shapes; weights of another are refused."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from common.checkpoint import matching
from common.errors import ConfigError
from maxim import models
from maxim.convert.names import LANDMARK, OURS

# Names whose number is one less than a size, in the order of `Sizes`. Encoders and
# decoders can go without multi-axis layers, bottlenecks cannot.
_COUNTED = (
    r"params/stage_(\d{1,2})_decoder_block_",
    r"params/stage_0_input_conv_(\d{1,2})/",
    r"params/stage_0_encoder_block_(\d{1,2})/",
    r"params/stage_0_global_block_0/SplitHeadMultiAxisGmlpLayer_(\d{1,2})/",
    r"params/stage_0_global_block_(\d{1,2})/",
)


class Sizes(NamedTuple):
    """Fields of the model that its weights tell."""

    features: int
    num_stages: int
    num_supervision_scales: int
    depth: int
    num_groups: int
    num_bottleneck_blocks: int

    def __str__(self) -> str:
        if self.variant:
            return f"{self.variant} with {self.num_supervision_scales} scales"
        return ", ".join(f"{name} {value}" for name, value in self._asdict().items())

    @property
    def variant(self) -> str | None:
        """The variant that these are of, with whatever scales, if any."""
        for name in models.VARIANTS:
            scales = {"num_supervision_scales": self.num_supervision_scales}
            if of_model(models.create(name))._replace(**scales) == self:
                return name
        return None


def of_model(model: Any) -> Sizes:
    """Returns the sizes of a model."""
    return Sizes(*(getattr(model, field) for field in Sizes._fields))


def of_arrays(where: str, arrays: Mapping[str, np.ndarray]) -> Sizes:
    """Returns the sizes of weights.

    Args:
      where: they are from.
      arrays: flat names of ours to arrays.

    Raises:
      ConfigError: they tell none.
    """
    kernel = arrays.get(OURS + LANDMARK)
    counts = [_count(pattern, arrays) for pattern in _COUNTED]
    if kernel is None or kernel.ndim != 4 or 0 in counts:
        raise ConfigError(f"{where}: weights of a MAXIM that lack whole parts of it")
    return Sizes(kernel.shape[-1], *counts)


def check(where: str, theirs: Sizes, ours: Sizes) -> None:
    """Refuses weights of another MAXIM than the model.

    Args:
      where: the weights are from.
      theirs: sizes of the weights.
      ours: sizes of the model.

    Raises:
      ConfigError: they differ; it names both, and the flags that change ours.
    """
    fields: dict[str, Any] = {
        field: value
        for field, value in theirs._asdict().items()
        if value != getattr(ours, field)
    }
    if not fields:
        return
    if theirs.variant and ours.variant and theirs.variant != ours.variant:
        scales = fields.get("num_supervision_scales")
        fields = {"variant": theirs.variant}
        fields |= {"num_supervision_scales": scales} if scales else {}
    flags = " ".join(f"--config.model.{name}={v}" for name, v in fields.items())
    raise ConfigError(
        f"{where} is of a MAXIM {theirs}; the model is {ours}: name another --task, "
        f"or with --config set {flags}"
    )


def fit(
    where: str, arrays: Mapping[str, np.ndarray], model: nn.Module | None = None
) -> dict[str, Any]:
    """Puts weights into the structure of a model, with all names and shapes equal.

    Args:
      where: they are from.
      arrays: flat names of ours to arrays.
      model: a MAXIM; the variant that they are of by default.

    Returns:
      The parameters, nested.

    Raises:
      ConfigError: they do not fit, or are of no variant.
    """
    theirs = of_arrays(where, arrays)
    if model is None:
        model = _build(where, theirs)
    check(where, theirs, of_model(model))
    side = model.size_multiple
    target = jax.eval_shape(
        model.init,
        jax.eval_shape(lambda: jax.random.key(0)),
        jax.ShapeDtypeStruct((1, side, side, 3), jnp.float32),
    )
    variables, report = matching.match(target, arrays)
    report.raise_if_any(f" ({where})")
    return variables["params"]


def _build(where: str, sizes: Sizes) -> nn.Module:
    if sizes.variant is None:
        raise ConfigError(
            f"{where} is of a MAXIM {sizes}, which is none of "
            f"{', '.join(models.VARIANTS)}: the model it belongs to is needed"
        )
    scales = sizes.num_supervision_scales
    return models.create(sizes.variant, num_supervision_scales=scales)


def _count(pattern: str, names: Collection[str]) -> int:
    """One more than the highest number that names have at a place, 0 without any."""
    found = [re.match(pattern, name) for name in names]
    return max((int(match[1]) + 1 for match in found if match), default=0)
