"""Every training example is an expert: a distribution over all examples, and its moves.

Exponentiated gradient (EG) on the weights of examples, inspired by Majidi, Amid, Talebi
and Warmuth (arXiv 2104.01493): with the objective `sum_i w_i loss_i` the gradient in
`w` is the losses themselves, so a step multiplies each weight by `exp(-eta * loss)`.
Only the abstract of the paper was at hand; what it does not say is our choice, and the
README of `robust` names each. `common.train.example_weights` is the switch in the loop.

State is kept as logarithms: a weight is never formed that could underflow. Everything
here is pure and can be jitted; under `jax.enable_x64(True)` it is float64.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import flax
import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import logsumexp

from common.config import unknown
from common.errors import ConfigError, DataError

MODES = ("full", "deferred", "mass_preserving", "unnormalized")
ESTIMATORS = ("self_normalized", "horvitz_thompson", "sampling")


@flax.struct.dataclass
class WeightState:
    """A distribution over `N` examples; the weight of `i` is `exp(logw[i] - log_z)`.

    Attributes:
      logw: `[N]`.
      log_z: what makes the weights sum to 1; in mode "unnormalized" they need not.
      step: int32, updates so far.
      ema: `[N]`, moving average of each example's losses, NaN before the first; None
        without averaging.
      skipped: int32, losses that moved nothing: not finite, or of no example.
    """

    logw: jax.Array
    log_z: jax.Array
    step: jax.Array
    ema: jax.Array | None
    skipped: jax.Array


def init(num_examples: int, prior: Any = None, ema: bool = False) -> WeightState:
    """Returns the weights before the first update.

    Args:
      num_examples: `N`; ids are in `[0, N)`.
      prior: `[N]`, at least 0, scaled to sum to 1; uniform by default.
      ema: whether losses are averaged over time, see `update`.

    Raises:
      ConfigError: no examples, or a prior that is none.
    """
    if num_examples < 1:
        raise ConfigError(f"weights need at least 1 example, given {num_examples}")
    if prior is None:
        logw = jnp.full(num_examples, -math.log(num_examples))
    else:
        logw = jnp.log(_check_prior(prior, num_examples))
    return WeightState(
        logw=logw,
        log_z=jnp.zeros_like(logw[0]),
        step=jnp.zeros((), jnp.int32),
        ema=jnp.full_like(logw, jnp.nan) if ema else None,
        skipped=jnp.zeros((), jnp.int32),
    )


def log_weights(state: WeightState) -> jax.Array:
    """Returns the logarithms of the weights, `[N]`."""
    return state.logw - state.log_z


def weights(state: WeightState) -> jax.Array:
    """Returns the weights, `[N]`."""
    return jnp.exp(log_weights(state))


def coefficients(
    state: WeightState,
    ids: jax.Array,
    estimator: str = "self_normalized",
    key: jax.Array | None = None,
) -> jax.Array:
    """Returns `c` of `sum_b c_b loss_b`, the estimate of the objective, `[B]`.

    No gradient flows through them.

    Args:
      state: the weights.
      ids: `[B]` of examples drawn uniformly. One that is out of range gets 0.
      estimator: "self_normalized", `w_b / sum(w_b)`: the step keeps its size, with a
        bias; a batch of nothing but bad examples still gets a whole one.
        "horvitz_thompson", `N / B * w_b`: unbiased; for uniform weights 1 / B.
        "sampling": `B` draws from the batch by weight, each of 1 / B.
      key: for "sampling".

    Raises:
      ConfigError: unknown estimator, or sampling without a key.
      DataError: an id out of range, where ids are not traced.
    """
    if estimator not in ESTIMATORS:
        raise ConfigError(unknown("estimator", estimator, ESTIMATORS))
    inside = _inside(ids, len(state.logw))
    logw = jnp.where(inside, log_weights(state)[jnp.where(inside, ids, 0)], -jnp.inf)
    if estimator == "horvitz_thompson":
        return jax.lax.stop_gradient(len(state.logw) / ids.size * jnp.exp(logw))
    # Where no weight is left there is nothing to learn from.
    some = jnp.any(jnp.isfinite(logw))
    logw = jax.lax.stop_gradient(jnp.where(some, logw, 0.0))
    if estimator == "self_normalized":
        return jnp.where(some, jax.nn.softmax(logw), 0.0)
    if key is None:
        raise ConfigError("the estimator 'sampling' needs a key")
    drawn = jax.random.categorical(key, logw, shape=ids.shape)
    counts = jnp.zeros_like(logw).at[drawn].add(1 / ids.size)
    return jnp.where(some, counts, 0.0)


def update(
    state: WeightState,
    ids: jax.Array,
    losses: jax.Array,
    eta: jax.Array | float,
    mode: str = "deferred",
    ema_decay: float = 0.0,
    lazy: bool = False,
) -> WeightState:
    """Multiplies the weights of a batch by `exp(-eta * loss)` and normalises.

    An id that occurs twice moves twice. An example whose loss is not finite keeps its
    weight, up to the normalisation, and is counted; so is an id out of range.

    Args:
      state: the weights.
      ids: `[B]`, int.
      losses: `[B]`, at the parameters of the moment.
      eta: rate, at least 0.
      mode: "full" and "deferred" normalise over all examples: with all of them in the
        batch this is one exact step, with a share of them it is the same step, each
        loss being taken when its batch came. "mass_preserving" gives the batch the
        weight back that it had, so that weight moves within batches only.
        "unnormalized" gives nothing back and lets no weight exceed 1 / N.
      ema_decay: in [0, 1), of the moving average that takes the place of the loss; the
        state needs one, see `init`.
      lazy: leave the sum to a later `normalize`; ratios of weights are right before.

    Raises:
      ConfigError: unknown mode, or a decay without an average.
      DataError: an id out of range, where ids are not traced.
    """
    if mode not in MODES:
        raise ConfigError(unknown("mode of reweighting", mode, MODES))
    if ema_decay and state.ema is None:
        raise ConfigError("an ema_decay needs a state with an average: init(.., ema=1)")
    size = len(state.logw)
    valid = _inside(ids, size) & jnp.isfinite(losses)
    slots = jnp.where(valid, ids, size)  # one past the end: dropped
    losses = jnp.where(valid, losses, 0.0).astype(state.logw.dtype)
    ema = state.ema
    if ema is not None:
        ema = _averaged(ema, slots, losses, ema_decay)
        losses = jnp.where(valid, ema.at[slots].get(mode="clip"), 0.0)
    logw = state.logw.at[slots].add(-eta * losses, mode="drop")
    log_z = state.log_z
    if mode == "mass_preserving":
        logw = _with_mass(logw, state.logw, slots)
    elif mode == "unnormalized":
        logw = jnp.minimum(logw, -math.log(size))
    elif not lazy:
        log_z = logsumexp(logw)
    return WeightState(
        logw=logw,
        log_z=log_z,
        step=state.step + 1,
        ema=ema,
        skipped=state.skipped + jnp.sum(~valid, dtype=jnp.int32),
    )


def normalize(state: WeightState) -> WeightState:
    """Scales the weights to sum to 1 and brings their logarithms back to scale."""
    return _normalized(state, state.logw)


def project_cap(state: WeightState, m: jax.Array | float) -> WeightState:
    """Projects onto the distributions with no weight above 1 / m, nearest in KL.

    The largest weights become 1 / m and the others are scaled by one factor. It keeps
    the weights from gathering on a few easy examples (Warmuth and Kuzmin 2008, on
    m-sets).

    Args:
      state: the weights.
      m: a low guess of how many examples are clean, in [1, N]; at N all are equal.

    Raises:
      ConfigError: `m` is out of range, where it is not traced: a cap below 1 / N.
    """
    size = len(state.logw)
    if not isinstance(m, jax.core.Tracer) and not 1 <= float(m) <= size:
        raise ConfigError(
            f"a cap of 1 / m on {size} weights needs m in [1, {size}], given {m}: "
            "below 1 / N they cannot sum to 1"
        )
    logw = state.logw - logsumexp(state.logw)
    falling = jnp.sort(logw, descending=True)
    rest = jax.lax.cumlogsumexp(falling, reverse=True)
    left = m - jnp.arange(size, dtype=logw.dtype)  # of m caps, after so many
    scale = jnp.log(left) - jnp.log(m) - rest
    # The next largest gets the cap as long as it would not fit under it. With one cap
    # left all others fit together; rounding must not say otherwise.
    capped = jnp.sum((falling + scale > -jnp.log(m)) & (left > 1))
    scale = scale[capped]
    moved = jnp.minimum(logw + scale, -jnp.log(m))
    return _normalized(state, jnp.where(jnp.isneginf(logw), logw, moved))


def pull(state: WeightState, a: jax.Array | float, prior: Any = None) -> WeightState:
    """Draws the weights towards a prior: `w^(1 - a) u^a`, normalised.

    Before every update it makes EG forget: for losses that do not change, the weights
    end as the softmax of `-(eta / a) * loss`.

    Args:
      state: the weights.
      a: how far, in [0, 1].
      prior: `u`, `[N]`; uniform by default.

    Raises:
      ConfigError: `a` is out of range, or the prior is none.
    """
    _check_share("pull", a)
    size = len(state.logw)
    log_prior: Any = -math.log(size)
    if prior is not None:
        log_prior = jnp.log(_check_prior(prior, size))
    logw = state.logw - logsumexp(state.logw)
    return _normalized(state, (1 - a) * logw + a * log_prior)


def share(state: WeightState, a: jax.Array | float) -> WeightState:
    """Gives every example at least `a / N`: `(1 - a) w + a / N` (Herbster, Warmuth).

    Raises:
      ConfigError: `a` is not in [0, 1].
    """
    _check_share("share", a)
    logw = state.logw - logsumexp(state.logw)
    floor = jnp.log(a) - math.log(len(logw))
    return _normalized(state, jnp.logaddexp(jnp.log1p(-a) + logw, floor))


def effective_sample_size(state: WeightState) -> jax.Array:
    """Returns `1 / sum(w^2)`: N for equal weights, 1 when one example has it all."""
    return jnp.exp(2 * logsumexp(state.logw) - logsumexp(2 * state.logw))


def _normalized(state: WeightState, logw: jax.Array) -> WeightState:
    logw = logw - logsumexp(logw)
    return dataclasses.replace(state, logw=logw, log_z=jnp.zeros_like(state.log_z))


def _averaged(
    ema: jax.Array, slots: jax.Array, losses: jax.Array, decay: float
) -> jax.Array:
    """Moves the averages of a batch; of an example's losses in it, by their mean."""
    counts = _per_example(ema, slots, jnp.ones_like(losses))
    means = _per_example(ema, slots, losses) / counts
    old = ema.at[slots].get(mode="clip")
    new = jnp.where(jnp.isnan(old), means, decay * old + (1 - decay) * means)
    return ema.at[slots].set(new, mode="drop")


