"""Rain adds light, in streaks of the stated shape and number."""

import numpy as np
import pytest
from skimage import data

from common.data.degradations import rain

FIXED = {"length": 20.0, "width": 2.0, "angle": 15.0, "intensity": 0.3}


@pytest.mark.parametrize(("length", "width", "angle"), [(30, 2, 20), (15, 4, -50)])
def test_a_streak_has_its_length_width_and_angle(length, width, angle):
    streak = rain.streak(length, width, angle).astype(np.float64)
    assert streak.max() == pytest.approx(1, abs=0.01)
    # The middle line: flat, and half as bright half a width to the side.
    reach = len(streak) // 2
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    assert streak.sum() == pytest.approx(length * width * 1.0645, rel=0.01)
    variances, axes = np.linalg.eigh(np.cov(np.stack([x.ravel(), y.ravel()]),
                                            aweights=streak.ravel()))  # fmt: skip
    sigma = width / 2.3548
    assert variances[0] == pytest.approx(sigma**2, rel=0.03)
    assert variances[1] == pytest.approx(length**2 / 12 + sigma**2, rel=0.03)
    # Measured from the vertical; y points down, so the lower end is to the right.
    found = np.degrees(np.arctan2(axes[0, 1], axes[1, 1]))
    assert abs((found - angle + 90) % 180 - 90) < 1


def test_rain_adds_light_and_nothing_else():
    clean = data.astronaut()[:150, 100:260].astype(np.float32) / 255
    for seed in range(3):
        result = rain.Rain(density=8000.0)(clean, np.random.default_rng(seed))
        assert np.all(result >= clean)
        assert result.max() <= 1
        assert np.mean(result > clean + 0.02) > 0.02
    none = rain.Rain(density=0)(clean, np.random.default_rng(0))
    np.testing.assert_allclose(none, clean, atol=1e-6)


def test_streaks_have_the_stated_direction_in_the_picture():
    black = np.zeros((200, 200, 3), np.float32)
    fixed = {**FIXED, "angle": 45.0, "density": 3000.0}
    picture = rain.Rain(**fixed)(black, np.random.default_rng(0))[..., 0]
    along = np.mean(picture[4:, 4:] * picture[:-4, :-4])  # down and to the right
    across = np.mean(picture[4:, :-4] * picture[:-4, 4:])
    assert along > 2 * across


def test_light_is_as_much_as_streaks_bring():
    """The mean of the layer: number x area x brightness, summed over distances."""
    density, share = 4000.0, 1 + 1.6**2 + 2.6**2
    expected = 0.0
    for distance in (1.0, 1.6, 2.6):
        drops = density / 1e6 * distance**2 / share
        area = rain.streak(20 / distance, max(2 / distance, 0.5), 0).sum()
        expected += drops * area * 0.7 * 0.3 / distance
    layers = [
        rain.Rain(density=density, **FIXED).layer(200, 300, np.random.default_rng(s))
        for s in range(10)
    ]
    assert np.mean(layers) == pytest.approx(expected, rel=0.1)
    # Streaks also reach in from outside: borders are as wet as the middle.
    border = np.mean([np.concatenate([x[:8], x[-8:]]) for x in layers])
    assert border == pytest.approx(expected, rel=0.25)
