"""Rank aggregation and smoothed targets against known numbers and invariants."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from common.errors import ConfigError
from iqa import comparisons
from iqa import rank_smoothing as rs

GOLDEN = json.loads(Path("tests/golden/rank_smoothed.json").read_text())
VOTES = np.array(GOLDEN["votes"], float)
FIRST, SECOND = VOTES[:, 0].astype(int), VOTES[:, 1].astype(int)
P = VOTES[:, 2] / (VOTES[:, 2] + VOTES[:, 3])


@pytest.fixture(autouse=True)
def double_precision():
    with jax.enable_x64(True):
        yield


def edges(votes=VOTES, size=5):
    c = comparisons.from_votes(*np.asarray(votes, float).T, size)
    return size, c.first, c.second, c.first_wins, c.second_wins


def close(found, expected, atol=1e-7):
    np.testing.assert_allclose(found, expected, atol=atol, rtol=0)


def matrix(size, first, second, a, b, eps=0.0):
    """The chain as a matrix, row by row."""
    source, goal, rates = rs.transition_rates(size, first, second, a, b, eps)
    found = np.zeros((size, size))
    np.add.at(found, (np.asarray(source), np.asarray(goal)), np.asarray(rates))
    return found + np.diag(1 - found.sum(1))


def random_edges(size=30, pairs=120, seed=0):
    rng = np.random.default_rng(seed)
    i = rng.integers(size, size=pairs)
    j = (i + rng.integers(1, size, size=pairs)) % size
    return np.stack([i, j, *rng.integers(1, 9, (2, pairs))], 1).astype(float)


def test_the_chain():
    close(matrix(*edges()), GOLDEN["transition"], 1e-8)


@pytest.mark.parametrize("eps", ["0", "1"])
def test_rank_centrality(eps):
    pi = rs.rank_centrality(*edges(), eps=float(eps))
    close(pi, GOLDEN["pi"][eps])
    assert np.abs(pi - np.array(GOLDEN["wrong_direction"])).max() > 0.2


@pytest.mark.parametrize("eps", ["0.5", "1"])
def test_an_undefeated_item(eps):
    votes = VOTES.copy()
    votes[:2, 3] = 0
    close(
        rs.rank_centrality(*edges(votes), eps=float(eps)),
        GOLDEN["undefeated"][eps],
        1e-6,
    )
    close(rs.rank_centrality(*edges(votes), eps=0.0), [1, 0, 0, 0, 0], 1e-6)


def test_exact_probabilities_give_their_scores_back():
    pi = np.array([0.4, 0.3, 0.2, 0.1])
    i, j = np.triu_indices(4, 1)
    c = comparisons.from_probabilities(i, j, pi[i] / (pi[i] + pi[j]))
    args = (4, c.first, c.second, c.first_wins, c.second_wins)
    close(rs.rank_centrality(*args, eps=0.0), pi, 1e-9)
    expected = np.log(pi) - np.log(pi).mean()
    close(rs.bradley_terry(*args), expected, 1e-8)
    close(rs.bradley_terry(*args, method="newton"), expected, 1e-10)


def test_it_is_the_eigenvector():
    args = edges(random_edges(), 30)
    chain = matrix(*args, eps=1.0)
    values, vectors = np.linalg.eig(chain.T)
    expected = np.real(vectors[:, np.argmax(np.real(values))])
    close(rs.rank_centrality(*args), expected / expected.sum(), 1e-9)


def test_bradley_terry():
    for method in ("mm", "newton"):
        close(rs.bradley_terry(*edges(), method=method), GOLDEN["bradley_terry"])
    close(
        rs.bradley_terry(*edges(), l2=0.1, method="newton"), GOLDEN["bradley_terry_l2"]
    )
    args = edges(random_edges(seed=1), 30)
    mm, newton = (rs.bradley_terry(*args, method=m) for m in ("mm", "newton"))
    close(mm, newton, 1e-6)


def test_newton_is_stationary_where_items_never_lost():
    votes = [[0, 1, 5, 0], [1, 2, 3, 1], [0, 2, 4, 0]]
    args = edges(votes, 3)
    theta = rs.bradley_terry(*args, l2=0.05, method="newton")
    assert np.all(np.diff(theta) < 0)

    def objective(theta):
        d = theta[args[1]] - theta[args[2]]
        losses = (args[3] + args[4]) * jax.nn.softplus(d) - args[3] * d
        return losses.sum() + 0.05 * (theta**2).sum()

    close(jax.grad(objective)(theta), 0, 1e-9)


@pytest.mark.parametrize("aggregate", [rs.rank_centrality, rs.bradley_terry])
def test_names_and_order_do_not_matter(aggregate):
    votes = random_edges(seed=2)
    scores = aggregate(*edges(votes, 30))
    rng = np.random.default_rng(0)
    new = rng.permutation(30)
    moved = votes[rng.permutation(len(votes))]
    moved[:, :2] = new[moved[:, :2].astype(int)]
    half = len(moved) // 2
    moved[:half] = moved[:half][:, [1, 0, 3, 2]]
    close(aggregate(*edges(moved, 30))[new], scores, 1e-7)


@pytest.mark.parametrize("aggregate", [rs.rank_centrality, rs.bradley_terry])
def test_another_victory_is_no_disadvantage(aggregate):
    votes = random_edges(seed=3)
    before = aggregate(*edges(votes, 30))
    votes[7, 2] += 3
    after = aggregate(*edges(votes, 30))
    winner, loser = votes[7, :2].astype(int)
    assert after[winner] > before[winner]
    assert after[loser] < before[loser]


def test_components_do_not_touch_each_other():
    other = VOTES[:3] + np.array([5, 5, 0, 0])
    both = rs.rank_centrality(*edges(np.concatenate([VOTES, other]), 9))
    close(both[:5].sum(), 5 / 9, 1e-9)
    alone = rs.rank_centrality(*edges())
    close(both[:5] / both[:5].sum(), alone, 1e-6)
    c = comparisons.from_votes(*np.concatenate([VOTES, other]).T, 9)
    groups = comparisons.components(c)
    r = rs.rankwise_probability(
        jnp.log(both), jnp.array([0, 0]), jnp.array([1, 5]), groups
    )
    assert np.isfinite(r[0])
    assert np.isnan(r[1])
    close(rs.smooth_targets(jnp.array([0.9, 0.9]), r, 0.5)[1], 0.9, 0)


def test_many_at_once():
    """Resamples of the votes, mapped over, are those one by one."""
    size, first, second, a, b = edges()
    drawn = np.random.default_rng(0).integers(1, 6, (3, 2, len(first))).astype(float)
    mapped = jax.jit(
        jax.vmap(lambda a, b: rs.rank_centrality(size, first, second, a, b))
    )
    found = mapped(drawn[:, 0], drawn[:, 1])
    for row, (a, b) in zip(found, drawn, strict=True):
        close(row, rs.rank_centrality(size, first, second, a, b), 1e-9)


def test_single_precision_ends():
    size, first, second, a, b = edges()
    pi = rs.rank_centrality(size, first, second, a.astype("f4"), b.astype("f4"))
    assert pi.dtype == jnp.float32
    close(pi, GOLDEN["pi"]["1"], 2e-5)


def test_rankwise_probabilities():
    log_scores = jnp.log(rs.rank_centrality(*edges(), eps=0.0))
    for pair, expected in GOLDEN["rankwise"].items():
        i, j = (jnp.array([int(n)]) for n in pair.split(","))
        close(rs.rankwise_probability(log_scores, i, j), expected)
        close(rs.rankwise_probability(log_scores, j, i), 1 - expected)
    ends = jnp.array([0.0, -1.0, -100.0, -jnp.inf, -jnp.inf])
    i, j = jnp.array([0, 0, 3, 1]), jnp.array([2, 3, 4, 1])
    close(rs.rankwise_probability(ends, i, j), [*[1 / (1 + np.exp(-8))] * 2, 0.5, 0.5])
    close(rs.rankwise_probability(ends, i, j, hard=True), [1, 1, 0.5, 0.5])
    tempered = rs.rankwise_probability(ends, i[:1], jnp.array([1]), temperature=2.0)
    close(tempered, 1 / (1 + np.exp(-0.5)))


def golden_rankwise():
    log_scores = jnp.log(rs.rank_centrality(*edges(), eps=0.0))
    return rs.rankwise_probability(log_scores, FIRST, SECOND)


def test_smoothed_targets_and_their_loss():
    p, r, s = jnp.array(P), golden_rankwise(), jnp.array(GOLDEN["scores"])
    t = rs.smooth_targets(p, r, 0.3)
    close(t, GOLDEN["targets"])
    close(rs.smooth_targets(p, r, lam=3 / 7), t, 1e-12)
    d = s[FIRST] - s[SECOND]
    close(jax.nn.sigmoid(d), GOLDEN["q"])
    for name, targets in (("p", p), ("r", r), ("t", t)):
        close(rs.pairwise_loss(d, targets), GOLDEN["cross_entropy"][name], 1e-9)
    votes = VOTES[:, 2] + VOTES[:, 3]
    close(rs.pairwise_loss(d, t, votes), GOLDEN["cross_entropy"]["t_by_votes"], 1e-9)

    def loss(s):
        return rs.pairwise_loss(s[FIRST] - s[SECOND], t)

    gradient = jax.grad(loss)(s)
    close(gradient, GOLDEN["gradient"], 1e-8)
    assert abs(gradient.sum()) < 1e-15


def test_without_smoothing_nothing_changes():
    p, r = jnp.array(P), golden_rankwise()
    for found in (
        rs.smooth_targets(p, r, 0.0),
        rs.smooth_targets(p, r, lam=0.0),
        rs.smooth_targets(p, jnp.full_like(p, jnp.nan), 0.7),
    ):
        np.testing.assert_array_equal(found, p)
    np.testing.assert_allclose(rs.smooth_targets(p, r, 1.0), r, rtol=1e-15)
    adaptive = rs.smooth_targets(
        p, r, pseudo_votes=4.0, votes=VOTES[:, 2] + VOTES[:, 3]
    )
    a = 4 / (4 + VOTES[:, 2] + VOTES[:, 3])
    close(adaptive, (1 - a) * p + a * r, 1e-12)


def test_losses_are_stable_and_symmetric():
    d, t = jnp.array([-800.0, 0.0, 800.0, 3.0]), jnp.array([0.0, 0.5, 1.0, 0.2])
    found = rs.pairwise_losses(d, t)
    close(found[:3], [0, np.log(2), 0], 1e-12)
    np.testing.assert_allclose(rs.pairwise_losses(-d, 1 - t), found, atol=1e-12)
    assert float(rs.pairwise_losses(800.0, 0.0)) == 800


def test_known_values_of_the_loss():
    """Of the specification of the metric for compression, 5.4."""
    d, t = np.array([0.0, 1.0, -2.0, 3.0]), np.array([0.5, 0.75, 0.25, 1.0])
    close(rs.pairwise_losses(d, t), [0.693147, 0.563262, 0.626928, 0.048587], 1e-6)


def test_plackett_luce_of_two_is_the_pairwise_loss():
    scores, order = jnp.array([0.3, -0.2]), jnp.array([1.0, 2.0])
    found = rs.plackett_luce_loss(scores, order)
    close(found, rs.pairwise_losses(scores[1] - scores[0], 1.0), 1e-12)
    s = np.array([0.1, 1.0, -0.4, 0.7])
    ranking = [3, 0, 1, 2]
    by_hand = sum(
        np.log(np.exp(s[ranking[k:]]).sum()) - s[ranking[k]] for k in range(4)
    )
    log_scores = jnp.array([-1.0, -2.0, -3.0, 0.0])
    close(rs.plackett_luce_loss(jnp.array(s), log_scores), by_hand, 1e-12)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "exactly one of a, lam and pseudo_votes, given none"),
        ({"a": 0.5, "lam": 1.0}, "given \\['a', 'lam'\\]"),
        ({"a": 1.5}, r"a=1.5 must be in \[0, 1\]"),
        ({"lam": -1.0}, "lam=-1.0 must be at least 0"),
        ({"pseudo_votes": 2.0}, "needs votes"),
    ],
)
def test_targets_that_cannot_be(fields, message):
    with pytest.raises(ConfigError, match=message):
        rs.smooth_targets(jnp.array([0.5]), jnp.array([0.5]), **fields)


def test_methods_that_cannot_be():
    with pytest.raises(ConfigError, match="mm or newton, given 'lbfgs'"):
        rs.bradley_terry(*edges(), method="lbfgs")
    with pytest.raises(ConfigError, match="l2 needs method='newton'"):
        rs.bradley_terry(*edges(), l2=0.1)
