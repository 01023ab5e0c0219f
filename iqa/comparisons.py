"""Votes on pairs as a list of edges, checked, and what the graph of them is like."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import sparse
from scipy.sparse import csgraph

from common.errors import DataError


@dataclasses.dataclass(frozen=True)
class Comparisons:
    """Votes between items 0 to `num_items - 1`, one edge for each pair compared.

    Attributes:
      num_items: how many there are, compared or not.
      first: int64 `[E]`, the item of the lower number.
      second: int64 `[E]`.
      first_wins: float64 `[E]`, votes for the first; ties count half to each side.
      second_wins: float64 `[E]`.
    """

    num_items: int
    first: np.ndarray
    second: np.ndarray
    first_wins: np.ndarray
    second_wins: np.ndarray

    @property
    def votes(self) -> np.ndarray:
        """Votes on each pair, `[E]`."""
        return self.first_wins + self.second_wins

    @property
    def share(self) -> np.ndarray:
        """Share of the votes for the first, `[E]`: the empirical probability."""
        return self.first_wins / self.votes


def from_votes(
    first: Any,
    second: Any,
    first_wins: Any,
    second_wins: Any,
    num_items: int | None = None,
) -> Comparisons:
    """Returns comparisons; pairs that come more than once are added up.

    Args:
      first: `[M]`, numbers of items.
      second: `[M]`.
      first_wins: `[M]`, votes for the first, whole or not.
      second_wins: `[M]`.
      num_items: one more than the highest number by default.

    Raises:
      DataError: a number is out of range, an item is compared with itself, votes are
        negative or not finite, or nobody voted on a pair; the first such row is named.
    """
    columns = [
        np.asarray(c, np.float64) for c in (first, second, first_wins, second_wins)
    ]
    if (
        columns[0].ndim != 1
        or len({c.shape for c in columns}) > 1
        or not len(columns[0])
    ):
        raise DataError(
            "comparisons are columns of one length, with rows, given "
            f"{[list(c.shape) for c in columns]}"
        )
    i, j, a, b = columns
    size = int(max(i.max(), j.max())) + 1 if num_items is None else num_items
    for wrong, what in (
        (
            (i % 1 != 0) | (j % 1 != 0) | (i < 0) | (j < 0) | (i >= size) | (j >= size),
            f"an item that is not in [0, {size})",
        ),
        (i == j, "an item compared with itself"),
        (
            ~(np.isfinite(a) & np.isfinite(b) & (a >= 0) & (b >= 0)),
            "votes that are negative or not finite",
        ),
        (a + b == 0, "no vote at all"),
    ):
        if wrong.any():
            row = int(np.argmax(wrong))
            shown = ", ".join(f"{column[row]:g}" for column in columns)
            raise DataError(
                f"{wrong.sum()} rows have {what}, row {row} first: ({shown})"
            )
    return _merged(size, i.astype(np.int64), j.astype(np.int64), a, b)


def from_winners(pairs: Any, num_items: int | None = None) -> Comparisons:
    """Returns comparisons of rows (winner, loser), `[M, 2]`, one for each vote.

    Raises:
      DataError: see `from_votes`.
    """
    rows = np.asarray(pairs)
    if rows.ndim != 2 or rows.shape[1] != 2:
        raise DataError(f"winners and losers are [M, 2], given {list(rows.shape)}")
    ones = np.ones(len(rows))
    return from_votes(rows[:, 0], rows[:, 1], ones, 0 * ones, num_items)


def from_probabilities(
    first: Any, second: Any, share: Any, votes: Any = 1.0, num_items: int | None = None
) -> Comparisons:
    """Returns comparisons of the share of votes for the first and their number.

    Args:
      first: `[M]`.
      second: `[M]`.
      share: `[M]`, in [0, 1].
      votes: `[M]` or one number.
      num_items: as for `from_votes`.

    Raises:
      DataError: a share is not in [0, 1]; see `from_votes`.
    """
    share = np.asarray(share, np.float64)
    wrong = ~((share >= 0) & (share <= 1))
    if wrong.any():
        row = int(np.argmax(wrong))
        raise DataError(
            f"{wrong.sum()} shares are not in [0, 1], row {row} first: "
            f"{share.reshape(-1)[row]:g}"
        )
    votes = np.broadcast_to(np.asarray(votes, np.float64), share.shape)
    return from_votes(first, second, votes * share, votes * (1 - share), num_items)


def histogram_preference(first: Any, second: Any) -> float:
    """Returns how likely a voter gives the first picture the higher score.

    Two voters, one for each picture, drawn from their histograms; equal scores count
    half.

    Args:
      first: `[K]`, votes or shares of each score.
      second: `[K]`.

    Raises:
      DataError: they are no histograms of one scale.
    """
    h, g = (np.asarray(values, np.float64) for values in (first, second))
    if h.ndim != 1 or h.shape != g.shape:
        raise DataError(f"two [K] are compared, given {list(h.shape)}, {list(g.shape)}")
    for values in (h, g):
        if not (np.isfinite(values) & (values >= 0)).all() or not values.sum():
            raise DataError(f"{values.tolist()} is no histogram of votes")
    h, g = h / h.sum(), g / g.sum()
    below = np.cumsum(g) - g
    return float(h @ (below + g / 2))


def components(comparisons: Comparisons) -> np.ndarray:
    """Returns the number of each item's connected component, `[num_items]`.

    Items that nobody compared are components of their own.
    """
    return csgraph.connected_components(_matrix(comparisons, won=False))[1]


@dataclasses.dataclass(frozen=True)
class GraphReport:
    """What a ranking of these comparisons rests on.

    Attributes:
      num_items: items.
      num_pairs: pairs compared.
      num_votes: votes on them.
      num_components: groups between which nothing was compared.
      largest_component: items of the largest.
      uncompared: items without a comparison.
      undefeated: items that never lost a vote, of those compared.
      winless: items that never won one.
      num_strong_components: groups inside which everybody is beaten, by steps, by
        everybody; with more of them than components the most likely scores are
        infinite and need `eps` or `l2`.
    """

    num_items: int
    num_pairs: int
    num_votes: float
    num_components: int
    largest_component: int
    uncompared: int
    undefeated: tuple[int, ...]
    winless: tuple[int, ...]
    num_strong_components: int

    def lines(self) -> list[str]:
        """Returns it for people, problems named."""
        found = [
            f"{self.num_items:,} items, {self.num_pairs:,} pairs, "
            f"{self.num_votes:,g} votes"
        ]
        if self.num_components > 1:
            found.append(
                f"{self.num_components:,} components, the largest of "
                f"{self.largest_component:,} items, {self.uncompared:,} items never "
                "compared: scores of different components cannot be compared"
            )
        if self.num_strong_components > self.num_components:
            found.append(
                f"{len(self.undefeated):,} items never lost{_some(self.undefeated)}, "
                f"{len(self.winless):,} never won{_some(self.winless)}: without eps or "
                "l2 their scores are without bound"
            )
        return found


def report(comparisons: Comparisons) -> GraphReport:
    """Returns what the graph is like."""
    c = comparisons
    sizes = np.bincount(components(c))
    won, lost = np.zeros(c.num_items), np.zeros(c.num_items)
    for item, wins, losses in (
        (c.first, c.first_wins, c.second_wins),
        (c.second, c.second_wins, c.first_wins),
    ):
        np.add.at(won, item, wins)
        np.add.at(lost, item, losses)
    compared = won + lost > 0
    strong, _ = csgraph.connected_components(_matrix(c, won=True), connection="strong")
    return GraphReport(
        num_items=c.num_items,
        num_pairs=len(c.first),
        num_votes=float(c.votes.sum()),
        num_components=len(sizes),
        largest_component=int(sizes.max()),
        uncompared=int(np.sum(~compared)),
        undefeated=tuple(np.flatnonzero(compared & (lost == 0)).tolist()),
        winless=tuple(np.flatnonzero(compared & (won == 0)).tolist()),
        num_strong_components=int(strong),
    )


@dataclasses.dataclass(frozen=True)
class Intransitivity:
    """How far votes on pairs are from what one ranking of all items says.

    Attributes:
      divergence: mean Kullback-Leibler divergence of the votes from the ranking, nats.
      disagreement: share of the pairs with a majority in which the ranking has the
        other one in front.
    """

    divergence: float
    disagreement: float


def intransitivity(share: Any, rankwise: Any) -> Intransitivity:
    """Compares empirical probabilities `[E]` with rankwise ones, both in [0, 1]."""
    p, r = (np.asarray(values, np.float64) for values in (share, rankwise))
    known = np.isfinite(r)
    p, r = p[known], r[known]
    with np.errstate(divide="ignore", invalid="ignore"):
        parts = [
            np.where(x > 0, x * np.log(x / y), 0.0) for x, y in ((p, r), (1 - p, 1 - r))
        ]
    decided = p != 0.5
    opposite = (p[decided] > 0.5) != (r[decided] > 0.5)
    return Intransitivity(
        divergence=float(np.mean(sum(parts))) if len(p) else 0.0,
        disagreement=float(opposite.mean()) if decided.any() else 0.0,
    )


def _merged(
    size: int, i: np.ndarray, j: np.ndarray, a: np.ndarray, b: np.ndarray
) -> Comparisons:
    """Puts the lower number first and adds up what is of one pair."""
    swap = i > j
    low, high = np.where(swap, j, i), np.where(swap, i, j)
    wins = np.where(swap, b, a), np.where(swap, a, b)
    keys, place = np.unique(low * size + high, return_inverse=True)
    first_wins, second_wins = (np.bincount(place, w, len(keys)) for w in wins)
    return Comparisons(size, keys // size, keys % size, first_wins, second_wins)


def _matrix(c: Comparisons, won: bool) -> Any:
    """Returns the graph: an edge to whom an item compared with, or was beaten by."""
    edges = [(c.first, c.second, c.second_wins), (c.second, c.first, c.first_wins)]
    kept = [(i[w > 0], j[w > 0]) if won else (i, j) for i, j, w in edges]
    rows, columns = (np.concatenate(ends) for ends in zip(*kept, strict=True))
    shape = (c.num_items, c.num_items)
    return sparse.coo_array((np.ones(len(rows)), (rows, columns)), shape).tocsr()


def _some(items: Sequence[int], limit: int = 5) -> str:
    """Returns the first few numbers in brackets."""
    if not items:
        return ""
    more = ", ..." if len(items) > limit else ""
    return f" ({', '.join(map(str, items[:limit]))}{more})"
