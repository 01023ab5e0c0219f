"""Votes on pairs: added up, checked, and what their graph is like."""

import math

import numpy as np
import pytest

from common.errors import DataError
from iqa import comparisons as comp


def test_pairs_are_added_up_whichever_comes_first():
    c = comp.from_votes([2, 0, 0, 1], [0, 2, 1, 0], [3, 1, 0.5, 2], [1, 0, 0.5, 0])
    assert c.num_items == 3
    np.testing.assert_array_equal(c.first, [0, 0])
    np.testing.assert_array_equal(c.second, [1, 2])
    np.testing.assert_array_equal(c.first_wins, [0.5, 2])
    np.testing.assert_array_equal(c.second_wins, [2.5, 3])
    np.testing.assert_allclose(c.share, [1 / 6, 0.4])
    winners = comp.from_winners([[0, 1], [0, 1], [2, 1]])
    np.testing.assert_array_equal(winners.first_wins, [2, 0])
    np.testing.assert_array_equal(winners.second_wins, [0, 1])
    shares = comp.from_probabilities([0, 1], [1, 2], [0.25, 1.0], [4, 8])
    np.testing.assert_array_equal(shares.first_wins, [1, 8])
    np.testing.assert_array_equal(shares.second_wins, [3, 0])


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (
            [[0, 1, 1, 1], [2, 2, 1, 0]],
            r"1 rows have an item compared with itself, row 1",
        ),
        ([[0, 5, 1, 1]], r"not in \[0, 3\), row 0 first: \(0, 5, 1, 1\)"),
        ([[0, -1, 1, 1]], r"not in \[0, 3\)"),
        ([[0, 0.5, 1, 1]], r"not in \[0, 3\)"),
        ([[0, 1, -1, 1]], "negative or not finite"),
        ([[0, 1, math.nan, 1]], "negative or not finite"),
        ([[0, 1, 0, 0]], "no vote at all"),
        (np.zeros((0, 4)), "with rows"),
    ],
)
def test_rows_that_cannot_be(rows, message):
    with pytest.raises(DataError, match=message):
        comp.from_votes(*np.array(rows, float).T, 3)


def test_shares_and_winners_that_cannot_be():
    with pytest.raises(DataError, match=r"not in \[0, 1\], row 1 first: 1\.5"):
        comp.from_probabilities([0, 0], [1, 2], [0.5, 1.5])
    with pytest.raises(DataError, match=r"\[M, 2\], given \[3\]"):
        comp.from_winners([1, 2, 3])


def test_report_names_what_a_ranking_cannot_rest_on():
    votes = [[0, 1, 3, 0], [1, 2, 1, 1], [3, 4, 2, 0]]
    c = comp.from_votes(*np.array(votes, float).T, 6)
    found = comp.report(c)
    assert found.num_components == 3
    assert (found.largest_component, found.uncompared) == (3, 1)
    assert (found.undefeated, found.winless) == ((0, 3), (4,))
    assert found.num_strong_components == 5  # {1, 2} and each of the others
    text = "\n".join(found.lines())
    assert "6 items, 3 pairs, 7 votes" in text
    assert "3 components, the largest of 3 items, 1 items never compared" in text
    assert "2 items never lost (0, 3), 1 never won (4)" in text
    fine = comp.report(comp.from_votes([0, 1], [1, 2], [1, 1], [1, 1]))
    assert len(fine.lines()) == 1


def test_intransitivity():
    p = np.array([0.8, 0.8, 0.2, 0.5])
    assert comp.intransitivity(p, p) == comp.Intransitivity(0.0, 0.0)
    found = comp.intransitivity(p, np.array([0.8, 0.8, 0.8, np.nan]))
    assert found.disagreement == pytest.approx(1 / 3)
    gap = 0.2 * math.log(0.2 / 0.8) + 0.8 * math.log(0.8 / 0.2)
    assert found.divergence == pytest.approx(gap / 3)
    sure = comp.intransitivity(np.array([1.0, 0.0]), np.array([0.5, 0.5]))
    assert sure.divergence == pytest.approx(math.log(2))


def test_histograms_of_two_pictures():
    h, g = [0, 1, 2, 5, 20, 40, 25, 5, 1, 1], [1, 2, 8, 20, 35, 20, 8, 4, 1, 1]
    assert comp.histogram_preference(h, g) == pytest.approx(0.7059, abs=1e-12)
    assert comp.histogram_preference(g, h) == pytest.approx(1 - 0.7059, abs=1e-12)
    assert comp.histogram_preference(h, h) == pytest.approx(0.5)
    with pytest.raises(DataError, match="no histogram of votes"):
        comp.histogram_preference([0, 0], [1, 1])
    with pytest.raises(DataError, match=r"two \[K\]"):
        comp.histogram_preference([1, 1], [1, 1, 1])
