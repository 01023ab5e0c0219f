"""Learns quantisation tables by gradient descent: of one image, of many, of a ladder.

Our choices: Adam on the logarithms of the steps, from the step that theory wants at
high rates, with a learning rate of 0.06 that falls to zero along a cosine in 100 steps;
coefficients are rounded straight-through, and the rate is a Laplace model whose scales
are fixed, so that its gradient is analytic. Steps and rate were chosen on ihc,
motorcycle_left, rocket and retina, shrunk, where 300 steps from the tables of quality
50 gained no more.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import flax
import jax
import jax.numpy as jnp
import numpy as np
import optax

from common.errors import ConfigError, DataError
from compression import jpeg, patches, rate
from compression.objective import Objective, to_integers, to_tables

STEPS, LEARNING_RATE = 100, 0.06
# Patches of 128 pixels per step, and in memory at once.
_BATCH, _MOST = 32, 1024
_CHUNK = 20  # steps between two reports
_FITTED = 64  # images that the rate model is fitted to

History = dict[str, np.ndarray]


@flax.struct.dataclass
class _State:
    log_tables: Any
    moments: Any
    step: jax.Array


@dataclasses.dataclass(frozen=True)
class Ladder:
    """Tables for every rate weight between the first and the last.

    Attributes:
      rate_weights: ascending.
      log_tables: `[L, 2, 8, 8]`, logarithms of the steps.
    """

    rate_weights: tuple[float, ...]
    log_tables: np.ndarray

    def at(self, rate_weight: float) -> np.ndarray:
        """Interpolates: logarithms of steps along the logarithm of the weight.

        Outside the ladder it is the nearest end.
        """
        wanted, known = math.log(rate_weight), np.log(self.rate_weights)
        flat = self.log_tables.reshape(len(known), -1)
        columns = [np.interp(wanted, known, column) for column in flat.T]
        return to_integers(np.reshape(columns, self.log_tables.shape[1:]))

    def start(self, rate_weight: float) -> np.ndarray:
        """Returns steps to learn those of another rate weight from.

        They are the nearest ones, scaled as those of theory are at high rates.
        """
        apart = math.log(rate_weight) - np.log(self.rate_weights)
        nearest = int(np.argmin(np.abs(apart)))
        return np.exp(self.log_tables[nearest] + apart[nearest] / 2).clip(1, 255)


def optimize_tables(
    images: np.ndarray | Sequence[np.ndarray],
    rate_weight: float,
    *,
    objective: Objective | None = None,
    steps: int = STEPS,
    learning_rate: float = LEARNING_RATE,
    rate_model: str = "laplace",
    batch_size: int = _BATCH,
    start: np.ndarray | None = None,
    classifier: Any = None,
    labels: np.ndarray | None = None,
    seed: int = 0,
    report: Callable[[int], object] | None = None,
) -> tuple[np.ndarray, History]:
    """Learns one pair of tables.

    Args:
      images: uint8 or float in [0, 255]; an array `[B, H, W, 3]` is used whole, of
        images of different sizes patches are.
      rate_weight: lambda of the objective; for rate-distortion around 5 (large files)
        to 160 (small ones).
      objective: rate-distortion at 4:4:4 by default.
      steps: of gradient descent.
      learning_rate: at the beginning; relative change of a step of the tables.
      rate_model: a key of `rate.NAMES`.
      batch_size: images or patches per step; more are drawn at random.
      start: positive steps `[2, 8, 8]` to begin with, `objective.start` by default.
      classifier: judges decoded images; for objectives with accuracy. See
        `common.models.frozen`.
      labels: `[B]`, what the images show, for the classifier.
      seed: of the draws.
      report: called with the number of steps done now and then.

    Returns:
      int32 `[2, 8, 8]` in [1, 255], and the history: `loss`, `mse`, `bpp`,
      `cross_entropy` and `correct` `[steps]`, as estimated along the way, and
      `log_tables` `[steps, 2, 8, 8]` after each step, not rounded.

    Raises:
      ConfigError: an argument that cannot be.
      DataError: no images, or images that are not.
    """
    objective = objective or Objective()
    stack, labels = _stack(images, labels)
    _check(rate_weight, steps, learning_rate, objective, classifier, labels)
    fitted = jpeg.coefficients(
        stack[:: max(len(stack) // _FITTED, 1)],
        objective.subsampling,
        objective.rounding,
    )
    model = rate.fit(rate_model, fitted, jax.random.key(seed))
    start = objective.start(rate_weight) if start is None else start
    log_tables = jnp.log(jnp.asarray(start, jnp.float32))
    moments = _optimizer(learning_rate, steps).init(log_tables)
    state = _State(log_tables, moments, jnp.zeros((), jnp.int32))
    advance = functools.partial(
        _advance,
        objective=objective,
        batch_size=min(batch_size, len(stack)),
    )
    data = jnp.asarray(stack), None if labels is None else jnp.asarray(labels)
    chunks = []
    for done in range(0, steps, _CHUNK):
        state, history = advance(
            state, data, model, classifier, rate_weight, learning_rate, steps, seed
        )
        chunks.append(jax.device_get(history))
        if report:
            report(min(done + _CHUNK, steps))
    history = {
        name: np.concatenate([chunk[name] for chunk in chunks])[:steps]
        for name in chunks[0]
    }
    if not np.isfinite(history["log_tables"]).all():
        raise DataError(f"the optimisation diverged at rate_weight={rate_weight}")
    return to_integers(state.log_tables), history


def _optimizer(learning_rate: Any, steps: Any) -> optax.GradientTransformation:
    """Returns Adam along a cosine; both may be traced, so nothing is compiled anew."""

    def schedule(count):
        share = jnp.minimum(count / steps, 1)
        return 0.5 * learning_rate * (1 + jnp.cos(jnp.pi * share))

    return optax.adam(schedule)


@functools.partial(jax.jit, static_argnames=("objective", "batch_size"))
def _advance(
    state: _State,
    data: tuple[jax.Array, jax.Array | None],
    model: Any,
    classifier: Any,
    rate_weight: jax.Array,
    learning_rate: jax.Array,
    steps: jax.Array,
    seed: jax.Array,
    *,
    objective: Objective,
    batch_size: int,
) -> tuple[_State, dict[str, jax.Array]]:
    """Takes some steps; those after the last change nothing."""
    stack, labels = data
    base = jax.random.key(seed)

    def loss(log_tables, batch, batch_labels, step):
        coefficients = jpeg.coefficients(
            batch, objective.subsampling, objective.rounding
        )
        terms = objective.terms(
            to_tables(log_tables),
            batch,
            coefficients,
            model,
            base,
            step,
            None if classifier is None else classifier.judge,
            batch_labels,
        )
        mean = jnp.mean(objective.loss(terms, rate_weight))
        return mean, jax.tree.map(jnp.mean, terms)

    def one(state: _State, _: None):
        batch, batch_labels = stack, labels
        if batch_size < len(stack):
            draw = jax.random.fold_in(jax.random.fold_in(base, 1), state.step)
            chosen = jax.random.choice(draw, len(stack), (batch_size,), replace=False)
            batch, batch_labels = jax.tree.map(lambda a: a[chosen], data)
        (value, terms), gradient = jax.value_and_grad(loss, has_aux=True)(
            state.log_tables, batch, batch_labels, state.step
        )
        update, moments = _optimizer(learning_rate, steps).update(
            gradient, state.moments
        )
        moved = optax.apply_updates(state.log_tables, update)
        record = {"loss": value, "log_tables": moved, **vars(terms)}
        return _State(moved, moments, state.step + 1), record

    return jax.lax.scan(one, state, length=_CHUNK)


Learn = Callable[[float, np.ndarray | None], np.ndarray]
"""From a rate weight and steps to begin with, if any, to logarithms of steps."""


def learn_ladder(learn: Learn, rate_weights: Sequence[float]) -> Ladder:
    """Learns tables for several rate weights, each from those before.

    Raises:
      ConfigError: there are none.
    """
    if not rate_weights:
        raise ConfigError("a ladder needs rate weights")
    weights = tuple(sorted(rate_weights))
    learned: list[np.ndarray] = []
    for number, weight in enumerate(weights):
        start = None
        if number:
            start = Ladder(weights[:number], np.stack(learned)).start(weight)
        learned.append(learn(weight, start))
    return Ladder(weights, np.stack(learned))


def optimize_ladder(
    images: np.ndarray | Sequence[np.ndarray],
    rate_weights: Sequence[float],
    *,
    steps: int = STEPS,
    **options: Any,
) -> Ladder:
    """Learns tables of the same images for several rate weights.

    Args:
      images: as for `optimize_tables`.
      rate_weights: in any order.
      steps: for the first; a third of them for each further one.
      **options: as for `optimize_tables`.

    Raises:
      ConfigError, DataError: as `optimize_tables`.
    """

    def learn(weight: float, start: np.ndarray | None) -> np.ndarray:
        some = steps if start is None else further(steps)
        _, history = optimize_tables(images, weight, steps=some, start=start, **options)
        return history["log_tables"][-1]

    return learn_ladder(learn, rate_weights)


def further(steps: int) -> int:
    """Returns the steps that tables of another rate weight need to become these."""
    return -(-steps // 3)


def _stack(
    images: np.ndarray | Sequence[np.ndarray], labels: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray | None]:
    """Returns images as one array."""
    if not len(images):
        raise DataError("no images to learn tables of")
    if isinstance(images, np.ndarray | jax.Array):
        stack = np.asarray(images)
    elif labels is not None:
        if len({np.shape(image) for image in images}) > 1:
            raise DataError("a classifier needs images of one size")
        stack = np.stack(list(images))
    else:
        stack = patches.of_images(list(images), _MOST)
    if stack.ndim != 4 or stack.shape[-1] != 3 or 0 in stack.shape:
        raise DataError(f"images have shape {stack.shape}; expected [B, H, W, 3]")
    if labels is not None and np.shape(labels) != (len(stack),):
        raise DataError(f"{len(stack)} images have labels {np.shape(labels)}")
    if stack.dtype != np.uint8 and not (
        np.isfinite(stack).all() and stack.min() >= 0 and stack.max() <= 255
    ):
        raise DataError("images have values outside [0, 255]")
    return stack, labels


def _check(
    rate_weight: float,
    steps: int,
    learning_rate: float,
    objective: Objective,
    classifier: Any,
    labels: np.ndarray | None,
) -> None:
    for name, value in (("rate_weight", rate_weight), ("learning_rate", learning_rate)):
        if not (math.isfinite(value) and value > 0):
            raise ConfigError(f"{name}={value} must be greater than 0")
    if steps < 1:
        raise ConfigError(f"steps={steps} must be at least 1")
    if (objective.accuracy > 0) != (classifier is not None):
        raise ConfigError(
            "an objective with accuracy needs a classifier, and one without takes none"
        )
    if (classifier is None) != (labels is None):
        raise ConfigError("a classifier needs labels, and labels need a classifier")
