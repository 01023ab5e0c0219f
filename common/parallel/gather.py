"""Values of the host, from all processes to all of them."""

from __future__ import annotations

import json
from typing import Any

import jax
import numpy as np


def gather(value: Any) -> list[Any]:
    """Returns what every process has given, in their order.

    Args:
      value: of JSON's kinds, infinities and NaNs included; all processes must call.
    """
    if jax.process_count() == 1:
        return [value]
    from jax.experimental import multihost_utils

    text = np.frombuffer(json.dumps(value).encode(), np.uint8)
    lengths = multihost_utils.process_allgather(np.asarray(len(text)))
    padded = np.zeros(int(np.max(lengths)), np.uint8)
    padded[: len(text)] = text
    rows = multihost_utils.process_allgather(padded)
    return [
        json.loads(bytes(row[:length]))
        for row, length in zip(np.asarray(rows), lengths.ravel(), strict=True)
    ]
