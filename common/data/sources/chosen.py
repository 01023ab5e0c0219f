"""Some examples of a source."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from common.data.sources import Source


class Chosen:
    """The examples of a source at some positions; ids count from 0 again."""

    def __init__(self, source: Source, positions: Sequence[int] | np.ndarray):
        """Takes positions in the order wanted."""
        self.class_names = source.class_names
        self._source = source
        self._positions = [int(position) for position in positions]

    def __len__(self) -> int:
        return len(self._positions)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Returns the example at one of the positions."""
        return {**self._source[self._positions[index]], "id": index}
