"""Trading compute for memory: one config string per model."""

import functools
from typing import TypeVar

import flax.linen as nn
import jax

from common.config import unknown
from common.errors import ConfigError

# Names of `jax.checkpoint_policies` that are policies, not builders of policies.
POLICIES = (
    "checkpoint_dots",
    "checkpoint_dots_with_no_batch_dims",
    "dots_saveable",
    "dots_with_no_batch_dims_saveable",
    "everything_saveable",
    "nothing_saveable",
)

ModuleClass = TypeVar("ModuleClass", bound=type[nn.Module])


@functools.cache  # so that equal modules stay equal
def remat(
    module_class: ModuleClass,
    policy_name: str,
    static_argnums: int | tuple[int, ...] = (),
) -> ModuleClass:
    """Makes a module recompute its activations in the backward pass.

    Parameter names and results do not change.

    Args:
      module_class: the module to wrap, usually one block of a network.
      policy_name: "none" returns the class as it is, "full" saves only the block's
        inputs, and a name in `POLICIES` saves what that policy says.
      static_argnums: positions of `__call__` arguments that are Python values, such
        as `train`; `self` is number 0.

    Returns:
      A module class to use in place of `module_class`.

    Raises:
      ConfigError: if the policy name is unknown.
    """
    if policy_name == "none":
        return module_class
    if policy_name == "full":
        policy = None
    elif policy_name in POLICIES:
        policy = getattr(jax.checkpoint_policies, policy_name)
    else:
        choices = ("none", "full", *POLICIES)
        raise ConfigError(unknown("remat policy", policy_name, choices))
    return nn.remat(module_class, policy=policy, static_argnums=static_argnums)
