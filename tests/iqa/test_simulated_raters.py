"""Raters who do not exist: what they see, and how they vote."""

import numpy as np
import pytest
from PIL import Image
from skimage import data

from common.data import decode
from iqa import jpeg_pairs, simulated_raters


@pytest.fixture(scope="module")
def tile():
    return data.coffee()[100:276, 150:326]


def test_coarser_files_are_worth_less(tile):
    worth = [
        simulated_raters.worth(
            tile,
            np.asarray(decode.decode(jpeg_pairs.encode(Image.fromarray(tile), q))),
        )
        for q in (100, 80, 50, 25, 10)
    ]
    assert simulated_raters.worth(tile, tile) == 0
    assert worth[0] < 0
    assert sorted(worth, reverse=True) == worth


def test_busy_surroundings_hide_an_error():
    rng = np.random.default_rng(0)
    flat = np.full((64, 64, 3), 128, np.uint8)
    busy = np.clip(128 + 40 * rng.standard_normal((64, 64, 1)), 20, 235)
    busy = np.repeat(busy, 3, 2).astype(np.uint8)
    bump = np.zeros((64, 64, 3), np.uint8)
    bump[28:36, 28:36] = 12
    seen, hidden = (simulated_raters.worth(x, x + bump) for x in (flat, busy))
    assert seen < 2 * hidden < 0


def test_votes():
    # Phi(1 / sqrt(2)) is 0.7602; two votes in a hundred are thrown blindly.
    assert simulated_raters.probability(1.0) == pytest.approx(
        0.98 * 0.760250 + 0.01, abs=1e-6
    )
    assert simulated_raters.probability(0.0) == 0.5
    assert simulated_raters.probability(50.0) == pytest.approx(0.99)
    both = simulated_raters.probability(0.7) + simulated_raters.probability(-0.7)
    assert both == pytest.approx(1)
    rng = np.random.default_rng(0)
    shares = [simulated_raters.preference(1.0, rng) for _ in range(2000)]
    assert np.mean(shares) == pytest.approx(0.755, abs=0.006)
    # A binomial share of 32.
    assert np.std(shares) == pytest.approx(np.sqrt(0.755 * 0.245 / 32), rel=0.06)
    assert all(share * 32 == round(share * 32) for share in shares)
