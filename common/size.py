"""Sizes as people write them: one side, or (height, width)."""

from __future__ import annotations

from collections.abc import Sequence

from common.errors import ConfigError

Size = int | Sequence[int]


def height_width(size: Size, name: str = "a size") -> tuple[int, int]:
    """Returns `(height, width)` of an image, a window or the like.

    Args:
      size: one side or both.
      name: of what has this size, for the message.

    Raises:
      ConfigError: not one or two positive whole numbers.
    """
    sides = (size, size) if isinstance(size, int) else size
    if (
        not isinstance(sides, list | tuple)
        or len(sides) != 2
        # Not isinstance: True is an int, too.
        or not all(type(side) is int and side > 0 for side in sides)
    ):
        raise ConfigError(
            f"{name} is a positive integer or (height, width), given {size!r}"
        )
    return sides[0], sides[1]
