"""Rank Centrality of many items against choix, and of more than choix can do.

    python -m benchmarks.rank_centrality

Votes are drawn from a Bradley-Terry model. Where choix is installed both rank 1,000
items from 20,000 votes in turns, in float64 and without regularisation, and must agree.
choix holds a dense matrix, 80 GB for 100,000 items; that size is ours alone: merging a
million votes, the report on their graph, and the scores.
"""

import importlib.util
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from iqa import comparisons, ranking

ROUNDS = 7


def draw(items: int, votes: int) -> np.ndarray:
    """Returns rows (winner, loser), every item in at least two of them."""
    rng = np.random.default_rng(0)
    scores = 0.5 * rng.normal(size=items)
    first = rng.integers(items, size=votes)
    second = (first + rng.integers(1, items, size=votes)) % items
    won = rng.random(votes) < 1 / (1 + np.exp(scores[second] - scores[first]))
    rows = np.stack([np.where(won, first, second), np.where(won, second, first)], 1)
    # A ring makes the graph strongly connected, so that both sides need no help.
    ring = np.stack([np.arange(items), np.roll(np.arange(items), 1)], 1)
    return np.concatenate([rows, ring, ring[:, ::-1]])


def seconds(call: Callable[[], Any]) -> float:
    """Returns how long a call takes."""
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def against_choix() -> None:
    """Prints medians and their ratio."""
    import choix  # pyrefly: ignore[missing-import]

    rows = draw(1_000, 20_000)
    pairs = [tuple(row) for row in rows.tolist()]
    size = 1_000

    def ours() -> np.ndarray:
        return ranking.rank(comparisons.from_winners(rows, size), eps=0.0).log_scores

    def theirs() -> np.ndarray:
        return choix.rank_centrality(size, pairs)

    gap = np.abs(ours() - theirs()).max()
    times = [(seconds(ours), seconds(theirs)) for _ in range(ROUNDS)]
    mine, peer = (statistics.median(column) for column in zip(*times, strict=True))
    print(f"{size:,} items, {len(rows):,} votes: ours {mine:.3f} s, choix {peer:.3f} s")
    ratio = statistics.median(a / b for a, b in times)
    print(f"ratio, ours over choix: {ratio:.3f}; largest difference {gap:.1e}")


def large() -> None:
    """Prints how long a million votes on 100,000 items take, from rows to scores."""
    rows = draw(100_000, 1_000_000)

    def call() -> None:
        ranking.rank(comparisons.from_winners(rows, 100_000))

    first = seconds(call)
    again = statistics.median(seconds(call) for _ in range(3))
    print(f"100,000 items, {len(rows):,} votes: {again:.2f} s, at first {first:.2f} s")


if __name__ == "__main__":
    if importlib.util.find_spec("choix") is None:
        print("choix is not installed: pip install choix")
    else:
        against_choix()
    large()
