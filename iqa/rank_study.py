"""`--mode=rank_study`: when do smoothed targets help, on data whose truth is known.

Items have features and a latent score, votes are drawn from the Bradley-Terry model of
the scores, and a linear scorer learns from targets smoothed by more and more. All of it
is simulated, and the protocol is ours; nothing here is from the paper.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from tqdm import tqdm

from common import tables
from common.errors import ConfigError
from common.logging import plots
from common.runtime import setup_runtime
from iqa import rank_smoothing as rs

ITEMS, FEATURES, NOISE = 300, 20, 0.5
VOTES, DEGREES, EPS = (1, 3, 9), (4, 10, 30), (0.5, 1.0)
A = (0.0, 0.1, 0.25, 0.5, 0.75, 1.0)
# What the ranking is replaced by, to see that it is the ranking that helps.
RANKINGS = ("rank_centrality", "bradley_terry", "uniform", "shuffled", "oracle")
_STEPS, _RATE = 500, 1.0
Rows = dict[tuple[int, int, float, str], dict[str, np.ndarray]]


def run(workdir: str | None) -> str:
    """Runs the sweep and returns the table.

    `workdir` gets `rank_study.md` and `.csv`, means and standard deviations over ten
    seeds, `rank_error.png` and `rank_accuracy.png`.

    Raises:
      ConfigError: there is no workdir.
    """
    if workdir is None:
        raise ConfigError("--mode=rank_study needs --workdir=DIR")
    setup_runtime(None, None, None)
    return study(Path(workdir), VOTES, DEGREES, EPS, seeds=10)


def study(
    home: Path,
    votes: Sequence[int],
    degrees: Sequence[int],
    eps: Sequence[float],
    seeds: int,
) -> str:
    """Runs the experiments and writes what `run` says."""
    keys = jax.random.split(jax.random.key(0), seeds)
    rows: Rows = {}
    grid = [(k, d, e, r) for d in degrees for k in votes for e in eps for r in RANKINGS]
    for k, degree, amount, ranking in tqdm(grid, unit="setting"):
        if ranking in RANKINGS[2:] and amount != eps[0]:
            continue  # has no eps
        found = _experiments(keys, float(k), amount, degree=degree, ranking=ranking)
        rows[k, degree, amount, ranking] = jax.device_get(found)
    header = ["votes", "degree", "ranking", "eps", "a", "target MSE", "of a = 0"]
    header += ["accuracy", "gain"]
    text = tables.write({"rank_study": [header, *_lines(rows)]}, str(home))
    shown = [_draw(rows, eps[0], name, home) for name in ("error", "accuracy")]
    return text + "\n\npictures: " + ", ".join(map(str, shown))


@functools.partial(jax.jit, static_argnames=("degree", "ranking"))
def _experiments(
    keys: jax.Array, votes: jax.Array, eps: jax.Array, *, degree: int, ranking: str
) -> Mapping[str, jax.Array]:
    """Returns `error` and `accuracy` of every seed and `a`, `[seeds, len(A)]`."""
    return jax.vmap(lambda key: _experiment(key, votes, eps, degree, ranking))(keys)


def _experiment(
    key: jax.Array, votes: jax.Array, eps: jax.Array, degree: int, ranking: str
) -> Mapping[str, jax.Array]:
    ks = jax.random.split(key, 7)
    w = jax.random.normal(ks[0], (FEATURES,)) / np.sqrt(FEATURES)
    x, new = jax.random.normal(ks[1], (2, ITEMS, FEATURES))
    latent = x @ w + NOISE * jax.random.normal(ks[2], (ITEMS,))
    first, second = _pairs(ks[3], degree)
    true = jax.nn.sigmoid(latent[first] - latent[second])
    wins = jax.random.binomial(ks[4], votes, true)
    p = wins / votes
    r = _rankwise(ks[5], ranking, first, second, wins, votes - wins, eps, latent)

    def measure(a):
        t = rs.smooth_targets(p, r, a)
        found = _learn(x, first, second, t)
        i, j = jax.random.randint(ks[6], (2, 4000), 0, ITEMS)
        score, truth = new @ found, new @ w
        right = jnp.sign(score[i] - score[j]) == jnp.sign(truth[i] - truth[j])
        other = i != j
        return {
            "error": jnp.mean((t - true) ** 2),
            "accuracy": jnp.sum(right & other) / jnp.sum(other),
        }

    return jax.vmap(measure)(jnp.array(A))


def _pairs(key: jax.Array, degree: int) -> tuple[jax.Array, jax.Array]:
    """Draws a graph in which every item meets `degree` others, each pair once."""
    order_key, gap_key = jax.random.split(key)
    order = jax.random.permutation(order_key, ITEMS)
    gaps = 1 + jax.random.permutation(gap_key, ITEMS // 2 - 1)[: degree // 2]
    place = jnp.arange(ITEMS)
    other = (place[None] + gaps[:, None]) % ITEMS
    first, second = order[jnp.broadcast_to(place, other.shape)], order[other]
    return first.reshape(-1), second.reshape(-1)


def _rankwise(
    key: jax.Array,
    ranking: str,
    first: jax.Array,
    second: jax.Array,
    wins: jax.Array,
    losses: jax.Array,
    eps: jax.Array,
    latent: jax.Array,
) -> jax.Array:
    """Returns what targets are drawn towards."""
    edges = (ITEMS, first, second)
    match ranking:
        case "uniform":
            return jnp.full(first.shape, 0.5)
        case "oracle":
            return rs.rankwise_probability(latent, first, second)
        case "bradley_terry":
            scores = rs.bradley_terry(*edges, wins + eps, losses + eps)
            return rs.rankwise_probability(scores, first, second)
    scores = jnp.log(rs.rank_centrality(*edges, wins, losses, eps))
    if ranking == "shuffled":
        scores = jax.random.permutation(key, scores)
    return rs.rankwise_probability(scores, first, second)


def _learn(
    x: jax.Array, first: jax.Array, second: jax.Array, t: jax.Array
) -> jax.Array:
    """Returns the weights of a linear scorer after gradient descent on all pairs."""
    gap = x[first] - x[second]
    slope = jax.grad(lambda w: rs.pairwise_loss(gap @ w, t))
    start = jnp.zeros(x.shape[-1])
    return jax.lax.fori_loop(0, _STEPS, lambda _, w: w - _RATE * slope(w), start)


def _lines(rows: Rows) -> list[tuple[str, ...]]:
    lines: list[tuple[str, ...]] = []
    for (k, degree, eps, ranking), found in rows.items():
        error, accuracy = found["error"], found["accuracy"]
        for column, a in enumerate(A):
            ratio = error[:, column] / error[:, 0]
            gain = accuracy[:, column] - accuracy[:, 0]
            lines.append(
                (
                    *(str(k), str(degree), ranking, f"{eps:g}", f"{a:g}"),
                    _spread(error[:, column]),
                    _spread(ratio, 2),
                    _spread(accuracy[:, column], 3),
                    _spread(gain, 3),
                )
            )
    return lines


def _spread(values: np.ndarray, digits: int = 4) -> str:
    deviation = values.std(ddof=1) if len(values) > 1 else 0.0
    return f"{values.mean():.{digits}f} ± {deviation:.{digits}f}"


def _draw(rows: Rows, eps: float, name: str, home: Path) -> Path:
    """Draws a measure over `a`, a panel for each number of votes and degree."""
    panels: dict[str, dict[str, Any]] = {}
    for (k, degree, amount, ranking), found in rows.items():
        if amount == eps:
            votes = "1 vote" if k == 1 else f"{k} votes"
            panel = panels.setdefault(f"{votes}, {degree} partners", {})
            panel[ranking] = (list(A), found[name].mean(0).tolist())
    labels = {
        "error": "squared error of the targets",
        "accuracy": "pairs of new items in order",
    }
    return plots.lines(
        panels, home / f"rank_{name}.png", x_label="a", y_label=labels[name]
    )