def _per_example(like: jax.Array, slots: jax.Array, values: jax.Array) -> jax.Array:
    """Returns for each member of a batch the sum over all that share its id, `[B]`."""
    sums = jnp.zeros_like(like).at[slots].add(values, mode="drop")
    return sums.at[slots].get(mode="fill", fill_value=1)


def _with_mass(logw: jax.Array, old: jax.Array, slots: jax.Array) -> jax.Array:
    """Scales the weights of a batch back to the sum they had."""
    # Members that share an id count once together.
    once = -jnp.log(_per_example(logw, slots, jnp.ones(slots.shape, logw.dtype)))
    before, after = (
        logsumexp(once + values.at[slots].get(mode="fill", fill_value=-jnp.inf))
        for values in (old, logw)
    )
    shift = jnp.where(jnp.isfinite(after), before - after, 0.0) * jnp.exp(once)
    return logw.at[slots].add(shift, mode="drop")


def _inside(ids: jax.Array, size: int) -> jax.Array:
    """Returns which ids are in range; refuses the others where it can see them.

    Without it -1, the id of padding, would be the last example.
    """
    inside = (ids >= 0) & (ids < size)
    if not isinstance(inside, jax.core.Tracer) and not np.all(inside):
        wrong = np.asarray(ids)[~np.asarray(inside)]
        raise DataError(f"example id {wrong[0]} is not in [0, {size})")
    return inside


def _check_prior(prior: Any, size: int) -> np.ndarray:
    values = np.asarray(prior, np.float64)
    if values.shape != (size,) or not np.all(np.isfinite(values) & (values >= 0)):
        raise ConfigError(
            f"a prior is [{size}] of finite numbers of at least 0, given "
            f"{list(values.shape)} of {values.dtype}"
        )
    if not values.sum() > 0:
        raise ConfigError("a prior needs a weight above 0")
    return values / values.sum()


def _check_share(name: str, a: jax.Array | float) -> None:
    if not isinstance(a, jax.core.Tracer) and not 0 <= float(a) <= 1:
        raise ConfigError(f"{name}={a} must be in [0, 1]")
