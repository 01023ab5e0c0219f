"""Agreement with people's scores: equal to SciPy, right with ties, honest intervals."""

import math

import numpy as np
import pytest
from scipy import stats

from common.errors import ConfigError, DataError
from common.metrics import correlation as corr


@pytest.mark.parametrize("ties", [False, True])
def test_coefficients_are_those_of_scipy(ties):
    rng = np.random.default_rng(0)
    x = rng.normal(size=200)
    y = x + rng.normal(size=200)
    if ties:
        x, y = np.rint(2 * x), np.rint(2 * y)
    assert corr.plcc(x, y) == pytest.approx(np.corrcoef(x, y)[0, 1], abs=1e-12)
    ranks = np.corrcoef(stats.rankdata(x), stats.rankdata(y))[0, 1]
    assert corr.srcc(x, y) == pytest.approx(ranks, abs=1e-12)
    assert corr.krcc(x, y) == pytest.approx(tau_b(x, y), abs=1e-12)


def tau_b(x, y):
    """Kendall's definition, pair by pair."""
    first, second = np.triu_indices(len(x), 1)
    a, b = np.sign(x[first] - x[second]), np.sign(y[first] - y[second])
    return np.sum(a * b) / math.sqrt(np.sum(a != 0) * np.sum(b != 0))


def test_ranks_know_no_scale_and_a_logistic_fit_takes_it_away():
    x = np.linspace(-3, 3, 60)
    y = 2 + 5 / (1 + np.exp(-3 * (x - 0.4)))
    assert corr.srcc(x, y) == pytest.approx(1)
    assert corr.krcc(x, -y) == pytest.approx(-1)
    assert corr.plcc(x, y) < 0.97
    assert corr.plcc(x, y, logistic=True) == pytest.approx(1, abs=1e-6)
    assert corr.plcc(x, 9 - y, logistic=True) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("coefficient", [corr.plcc, corr.srcc, corr.krcc])
def test_nothing_to_correlate(coefficient):
    assert math.isnan(coefficient([1.0, 1.0, 1.0], [1.0, 2.0, 3.0]))
    assert math.isnan(coefficient([1.0], [1.0]))
    with pytest.raises(DataError, match=r"two \[N\], given \[2\] and \[3\]"):
        coefficient([1, 2], [1, 2, 3])
    with pytest.raises(DataError, match=r"1 values are not finite.* target 1: nan"):
        coefficient([1, 2, 3], [1, math.nan, 3])


def test_intervals_are_of_clusters():
    """Twenty copies of each value make the naive interval too small."""
    rng = np.random.default_rng(1)
    values = np.repeat(rng.normal(size=30), 20)
    clusters = np.repeat([f"r{i}" for i in range(30)], 20)
    low, high = corr.cluster_bootstrap(np.mean, [values], clusters, seed=3)
    rows = corr.cluster_bootstrap(np.mean, [values], np.arange(600), seed=3)
    error = values[::20].std() / math.sqrt(30)
    assert high - low == pytest.approx(2 * 1.96 * error, rel=0.1)
    assert rows[1] - rows[0] == pytest.approx((high - low) / math.sqrt(20), rel=0.15)
    assert low < values.mean() < high
    again = corr.cluster_bootstrap(np.mean, [values], clusters, seed=3)
    assert again == (low, high)


def test_a_paired_difference_is_narrower():
    rng = np.random.default_rng(2)
    shared = rng.normal(size=100)
    a, b = shared + 0.1, shared + 0.01 * rng.normal(size=100)
    low, high = corr.cluster_bootstrap(
        lambda a, b: a.mean() - b.mean(), [a, b], np.arange(100)
    )
    assert 0.09 < low < high < 0.11


def test_bootstraps_that_cannot_be():
    with pytest.raises(DataError, match=r"3 clusters given, arrays of \[2\]"):
        corr.cluster_bootstrap(np.mean, [[1, 2]], [0, 1, 2])
    with pytest.raises(ConfigError, match="resamples of at least 1"):
        corr.cluster_bootstrap(np.mean, [[1, 2]], [0, 1], resamples=0)
    found = corr.cluster_bootstrap(lambda x: math.nan, [[1, 2]], [0, 1], resamples=5)
    assert np.isnan(found).all()
