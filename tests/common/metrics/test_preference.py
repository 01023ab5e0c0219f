"""Which of two images people prefer: golden values, ceilings, calibration."""

import math

import numpy as np
import pytest

from common.errors import ConfigError, DataError
from common.metrics import preference as pref


def test_golden_two_alternative_score():
    """Distances d0 and d1, share that prefers the second: one tie."""
    d0, d1 = np.array([0.1, 0.5, 0.3, 0.2]), np.array([0.2, 0.4, 0.3, 0.1])
    share = np.array([0, 1, 0.6, 0.25])
    assert pref.two_alternative_score(d0 - d1, share) == pytest.approx(0.6875)
    assert pref.two_alternative_ceiling(share) == pytest.approx(
        (1 + 1 + 0.6 + 0.75) / 4
    )


def test_nobody_beats_the_majority():
    rng = np.random.default_rng(0)
    share = rng.integers(0, 33, 500) / 32
    ceiling = pref.two_alternative_ceiling(share)
    assert pref.two_alternative_score(share - 0.5, share) == pytest.approx(ceiling)
    guess = rng.normal(size=500)
    assert pref.two_alternative_score(guess, share) < ceiling
    mirrored = pref.two_alternative_score(-guess, 1 - share)
    assert mirrored == pytest.approx(pref.two_alternative_score(guess, share))
    assert pref.two_alternative_score(np.zeros(500), share) == 0.5


def test_majority_accuracy_by_margin():
    gap = np.array([1.0, 1.0, -1.0, 0.0, 2.0])
    share = np.array([0.55, 0.3, 0.1, 0.9, 0.5])
    assert pref.majority_accuracy(gap, share) == pytest.approx(2 / 4)
    found = [pref.majority_accuracy(gap, share, margin) for margin in pref.MARGINS]
    assert found == [1, 0, 0.5]
    assert math.isnan(pref.majority_accuracy([1.0], [0.5]))


def test_cross_entropy_has_its_floor_at_the_labels():
    share = np.array([0, 0.25, 0.5, 1])
    floor = pref.label_entropy(share)
    entropy = -(0.25 * math.log(0.25) + 0.75 * math.log(0.75))
    assert floor == pytest.approx((entropy + math.log(2)) / 4)
    for step in (-0.05, 0.05):
        moved = np.clip(share + step, 1e-6, 1 - 1e-6)
        assert pref.cross_entropy(moved, share) > floor
    assert pref.cross_entropy([0.0], [1.0]) == math.inf
    assert pref.brier([0.2, 0.9], [0.0, 1.0]) == pytest.approx((0.04 + 0.01) / 2)


def test_calibration():
    rng = np.random.default_rng(1)
    p = rng.random(4000)
    assert pref.expected_calibration_error(p, p) == 0
    votes = rng.binomial(32, p) / 32
    assert pref.expected_calibration_error(p, votes) < 0.01
    sure = np.where(p > 0.5, 0.99, 0.01)
    assert pref.expected_calibration_error(sure, votes) == pytest.approx(0.24, abs=0.01)
    # by hand: bins [0, 1/2) and [1/2, 1]
    found = pref.expected_calibration_error([0.1, 0.3, 1.0], [0.0, 1.0, 0.7], bins=2)
    assert found == pytest.approx((abs(0.4 - 1.0) + 0.3) / 3)


@pytest.mark.parametrize(
    ("gap", "share", "message"),
    [
        ([1.0, 2.0], [0.5], r"two \[N\], given \[2\] and \[1\]"),
        ([], [], r"two \[N\], given \[0\]"),
        ([1.0, math.nan], [0.5, 0.5], "gap that is not finite, the first is pair 1"),
        ([1.0], [1.5], r"share that is not in \[0, 1\], the first is pair 0: 1\.5"),
    ],
)
def test_pairs_that_cannot_be(gap, share, message):
    with pytest.raises(DataError, match=message):
        pref.two_alternative_score(gap, share)


def test_probabilities_that_cannot_be():
    with pytest.raises(DataError, match="probability that is not in"):
        pref.brier([1.2], [0.5])
    with pytest.raises(ConfigError, match="at least one bin"):
        pref.expected_calibration_error([0.5], [0.5], bins=0)
