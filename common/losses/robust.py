"""Losses of classifiers that bear wrong labels: bounded, or soon saturated.

Each takes logits `[B, K]` and targets `[B, K]`, in [0, 1] with rows that sum to 1, and
returns the loss of every example, `[B]`. They are computed in float32 at least.
"""

from __future__ import annotations

import functools
import math

import jax
import jax.numpy as jnp

from common.errors import ConfigError

# Newton's steps for the normaliser of the tempered softmax. Measured in float64 for t
# from 0.05 to 10, logits that spread from 0 to 1e4 and up to 22,000 classes: at most 11
# to 1e-11, for t of 0.5 and more at most 8.
_STEPS = 12
# The normaliser grows like K^(t - 1), which float32 holds for 22,000 classes up to 9.8.
_MAX_T = 8.0


def generalized_cross_entropy(
    logits: jax.Array, targets: jax.Array, q: float = 0.7
) -> jax.Array:
    """GCE, `(1 - p_y^q) / q` (Zhang and Sabuncu 2018, arXiv 1805.07836).

    Args:
      logits: any real numbers.
      targets: of several classes at once, the mean of their losses.
      q: in (0, 1]; towards 0 it is the cross entropy, at 1 half of
        `mean_absolute_error`. 0.7 is the paper's.

    Raises:
      ConfigError: `q` is out of range.
    """
    if not 0 < q <= 1:
        raise ConfigError(f"the q of GCE is in (0, 1], given {q}")
    log_p = jax.nn.log_softmax(_wide(logits))
    # expm1 keeps the digits of nearly certain examples, and of small q.
    return jnp.sum(targets * -jnp.expm1(q * log_p) / q, -1)


def symmetric_cross_entropy(
    logits: jax.Array,
    targets: jax.Array,
    alpha: float = 0.1,
    beta: float = 1.0,
    log_zero: float = -4.0,
) -> jax.Array:
    """SCE, `alpha` times CE plus `beta` times its reverse (arXiv 1908.06112).

    Args:
      logits: any real numbers.
      targets: the reverse takes their logarithm.
      alpha: at least 0; 0.1 and 1 are the paper's for CIFAR-10.
      beta: at least 0.
      log_zero: what stands for the logarithm of 0.

    Raises:
      ConfigError: a weight is negative, or `log_zero` is not.
    """
    if not (alpha >= 0 and beta >= 0 and log_zero < 0):
        raise ConfigError(
            "SCE needs alpha and beta of at least 0 and log_zero below 0, given "
            f"{alpha}, {beta} and {log_zero}"
        )
    log_p = jax.nn.log_softmax(_wide(logits))
    log_targets = jnp.maximum(jnp.log(jnp.maximum(targets, 1e-30)), log_zero)
    forward = -jnp.sum(targets * log_p, -1)
    return alpha * forward - beta * jnp.sum(jnp.exp(log_p) * log_targets, -1)


def mean_absolute_error(logits: jax.Array, targets: jax.Array) -> jax.Array:
    """The sum over classes of |p - target|: `2 (1 - p_y)` for one class, in [0, 2].

    Robust to symmetric noise, and slow to learn (Ghosh 2017, arXiv 1712.09482).
    """
    difference = jax.nn.softmax(_wide(logits)) - targets
    # Of one-hot targets the sign is known; at 0 the slope is 0.
    return jnp.sum(difference * jnp.sign(jax.lax.stop_gradient(difference)), -1)


def negatively_tilted(losses: jax.Array, temperature: float) -> jax.Array:
    """`-T log(mean(exp(-loss / T)))`, which listens to small losses most; a scalar.

    Tilted empirical risk with `t = -1 / T` (Li 2021, arXiv 2007.01162), and what the
    weighted loss is after the best weights at a cost of `T` times their divergence from
    equal ones. Its gradient weights each loss by `softmax(-loss / T)`.

    Args:
      losses: `[N]`.
      temperature: above 0, in units of the loss; large ones give the mean.

    Raises:
      ConfigError: it is not above 0.
    """
    if not 0 < temperature < math.inf:
        raise ConfigError(f"a temperature is above 0, given {temperature}")
    losses = _wide(losses)
    mean = jax.scipy.special.logsumexp(-losses / temperature) - jnp.log(losses.size)
    return -temperature * mean


def tempered_softmax(logits: jax.Array, t: float) -> jax.Array:
    """`exp_t(z - g)`, `g` such that rows sum to 1 (arXiv 1906.03361); `[B, K]`.

    Args:
      logits: any real numbers.
      t: in (0, 8]; 1 is the softmax, above it the tail is heavy, below it some
        probabilities are 0.

    Raises:
      ConfigError: `t` is out of range.
    """
    if not 0 < t <= _MAX_T:
        raise ConfigError(f"the t of a tempered softmax is in (0, 8], given {t}")
    return jnp.exp(_log_tempered_softmax(_wide(logits), t))


