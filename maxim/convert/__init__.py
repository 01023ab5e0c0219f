"""Official and own weight files as parameters, and back.

`python -m maxim.convert --help` does it for files.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from maxim.convert.files import read
    from maxim.convert.npz import from_npz, to_npz

__all__ = ["from_npz", "read", "to_npz"]


def __getattr__(name: str) -> Any:
    """Imports what is asked for: the command's help needs neither of them, nor JAX."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = "maxim.convert.files" if name == "read" else "maxim.convert.npz"
    return getattr(importlib.import_module(module), name)
