"""Equal blocks of a network, traced once.

A network is traced block by block, in Python and anew for each of them; of a network
of many small blocks that takes half as long as compiling it.
"""

from __future__ import annotations

import functools
from typing import Any

import flax.linen as nn
import jax


def trace_once(block: nn.Module, *args: Any, train: bool) -> Any:
    """Calls a block, with the trace of an equal block if there was one.

    Args:
      block: a submodule with parameters alone, without other state.
      *args: of its call, arrays or trees of arrays.
      train: its last argument.

    Returns:
      What the call returns.
    """
    if block.is_initializing() or block.is_mutable_collection("intermediates"):
        return block(*args, train)  # each one's own values are wanted
    rngs = {"dropout": block.make_rng("dropout")} if block.has_rng("dropout") else {}
    nameless: Any = block.clone(parent=None, name=None)  # equal to others like it
    return _apply(nameless, train, {"params": block.variables["params"]}, rngs, *args)


@functools.partial(jax.jit, static_argnums=(0, 1))
def _apply(block: nn.Module, train: bool, variables: Any, rngs: Any, *args: Any) -> Any:
    return block.apply(variables, *args, train, rngs=rngs)
