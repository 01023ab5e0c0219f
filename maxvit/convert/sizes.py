"""Which MaxViT weights are of, told by their shapes; weights of another are refused."""

import re
from collections.abc import Mapping
from typing import NamedTuple

from common.errors import ConfigError
from maxvit import models


class Sizes(NamedTuple):
    """What tells the variants apart."""

    stem_width: int
    depths: tuple[int, ...]
    channels: tuple[int, ...]

    def __str__(self) -> str:
        sizes = (
            f"stem_width {self.stem_width}, depths {self.depths}, "
            f"channels {self.channels}"
        )
        return f"{self.variant!r} ({sizes})" if self.variant else sizes

    @property
    def variant(self) -> str | None:
        """The variant that has these sizes, if any."""
        for name in models.VARIANTS:
            if of_variant(name) == self:
                return name
        return None


def of_variant(name: str) -> Sizes:
    """Returns the sizes of a variant."""
    variant = models.VARIANTS[name]
    return Sizes(variant.stem_width, variant.depths, variant.channels)


def of_shapes(shapes: Mapping[str, tuple[int, ...]]) -> Sizes | None:
    """Returns the sizes of variables by their flat names; None where they differ."""
    depths: dict[int, int] = {}
    channels: dict[int, int] = {}
    for name, shape in shapes.items():
        if match := re.match(r"params/stage(\d{1,2})/block(\d{1,2})/", name):
            stage, block = int(match[1]), int(match[2])
            depths[stage] = max(depths.get(stage, 0), block + 1)
            if re.search(r"/(ffn/shrink|shrink_conv)/bias$", name):
                channels[stage] = shape[0]
    stem = shapes.get("params/stem/conv1/bias")
    if stem is None or not depths or depths.keys() != channels.keys():
        return None
    stages = sorted(depths)
    return Sizes(
        stem[0],
        tuple(depths[stage] for stage in stages),
        tuple(channels[stage] for stage in stages),
    )


def check(where: str, theirs: Sizes | None, ours: Sizes | None) -> None:
    """Refuses weights of another MaxViT than the config's.

    Args:
      where: the weights are from.
      theirs: sizes of the weights; None is not judged.
      ours: sizes of the config's model; None is not judged.

    Raises:
      ConfigError: they differ; it names both, and the flags that change ours.
    """
    if theirs is None or ours is None or theirs == ours:
        return
    if theirs.variant and ours.variant:
        flags = f"--config.model.variant={theirs.variant}"
    else:
        flags = " ".join(
            f"--config.model.{field}={value!r}".replace(" ", "")
            for field, value in theirs._asdict().items()
            if value != getattr(ours, field)
        )
    raise ConfigError(
        f"{where} is of a MaxViT {theirs}, config.model is {ours}; set {flags}"
    )
