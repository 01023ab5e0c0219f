"""Rankings of checked comparisons, and the study of smoothing them."""

import numpy as np
import pytest

from common.errors import ConfigError
from iqa import comparisons, rank_study, ranking


def random_votes(size=40, pairs=300, seed=0):
    rng = np.random.default_rng(seed)
    scores = rng.normal(size=size)
    i = rng.integers(size, size=pairs)
    j = (i + rng.integers(1, size, size=pairs)) % size
    wins = rng.binomial(9, 1 / (1 + np.exp(scores[j] - scores[i])))
    return comparisons.from_votes(i, j, wins, 9 - wins, size), scores


@pytest.mark.parametrize("method", ranking.METHODS)
def test_every_method_finds_the_order(method):
    votes, scores = random_votes()
    found = ranking.rank(votes, method, l2=0.01 * method.endswith("newton"))
    assert np.corrcoef(found.log_scores, scores)[0, 1] > 0.9
    assert found.log_scores.dtype == np.float64
    assert abs(found.log_scores.mean()) < 1e-9
    p = found.probability(votes.first, votes.second)
    assert comparisons.intransitivity(votes.share, p).disagreement < 0.2


def test_what_the_graph_lacks_is_said(caplog):
    votes = comparisons.from_votes([0, 1, 3], [1, 2, 4], [3, 2, 5], [0, 1, 0], 6)
    found = ranking.rank(votes)
    assert "3 components" in caplog.text
    assert "2 items never lost (0, 3)" in caplog.text
    assert np.isfinite(found.log_scores).all()
    for group in range(3):
        members = found.log_scores[found.components == group]
        assert abs(members.mean()) < 1e-9
    assert np.isnan(found.probability(np.array([0]), np.array([3])))[0]


def test_mistakes():
    votes, _ = random_votes()
    with pytest.raises(ConfigError, match="did you mean 'rank_centrality'"):
        ranking.rank(votes, "rank_centralty")
    with pytest.raises(ConfigError, match="eps=-1"):
        ranking.rank(votes, eps=-1)
    with pytest.raises(ConfigError, match="needs --workdir"):
        rank_study.run(None)


@pytest.mark.slow
def test_study(tmp_path, monkeypatch):
    monkeypatch.setattr(
        rank_study, "RANKINGS", ("rank_centrality", "uniform", "oracle")
    )
    text = rank_study.study(tmp_path, (3,), (10,), (0.5,), seeds=3)
    lines = (tmp_path / "rank_study.csv").read_text().splitlines()
    header, *rows = (line.split(",") for line in lines)
    column = {name: header.index(name) for name in header}

    def ratio(name, a):
        (row,) = (r for r in rows if r[2] == name and r[column["a"]] == a)
        return float(row[column["of a = 0"]].split(" ")[0])

    assert ratio("rank_centrality", "0") == 1
    assert ratio("rank_centrality", "0.5") <= 0.5
    assert ratio("oracle", "1") == 0
    assert (
        ratio("oracle", "0.5")
        < ratio("rank_centrality", "0.5")
        < ratio("uniform", "0.5")
    )
    for name in ("rank_error.png", "rank_accuracy.png"):
        assert (tmp_path / name).stat().st_size > 5000
        assert name in text
