"""Scores of all items from votes on pairs, in double precision, problems named."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from absl import logging

from common.config import unknown
from common.errors import ConfigError
from iqa import comparisons, rank_smoothing
from iqa.comparisons import Comparisons, GraphReport

METHODS = ("rank_centrality", "bradley_terry", "bradley_terry_newton", "win_rate")


@dataclasses.dataclass(frozen=True)
class Ranking:
    """What is known of the items.

    Attributes:
      log_scores: float64 `[N]`, of mean 0 in each component.
      components: int `[N]`; scores of different ones cannot be compared.
      graph: what the scores rest on.
    """

    log_scores: np.ndarray
    components: np.ndarray
    graph: GraphReport

    def probability(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """Returns how likely the first wins, `[E]`; NaN across components."""
        with jax.enable_x64(True):
            scores, groups = map(jnp.asarray, (self.log_scores, self.components))
            found = rank_smoothing.rankwise_probability(
                scores, jnp.asarray(first), jnp.asarray(second), groups
            )
            return np.asarray(found)


def rank(
    votes: Comparisons,
    method: str = "rank_centrality",
    *,
    eps: float = 1.0,
    l2: float = 0.0,
) -> Ranking:
    """Ranks items; what the graph lacks is logged.

    Args:
      votes: of training pairs only: votes on test pairs would leak.
      method: "rank_centrality"; "bradley_terry", by MM, for large graphs, or
        "bradley_terry_newton"; "win_rate", the share of all votes on an item.
      eps: votes added to both sides of each pair, but for Newton's method.
      l2: of Newton's method.

    Raises:
      ConfigError: unknown method, or a negative eps or l2.
    """
    if method not in METHODS:
        raise ConfigError(unknown("method of ranking", method, METHODS))
    if not (eps >= 0 and l2 >= 0):
        raise ConfigError(f"eps={eps} and l2={l2} must be at least 0")
    graph = comparisons.report(votes)
    for line in graph.lines()[1:]:
        logging.warning("ranking: %s", line)
    groups = comparisons.components(votes)
    with jax.enable_x64(True), np.errstate(divide="ignore"):
        found = _log_scores(votes, method, eps, l2)
    return Ranking(_centred(found, groups), groups, graph)


def _log_scores(v: Comparisons, method: str, eps: float, l2: float) -> np.ndarray:
    edges = (v.num_items, v.first, v.second)
    wins = (v.first_wins, v.second_wins)
    smoothed = tuple(w + eps for w in wins)
    match method:
        case "rank_centrality":
            return np.log(rank_smoothing.rank_centrality(*edges, *wins, eps))
        case "bradley_terry":
            return np.asarray(rank_smoothing.bradley_terry(*edges, *smoothed))
        case "bradley_terry_newton":
            found = rank_smoothing.bradley_terry(*edges, *wins, l2, method="newton")
            return np.asarray(found)
    won, total = np.zeros(v.num_items), np.zeros(v.num_items)
    for item, own in zip((v.first, v.second), smoothed, strict=True):
        np.add.at(won, item, own)
        np.add.at(total, item, v.votes + 2 * eps)
    share = np.divide(won, total, out=np.full(v.num_items, 0.5), where=total > 0)
    return np.log(share) - np.log1p(-share)


def _centred(log_scores: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Takes the mean of what is finite from each component."""
    finite = np.isfinite(log_scores)
    sums = np.bincount(groups, np.where(finite, log_scores, 0.0))
    counts = np.maximum(np.bincount(groups, finite), 1)
    return log_scores - (sums / counts)[groups]
