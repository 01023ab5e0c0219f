"""The train state: everything a step changes and a checkpoint keeps."""

from __future__ import annotations

from typing import Any

import flax
import jax
import jax.numpy as jnp
import optax

from common.task import Batch, Task, Variables, variables_of
from common.train.reweighting import WeightState

PyTree = Any


@flax.struct.dataclass
class Guard:
    """Counts of steps whose loss or gradient was not finite; int32 scalars.

    Attributes:
      in_a_row: such steps up to now without a good one between them.
      total: such steps since the start.
      diverged: 1 from the moment `in_a_row` reached its limit; then nothing is
        updated any more, however long the host takes to notice.
    """

    in_a_row: jax.Array
    total: jax.Array
    diverged: jax.Array


@flax.struct.dataclass
class TrainState:
    """State of a run; random keys are not in it, they follow from seed and step."""

    step: jax.Array
    params: PyTree
    model_state: PyTree
    opt_state: PyTree
    ema: PyTree | None  # {"params", "model_state"} or None
    guard: Guard
    weights: WeightState | None = None  # of examples

    def variables(self) -> Variables:
        """Returns the variables to evaluate: the moving average where there is one."""
        if self.ema is None:
            return variables_of(self.params, self.model_state)
        return variables_of(self.ema["params"], self.ema["model_state"])


def create(
    task: Task,
    tx: optax.GradientTransformation,
    batch: Batch,
    seed: int,
    ema: bool,
    weights: WeightState | None = None,
) -> TrainState:
    """Returns the state before the first step; traced for shapes and under jit."""
    variables = dict(task.init(jax.random.key(seed), batch))
    params = variables.pop("params")
    return from_variables(variables_of(params, variables), tx, ema, weights)


def from_variables(
    variables: Variables,
    tx: optax.GradientTransformation,
    ema: bool,
    weights: WeightState | None = None,
) -> TrainState:
    """Returns a state at step 0 that starts from given variables."""
    model_state = {name: v for name, v in variables.items() if name != "params"}
    params = variables["params"]
    # Copies, because the step donates every array of the state.
    average = {"params": params, "model_state": model_state}
    zero = lambda: jnp.zeros((), jnp.int32)  # noqa: E731
    return TrainState(
        step=zero(),
        params=params,
        model_state=model_state,
        opt_state=tx.init(params),
        ema=jax.tree.map(jnp.copy, average) if ema else None,
        guard=Guard(in_a_row=zero(), total=zero(), diverged=zero()),
        weights=weights,
    )
