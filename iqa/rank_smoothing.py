"""Pairwise targets smoothed by a ranking of all items.

In the manner of "Rank-smoothed Pairwise Learning In Perceptual Quality Assessment"
(Talebi, Amid, Milanfar and Warmuth 2020, arXiv 2011.10893); its text was not at hand,
and the formulas are reconstructed from the abstract and a reader's note.

Votes on a pair are few, so their share is a noisy target. A ranking pools all votes on
both items:

    log_scores = jnp.log(rank_centrality(n, first, second, first_wins, second_wins))
    r = rankwise_probability(log_scores, first, second)
    t = smooth_targets(p, r, a=0.5)
    loss = pairwise_loss(scores[first] - scores[second], t)

Functions here take lists of edges as `iqa.comparisons.Comparisons` has them (each pair
once), are of the dtype of the votes, and can be jitted, differentiated and mapped over
where they take arrays. `iqa.ranking` runs them on checked comparisons.
"""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp

from common.errors import ConfigError

# Scores further apart are as good as infinitely far; exp(8) is 3,000 to 1.
CLIP = 8.0
_TOLERANCE = 1e-10  # of float64
_ROUNDINGS = 4.0  # in other types: so many of the last digit


def transition_rates(
    num_items: int,
    first: jax.Array,
    second: jax.Array,
    first_wins: jax.Array,
    second_wins: jax.Array,
    eps: float = 1.0,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Returns Rank Centrality's chain (Negahban, Oh and Shah, arXiv 1209.1688).

    From an item the chain goes to one that beats it, with the share of the votes that
    the other got, divided by the largest number of neighbours. `eps` votes are added to
    both sides of every pair that was compared, and to no other.

    Args:
      num_items: items.
      first: `[E]`.
      second: `[E]`.
      first_wins: `[E]`, votes for the first.
      second_wins: `[E]`.
      eps: in votes; at 0 an item that never lost takes everything.

    Returns:
      Sources, destinations and rates, `[2 E]` each.
    """
    ones = jnp.ones(first.shape, jnp.int32)
    neighbours = (
        jnp.zeros(num_items, jnp.int32).at[first].add(ones).at[second].add(ones)
    )
    total = first_wins + second_wins + 2 * eps
    scale = total * jnp.max(neighbours).astype(total.dtype)
    rates = jnp.concatenate([(second_wins + eps) / scale, (first_wins + eps) / scale])
    return (
        jnp.concatenate([first, second]),
        jnp.concatenate([second, first]),
        rates,
    )


@functools.partial(jax.jit, static_argnames=("num_items", "max_iterations"))
def rank_centrality(
    num_items: int,
    first: jax.Array,
    second: jax.Array,
    first_wins: jax.Array,
    second_wins: jax.Array,
    eps: float = 1.0,
    *,
    max_iterations: int = 100_000,
) -> jax.Array:
    """Returns the stationary distribution of the chain: high for items that win.

    Where votes follow a Bradley-Terry model exactly it returns its scores. Every
    connected component gets the share of the items that it has; between components
    scores mean nothing.

    Args:
      num_items: items.
      first: `[E]`, each pair once.
      second: `[E]`.
      first_wins: `[E]`.
      second_wins: `[E]`.
      eps: see `transition_rates`.
      max_iterations: of the power method, which stops when all changes of one add up to
        1e-10 in float64, or to what rounding makes in other types.

    Returns:
      `[num_items]`, positive, with sum 1.
    """
    first, second, *wins = _arrays(first, second, first_wins, second_wins)
    source, goal, rates = transition_rates(num_items, first, second, *wins, eps=eps)
    leaving = jnp.zeros(num_items, rates.dtype).at[source].add(rates)

    def step(carry):
        pi, _, count = carry
        moved = pi - leaving * pi
        moved = moved.at[goal].add(pi[source] * rates)
        moved = moved / jnp.sum(moved)
        return moved, jnp.sum(jnp.abs(moved - pi)), count + 1

    def going(carry):
        return (carry[1] > _stop(rates.dtype)) & (carry[2] < max_iterations)

    uniform = jnp.full(num_items, 1 / num_items, rates.dtype)
    start = (uniform, jnp.asarray(jnp.inf, rates.dtype), 0)
    return jax.lax.while_loop(going, step, start)[0]


@functools.partial(
    jax.jit, static_argnames=("num_items", "l2", "method", "max_iterations")
)
def bradley_terry(
    num_items: int,
    first: jax.Array,
    second: jax.Array,
    first_wins: jax.Array,
    second_wins: jax.Array,
    l2: float = 0.0,
    *,
    method: str = "mm",
    max_iterations: int = 10_000,
) -> jax.Array:
    """Returns the most likely log-scores of the Bradley-Terry model, of mean 0.

    Args:
      num_items: items.
      first: `[E]`, each pair once.
      second: `[E]`.
      first_wins: `[E]`.
      second_wins: `[E]`.
      l2: `l2 * sum(score^2)` is added to the negative log-likelihood; without it items
        that never lost or never won have no finite score.
      method: "mm", the iteration of Zermelo and Hunter, for large graphs and without
        `l2`; or "newton", with a dense `[num_items, num_items]` Hessian.
      max_iterations: of "mm"; Newton's converge in far fewer.

    Returns:
      `[num_items]`.

    Raises:
      ConfigError: unknown method, or "mm" with `l2`.
    """
    first, second, *wins = _arrays(first, second, first_wins, second_wins)
    if method == "newton":
        return _newton(num_items, first, second, *wins, l2=l2)
    if method != "mm":
        raise ConfigError(f"method of Bradley-Terry is mm or newton, given {method!r}")
    if l2:
        raise ConfigError("bradley_terry: l2 needs method='newton'")
    return _minorize(num_items, first, second, *wins, max_iterations=max_iterations)


def rankwise_probability(
    log_scores: jax.Array,
    first: jax.Array,
    second: jax.Array,
    components: jax.Array | None = None,
    *,
    temperature: float = 1.0,
    hard: bool = False,
) -> jax.Array:
    """Returns how likely the first of two items wins, by the ranking of all.

    `pi_i / (pi_i + pi_j)`, for pairs that were compared or not. Differences of
    log-scores are clipped to +-8.

    Args:
      log_scores: `[N]`, such as the logarithm of `rank_centrality`.
      first: `[E]`.
      second: `[E]`.
      components: `[N]` of `iqa.comparisons.components`; pairs across them get NaN.
      temperature: divides the difference.
      hard: 1 for the item in front, 0 for the other, 1/2 for equals.

    Returns:
      `[E]`.
    """
    gap = log_scores[first] - log_scores[second]
    # Two items at -inf are equal.
    gap = jnp.where(log_scores[first] == log_scores[second], 0.0, gap)
    if hard:
        r = (jnp.sign(gap) + 1) / 2
    else:
        r = jax.nn.sigmoid(jnp.clip(gap, -CLIP, CLIP) / temperature)
    if components is not None:
        components = jnp.asarray(components)
        r = jnp.where(components[first] == components[second], r, jnp.nan)
    return r


def smooth_targets(
    p: jax.Array,
    r: jax.Array,
    a: Any = None,
    *,
    lam: float | None = None,
    pseudo_votes: float | None = None,
    votes: jax.Array | None = None,
) -> jax.Array:
    """Returns `(1 - a) p + a r`: empirical probabilities drawn towards rankwise ones.

    Exactly one of `a`, `lam` and `pseudo_votes` is given.

    Args:
      p: `[E]`, shares of the votes for the first.
      r: `[E]`, of `rankwise_probability`; where it is NaN the target is `p`.
      a: in [0, 1], one number or `[E]`; 0 changes nothing.
      lam: the weight of a second cross-entropy with targets `r`: the same as
        `a = lam / (1 + lam)`, the loss being `1 + lam` times as large.
      pseudo_votes: `a0` of `a = a0 / (a0 + votes)`: less smoothing where many voted.
        Our choice, not the paper's.
      votes: `[E]`, for `pseudo_votes`.

    Returns:
      `[E]`.

    Raises:
      ConfigError: none or several are given, or a value is out of range.
    """
    given = [
        name
        for name, value in (("a", a), ("lam", lam), ("pseudo_votes", pseudo_votes))
        if value is not None
    ]
    if len(given) != 1:
        raise ConfigError(
            f"give exactly one of a, lam and pseudo_votes, given {given or 'none'}"
        )
    if pseudo_votes is not None:
        if votes is None or pseudo_votes < 0:
            raise ConfigError(
                f"pseudo_votes={pseudo_votes} must be at least 0 and needs votes"
            )
        a = pseudo_votes / (pseudo_votes + jnp.asarray(votes))
    elif lam is not None:
        if lam < 0:
            raise ConfigError(f"lam={lam} must be at least 0")
        a = lam / (1 + lam)
    elif isinstance(a, float | int) and not 0 <= a <= 1:
        raise ConfigError(f"a={a} must be in [0, 1]")
    p, r = jnp.asarray(p), jnp.asarray(r)
    known = jnp.isfinite(r)
    # The outer choice keeps `a = 0` exact, the inner one NaN out of gradients.
    mixed = (1 - a) * p + a * jnp.where(known, r, 0.0)
    return jnp.where(known & (jnp.asarray(a) != 0), mixed, p)


def pairwise_losses(d: jax.Array, t: jax.Array) -> jax.Array:
    """Returns the cross-entropy of each pair, `softplus(d) - t d`, `[E]`.

    Args:
      d: `[E]`, score of the first less that of the second: the logit of its victory.
      t: `[E]`, targets in [0, 1].
    """
    return jax.nn.softplus(d) - t * d


def pairwise_loss(d: jax.Array, t: jax.Array, weight: Any = None) -> jax.Array:
    """Returns the mean cross-entropy of pairs, as of RankNet and Bradley-Terry.

    Args:
      d: `[E]`, see `pairwise_losses`.
      t: `[E]`.
      weight: `[E]`, such as votes: then it is the negative log-likelihood of all votes,
        divided by their number. Equal weights by default.
    """
    losses = pairwise_losses(d, t)
    if weight is None:
        return jnp.mean(losses)
    return jnp.sum(weight * losses) / jnp.sum(weight)


def plackett_luce_loss(scores: jax.Array, log_scores: jax.Array) -> jax.Array:
    """Returns the negative log-likelihood of an order under the model's scores.

    The list-wise reading of "adding the log-likelihood of the global ranking".

    Args:
      scores: `[M]`, of the model.
      log_scores: `[M]`, whose falling order is the ranking.

    Returns:
      The sum over places of `logsumexp(scores from here on) - score here`.
    """
    ranked = scores[jnp.argsort(log_scores, descending=True, stable=True)]
    return jnp.sum(jax.lax.cumlogsumexp(ranked, reverse=True) - ranked)


def _arrays(first: Any, second: Any, *wins: Any) -> list[jax.Array]:
    votes = [jnp.asarray(w) for w in wins]
    dtype = jnp.promote_types(jnp.result_type(*votes), jnp.float32)
    return [jnp.asarray(first), jnp.asarray(second), *(w.astype(dtype) for w in votes)]


def _stop(dtype: Any) -> float:
    return max(_TOLERANCE, _ROUNDINGS * float(jnp.finfo(dtype).eps))


def _minorize(num_items, first, second, first_wins, second_wins, *, max_iterations):
    """The iteration on exp(score): wins over expected encounters."""
    dtype, votes = first_wins.dtype, first_wins + second_wins
    wins = jnp.zeros(num_items, dtype).at[first].add(first_wins)
    wins = wins.at[second].add(second_wins)
    compared = jnp.zeros(num_items, bool).at[first].set(True).at[second].set(True)

    def step(carry):
        theta, _, count = carry
        share = votes * jnp.exp(-jnp.logaddexp(theta[first], theta[second]))
        met = jnp.zeros(num_items, dtype).at[first].add(share).at[second].add(share)
        moved = jnp.log(wins) - jnp.log(met)
        moved = jnp.where(compared, moved, 0.0)
        finite = jnp.isfinite(moved)
        mean = jnp.sum(jnp.where(finite, moved, 0.0)) / jnp.maximum(jnp.sum(finite), 1)
        moved = moved - mean
        change = jnp.max(jnp.where(finite, jnp.abs(moved - theta), 0.0))
        return moved, change, count + 1

    def going(carry):
        return (carry[1] > _stop(dtype)) & (carry[2] < max_iterations)

    start = (jnp.zeros(num_items, dtype), jnp.asarray(jnp.inf, dtype), 0)
    return jax.lax.while_loop(going, step, start)[0]


def _newton(num_items, first, second, first_wins, second_wins, *, l2, iterations=50):
    """Damped Newton steps on the penalised likelihood."""
    dtype, votes = first_wins.dtype, first_wins + second_wins

    def objective(theta):
        d = theta[first] - theta[second]
        losses = votes * jax.nn.softplus(d) - first_wins * d
        return jnp.sum(losses) + l2 * jnp.sum(theta**2)

    def step(_, theta):
        d = theta[first] - theta[second]
        curvature = votes * jax.nn.sigmoid(d) * jax.nn.sigmoid(-d)
        hessian = jnp.zeros((num_items, num_items), dtype)
        hessian = hessian.at[first, second].add(-curvature)
        hessian = hessian.at[second, first].add(-curvature)
        hessian = hessian.at[first, first].add(curvature)
        hessian = hessian.at[second, second].add(curvature)
        # Scores are known up to a constant: the added ones fix their mean at 0.
        hessian = hessian + 2 * l2 * jnp.eye(num_items, dtype=dtype) + 1 / num_items
        move = jnp.linalg.solve(hessian, jax.grad(objective)(theta))
        # Steps as long as this never overshoot by much (Nesterov and Nemirovskii).
        longest = jnp.max(jnp.abs(move))
        return theta - move / (1 + jnp.where(longest > 1, longest, 0.0))

    theta = jax.lax.fori_loop(0, iterations, step, jnp.zeros(num_items, dtype))
    return theta - jnp.mean(theta)