def bi_tempered_logistic(
    logits: jax.Array, targets: jax.Array, t1: float = 0.8, t2: float = 1.2
) -> jax.Array:
    """The bi-tempered logistic loss (Amid et al. 2019, arXiv 1906.03361).

    The Bregman divergence of `log_t1` between targets and `tempered_softmax(., t2)`.
    At `t1 = t2 = 1` it is the cross entropy less the entropy of the targets. Gradients
    flow to the logits alone.

    Args:
      logits: any real numbers.
      targets: see the module. (Smoothing `s` of the original code is `K / (K - 1) s` of
        `optax.smooth_labels`.)
      t1: in [0, 1]; below 1 the loss of one class is at most `1 / (1 - t1)`.
      t2: in (0, 8]; above 1 the probabilities have heavy tails. Below 1 a class whose
        probability is 0 has no slope either; below `t1` the slopes near 0 are steep.

    Raises:
      ConfigError: a temperature is out of range.
    """
    if not 0 <= t1 <= 1 or not 0 < t2 <= _MAX_T:
        raise ConfigError(
            "the bi-tempered loss needs t1 in [0, 1] and t2 in (0, 8], given "
            f"{t1} and {t2}"
        )
    return _bi_tempered(_wide(logits), _wide(targets), t1, t2)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _bi_tempered(
    logits: jax.Array, targets: jax.Array, t1: float, t2: float
) -> jax.Array:
    return _forward(logits, targets, t1, t2)[0]


_Kept = tuple[jax.Array, jax.Array]


def _forward(
    logits: jax.Array, targets: jax.Array, t1: float, t2: float
) -> tuple[jax.Array, _Kept]:
    log_p = _log_tempered_softmax(logits, t2)
    terms = targets * (_log_t(jnp.log(targets), t1) - _log_t(log_p, t1))
    terms -= (targets ** (2 - t1) - jnp.exp((2 - t1) * log_p)) / (2 - t1)
    return jnp.sum(terms, -1), (log_p, targets)


def _backward(
    t1: float, t2: float, kept: _Kept, gradient: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Without the solver: p changes by p^t2 (dz - escort . dz), escort ~ p^t2."""
    log_p, targets = kept
    possible = log_p > -jnp.inf  # elsewhere the slope is 0
    power = jnp.exp((t2 - t1) * jnp.where(possible, log_p, 0))
    weighted = jnp.where(possible, (jnp.exp(log_p) - targets) * power, 0)
    escort = jax.nn.softmax(t2 * log_p)
    slope = weighted - escort * jnp.sum(weighted, -1, keepdims=True)
    return gradient[..., None] * slope, jnp.zeros_like(targets)


_bi_tempered.defvjp(_forward, _backward)


def _log_t(log_x: jax.Array, t: float) -> jax.Array:
    """`(x^(1 - t) - 1) / (1 - t)` of the logarithm of x, exact also for t near 1.

    Where t is 1 that is the logarithm itself; of x = 0 then a large negative number.
    """
    if t == 1:
        tiny = math.log(jnp.finfo(log_x.dtype).tiny)
        return jnp.where(log_x == -jnp.inf, tiny, log_x)
    return jnp.expm1((1 - t) * log_x) / (1 - t)


def _log_exp_t(x: jax.Array, t: float) -> jax.Array:
    """The logarithm of the inverse of `_log_t` for x up to 0; -inf below its range."""
    scaled = (1 - t) * x
    possible = scaled > -1
    safe = jnp.where(possible, scaled, 0)
    return jnp.where(possible, jnp.log1p(safe) / (1 - t), -jnp.inf)


def _log_tempered_softmax(logits: jax.Array, t: float) -> jax.Array:
    """Logarithms of `tempered_softmax`, which tell apart what rounds to 0.

    The normaliser g solves S(g) = 1, S being the sum of exp_t(z - g), by Newton's
    method for log_t(S(g)) = 0. As a function of g that is convex and falls, for every
    t: for t < 1 it is a norm of an affine vector, for t > 1 a power mean. So from g =
    max z, where S is at least 1, the steps go up to the root and never past it. Equal
    logits need one step.

    Args:
      logits: `[B, K]`.
      t: above 0.
    """
    if t == 1:
        return jax.nn.log_softmax(logits)
    shifted = logits - jnp.max(logits, -1, keepdims=True)

    def step(_: int, g: jax.Array) -> jax.Array:
        log_p = _log_exp_t(shifted - g, t)
        log_sum = jax.nn.logsumexp(log_p, -1, keepdims=True)
        log_slope = jax.nn.logsumexp(t * log_p, -1, keepdims=True)
        return g + _log_t(log_sum, t) * jnp.exp(t * log_sum - log_slope)

    g = jax.lax.fori_loop(0, _STEPS, step, jnp.zeros_like(shifted[..., :1]))
    return _log_exp_t(shifted - g, t)


def _wide(x: jax.Array) -> jax.Array:
    return jnp.asarray(x, jnp.promote_types(jnp.asarray(x).dtype, jnp.float32))
