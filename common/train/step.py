"""One training step: loss, gradient, guard, update. Pure, and jitted by the loop."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from common.task import Batch, Task, variables_of
from common.train.state import Guard, TrainState

PyTree = Any
StepFn = Callable[[TrainState, Batch], tuple[TrainState, dict[str, jax.Array]]]


def make(
    task: Task,
    tx: optax.GradientTransformation,
    schedule: optax.Schedule,
    *,
    seed: int,
    grad_accumulation: int = 1,
    ema_decay: float = 0.0,
    max_nonfinite_steps: int = 10,
) -> StepFn:
    """Returns `step(state, batch) -> (state, metrics)`.

    Args:
      task: gives the loss.
      tx: from gradients to unit-rate updates, see `common.train.optim.make`.
      schedule: step -> learning rate.
      seed: with the step it determines every random draw.
      grad_accumulation: number of parts the batch is computed in, one after another.
      ema_decay: of the moving average of parameters and model state.
      max_nonfinite_steps: so many bad steps in a row set `guard.diverged`.
    """

    def step(state: TrainState, batch: Batch):
        key = jax.random.fold_in(jax.random.key(seed), state.step)
        grads, model_state, metrics = _gradients(
            task, state, batch, key, grad_accumulation
        )
        grad_norm = optax.tree.norm(grads)
        finite = jnp.isfinite(metrics["loss"]) & jnp.isfinite(grad_norm)
        guard = _count(state.guard, finite, max_nonfinite_steps)
        updates, opt_state = tx.update(grads, state.opt_state, state.params)
        rate = jnp.asarray(schedule(state.step), jnp.float32)
        params = optax.apply_updates(
            state.params, jax.tree.map(lambda update: -rate * update, updates)
        )
        updated = dataclasses.replace(
            state,
            params=params,
            model_state=model_state,
            opt_state=opt_state,
            ema=_average(state, params, model_state, ema_decay),
        )
        keep = finite & (guard.diverged == 0)
        state = jax.tree.map(lambda new, old: jnp.where(keep, new, old), updated, state)
        state = dataclasses.replace(state, step=state.step + 1, guard=guard)
        metrics |= {
            "learning_rate": rate,
            "grad_norm": grad_norm,
            "param_norm": optax.tree.norm(params),
            "nonfinite_in_a_row": guard.in_a_row,
            "nonfinite_total": guard.total,
            "diverged": guard.diverged,
        }
        return state, metrics

    return step


def _gradients(
    task: Task, state: TrainState, batch: Batch, key: jax.Array, parts: int
) -> tuple[PyTree, PyTree, dict[str, jax.Array]]:
    """Returns the gradient of the mean loss, the new model state, and metric means."""

    def loss(params, model_state, part, part_key):
        out = task.loss(variables_of(params, model_state), part, part_key)
        means = {name: jnp.mean(value) for name, value in out.metrics.items()}
        mean = jnp.mean(out.loss)
        return mean, (out.model_state, {"loss": mean, **means})

    gradient = jax.grad(loss, has_aux=True)
    if parts == 1:
        grads, (model_state, means) = gradient(
            state.params, state.model_state, batch, key
        )
        return grads, model_state, dict(means)

    def body(carry, inputs):
        total, model_state = carry
        part, index = inputs
        grads, (model_state, means) = gradient(
            state.params, model_state, part, jax.random.fold_in(key, index)
        )
        return (jax.tree.map(jnp.add, total, grads), model_state), means

    zeros = jax.tree.map(jnp.zeros_like, state.params)
    inputs = (jax.tree.map(lambda x: _split(x, parts), batch), jnp.arange(parts))
    (total, model_state), means = jax.lax.scan(body, (zeros, state.model_state), inputs)
    grads = jax.tree.map(lambda x: x / parts, total)
    return grads, model_state, jax.tree.map(jnp.mean, means)


def _split(x: jax.Array, parts: int) -> jax.Array:
    """`[B, ...]` -> `[parts, B / parts, ...]` that leaves examples on their device."""
    return x.reshape(x.shape[0] // parts, parts, *x.shape[1:]).swapaxes(0, 1)


def _count(guard: Guard, finite: jax.Array, limit: int) -> Guard:
    in_a_row = jnp.where(finite, 0, guard.in_a_row + 1)
    return Guard(
        in_a_row=in_a_row,
        total=guard.total + (1 - finite.astype(jnp.int32)),
        diverged=jnp.maximum(guard.diverged, (in_a_row >= limit).astype(jnp.int32)),
    )


def _average(
    state: TrainState, params: PyTree, model_state: PyTree, decay: float
) -> PyTree | None:
    """Moving average whose decay rises as (1 + t) / (10 + t), as TensorFlow's does.

    Without the rise the average of a short run is mostly its random start.
    """
    if state.ema is None:
        return None
    rising = jnp.minimum(decay, (1.0 + state.step) / (10.0 + state.step))
    new = {"params": params, "model_state": model_state}
    return jax.tree.map(
        lambda a, x: (a + (1.0 - rising) * (x - a)).astype(a.dtype), state.ema, new
    )
