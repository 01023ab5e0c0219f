"""One training step: loss, gradient, guard, update. Pure, and jitted by the loop."""

from __future__ import annotations

import dataclasses
import functools
import types
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax

from common.task import Batch, LossOutput, Task, Variables, variables_of
from common.train.example_weights import ExampleWeights
from common.train.reweighting import WeightState
from common.train.state import Guard, TrainState

PyTree = Any
_NONE: Mapping[str, Any] = types.MappingProxyType({})
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
    weighting: ExampleWeights | None = None,
) -> StepFn:
    """Returns `step(state, batch, frozen={}) -> (state, metrics)`.

    Args:
      task: gives the loss.
      tx: from gradients to unit-rate updates, see `common.train.optim.make`.
      schedule: step -> learning rate.
      seed: with the step it determines every random draw.
      grad_accumulation: number of parts the batch is computed in, one after another.
      ema_decay: of the moving average of parameters and model state.
      max_nonfinite_steps: so many bad steps in a row set `guard.diverged`.
      weighting: of the examples; all count the same without it.
    """

    def step(state: TrainState, batch: Batch, frozen: Mapping[str, Any] = _NONE):
        key = jax.random.fold_in(jax.random.key(seed), state.step)
        loss = functools.partial(_loss, task, frozen)
        grads, model_state, metrics, moved_by = _gradients(
            loss, state, batch, key, grad_accumulation, weighting
        )
        grad_norm = optax.tree.norm(grads)
        finite = jnp.isfinite(metrics["loss"]) & jnp.isfinite(grad_norm)
        guard = _count(state.guard, finite, max_nonfinite_steps)
        updates, opt_state = tx.update(grads, state.opt_state, state.params)
        rate = jnp.asarray(schedule(state.step), jnp.float32)
        params = optax.apply_updates(
            state.params, jax.tree.map(lambda update: -rate * update, updates)
        )
        weights = _move(weighting, state, moved_by, guard)
        state = dataclasses.replace(state, weights=None)
        updated = dataclasses.replace(
            state,
            params=params,
            model_state=model_state,
            opt_state=opt_state,
            ema=_average(state, params, model_state, ema_decay),
        )
        keep = finite & (guard.diverged == 0)
        state = jax.tree.map(lambda new, old: jnp.where(keep, new, old), updated, state)
        state = dataclasses.replace(
            state, step=state.step + 1, guard=guard, weights=weights
        )
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


def _loss(
    task: Task,
    frozen: Mapping[str, Any],
    variables: Variables,
    batch: Batch,
    key: jax.Array,
) -> LossOutput:
    """The task's loss, which sees what is frozen and does not return it."""
    if not frozen:
        return task.loss(variables, batch, key)
    out = task.loss({**variables, "frozen": frozen}, batch, key)
    state = {name: x for name, x in out.model_state.items() if name != "frozen"}
    return dataclasses.replace(out, model_state=state)


def _gradients(
    task_loss: Callable[[Variables, Batch, jax.Array], LossOutput],
    state: TrainState,
    batch: Batch,
    key: jax.Array,
    parts: int,
    weighting: ExampleWeights | None,
) -> tuple[PyTree, PyTree, dict[str, jax.Array], tuple[jax.Array, jax.Array] | None]:
    """Returns the gradient of the mean loss, the new model state, and metric means.

    And what moves the weights of examples, where they have some: their ids and losses,
    `[B]` each.
    """

    def loss(params, model_state, part, factors, part_key):
        out = task_loss(variables_of(params, model_state), part, part_key)
        means = {name: jnp.mean(value) for name, value in out.metrics.items()}
        mean = jnp.mean(out.loss)
        moved_by = None
        if weighting is not None:
            losses = out.loss if out.weight_loss is None else out.weight_loss
            moved_by = part["id"], losses
            if factors is None:
                factors = weighting.local_factors(losses)
            means["unweighted_loss"] = mean
            mean = jnp.mean(factors * out.loss)
        return mean, (out.model_state, {"loss": mean, **means}, moved_by)

    gradient = jax.grad(loss, has_aux=True)
    factors = None
    if weighting is not None:
        weight_key = jax.random.fold_in(key, parts)
        factors = weighting.factors(state.weights, batch["id"], weight_key)
    if parts == 1:
        grads, (model_state, means, moved_by) = gradient(
            state.params, state.model_state, batch, factors, key
        )
        return grads, model_state, dict(means), moved_by

    def body(carry, inputs):
        total, model_state = carry
        part, part_factors, index = inputs
        grads, (model_state, means, moved_by) = gradient(
            state.params,
            model_state,
            part,
            part_factors,
            jax.random.fold_in(key, index),
        )
        total = jax.tree.map(jnp.add, total, grads)
        return (total, model_state), (means, moved_by)

    zeros = jax.tree.map(jnp.zeros_like, state.params)
    cut = jax.tree.map(lambda x: _split(x, parts), (batch, factors))
    (total, model_state), (means, moved_by) = jax.lax.scan(
        body, (zeros, state.model_state), (*cut, jnp.arange(parts))
    )
    grads = jax.tree.map(lambda x: x / parts, total)
    means = jax.tree.map(jnp.mean, means)
    return grads, model_state, means, jax.tree.map(jnp.ravel, moved_by)


def _move(
    weighting: ExampleWeights | None,
    state: TrainState,
    moved_by: tuple[jax.Array, jax.Array] | None,
    guard: Guard,
) -> WeightState | None:
    """Returns the weights of examples after a step, skipped for its loss or not.

    One bad loss spoils the gradient of the batch, and none of the other weights.
    """
    weights = state.weights
    if weighting is None or weights is None or weighting.by_passes:
        return weights
    assert moved_by is not None
    return weighting.update(weights, *moved_by, state.step, guard.diverged == 0)


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
