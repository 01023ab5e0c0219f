"""Which layers a block has, as the ablations write it: "C-BA-GA".

C is an MBConv, BA block attention and GA grid attention, both with their
feed-forward. "-" puts layers one after another. "BA|GA" runs two side by side, each
on half of a projection twice as wide. One text serves all stages; several,
separated by commas, serve one stage each.
"""

import collections

from common.config import unknown
from common.errors import ConfigError

DEFAULT = "C-BA-GA"
LAYERS = ("C", "BA", "GA")

# Steps of a block, each of one layer or of several side by side.
Layout = tuple[tuple[str, ...], ...]


def parse(text: str, stages: int) -> tuple[Layout, ...]:
    """Reads the layout of every stage.

    Args:
      text: such as "C-BA-GA", "C-BA|GA" or "C-BA,C-BA-GA,C-BA-GA,C-BA-GA".
      stages: number of stages.

    Returns:
      One layout per stage. A layer that comes again in a block gets a number, as in
      `(("C",), ("BA",), ("BA_1",))`.

    Raises:
      ConfigError: if the text is not of this form, or not of so many stages.
    """
    parts = text.split(",") if isinstance(text, str) else []
    if len(parts) == 1:
        parts *= stages
    if len(parts) != stages:
        raise ConfigError(
            f"block_layout {text!r} must be one layout such as {DEFAULT!r}, or "
            f"{stages} separated by commas, one per stage"
        )
    return tuple(_parse_one(part.strip()) for part in parts)


def _parse_one(text: str) -> Layout:
    seen: collections.Counter[str] = collections.Counter()
    steps = []
    for step in text.split("-"):
        layers = []
        for layer in step.split("|"):
            if layer not in LAYERS:
                raise ConfigError(unknown(f"layer in {text!r}", layer, LAYERS))
            layers.append(f"{layer}_{seen[layer]}" if seen[layer] else layer)
            seen[layer] += 1
        steps.append(tuple(layers))
    side_by_side = [len(step) > 1 for step in steps]
    if side_by_side[0] or sum(side_by_side) > 1:
        raise ConfigError(
            f"block_layout {text!r}: at most one step can have layers side by side, "
            "and not the first, which halves the resolution"
        )
    return tuple(steps)
