"""Image sizes as configs write them: one side, or (height, width)."""

from __future__ import annotations

from collections.abc import Sequence

from common.errors import ConfigError

Size = int | Sequence[int]


def height_width(size: Size) -> tuple[int, int]:
    """Returns `(height, width)` in pixels.

    Raises:
      ConfigError: not one or two positive whole numbers.
    """
    sides = (size, size) if isinstance(size, int) else tuple(size)
    if len(sides) != 2 or not all(isinstance(s, int) and s > 0 for s in sides):
        raise ConfigError(
            f"an image size is a positive int or (height, width), given {size!r}"
        )
    return sides[0], sides[1]
