"""Whose names the arrays of a weight file have; the network's own are the same in all.

The official files are the flat names of a whole optimiser: the parameters are called
`opt/target/...`, the rest is state that nobody needs again.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from common.checkpoint import matching
from common.errors import ConfigError

OFFICIAL = "opt/target/"
OURS = "params/"
# Every MAXIM has it, of whatever sizes.
LANDMARK = "stage_0_input_conv_0/kernel"


def select(names: Collection[str]) -> list[str]:
    """Returns the names of parameters: where some are official, those alone."""
    official = [name for name in names if name.startswith(OFFICIAL)]
    return official or list(names)


def to_ours(where: str, arrays: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Converts the arrays that `select` leaves to float32 under our names.

    Args:
      where: they are from.
      arrays: official names, ours, or those of the network's parameters alone.

    Returns:
      Flat names such as "params/stage_0_input_conv_0/kernel" to arrays.

    Raises:
      ConfigError: they are not of a MAXIM, not of floating point or not finite.
    """
    for prefix in (OFFICIAL, OURS, ""):
        if prefix + LANDMARK in arrays:
            break
    else:
        shown = ", ".join(list(arrays)[:4]) or "none"
        raise ConfigError(
            f"{where} holds no weights of a MAXIM; names such as "
            f"'{OFFICIAL}{LANDMARK}' (official) or '{OURS}{LANDMARK}' (ours) were "
            f"expected, got {shown}"
        )
    # A name without the prefix stays, so that it is unknown to every model.
    found = {
        OURS + name.removeprefix(prefix) if name.startswith(prefix) else name: array
        for name, array in arrays.items()
    }
    return {name: _float32(where, name, array) for name, array in found.items()}


def _float32(where: str, name: str, leaf: Any) -> np.ndarray:
    array = np.asarray(leaf)
    # Structured and other raw types have the same kind as bfloat16, but fields or no
    # numbers in them.
    if not matching.is_float(array.dtype) or array.dtype.type is np.void:
        raise ConfigError(f"{where}: {name} is {array.dtype}, not of floating point")
    # A number that float32 does not hold becomes infinite, which is refused.
    with np.errstate(over="ignore"):
        array = np.asarray(array, np.float32)
    matching.check_finite(where, {name: array})
    return array


def to_official(flat: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Returns the same arrays under the official names."""
    return {OFFICIAL + name.removeprefix(OURS): leaf for name, leaf in flat.items()}
