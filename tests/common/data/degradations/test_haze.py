"""Haze obeys Koschmieder's law, and its depth is the stated ramp."""

import numpy as np
import pytest
from skimage import data

from common.data.degradations.haze import Haze
from common.data.degradations.srgb import to_linear, to_srgb


def test_haze_is_undone_with_the_true_transmission_and_airlight():
    clean = data.astronaut()[:120, 100:260].astype(np.float32) / 255
    haze = Haze()
    for seed in range(3):
        hazy = to_linear(haze(clean, np.random.default_rng(seed)))
        transmission, airlight = haze.air(120, 160, np.random.default_rng(seed))
        air = to_linear(np.full(1, airlight))
        t = transmission[:, :, None]
        restored = to_srgb((hazy - air * (1 - t)) / t)
        np.testing.assert_allclose(restored, clean, atol=2e-4)
        assert 0.01 < t.min() < t.max() < 0.99
        assert 0.75 <= airlight <= 0.98


def test_depth_is_the_stated_ramp():
    fixed = {"beta": 0.02, "near": 5.0, "far": 65.0, "variation": 0.0}
    transmission, _ = Haze(**fixed, tilt=0.0).air(101, 50, np.random.default_rng(0))
    depth = -np.log(transmission) / 0.02
    np.testing.assert_allclose(depth[-1], 5, rtol=1e-4)
    np.testing.assert_allclose(depth[50], 35, rtol=1e-4)
    np.testing.assert_allclose(depth[0], 65, rtol=1e-4)
    # Tilted, the far corner is as far: top right for a positive angle.
    transmission, _ = Haze(**fixed, tilt=30.0).air(101, 50, np.random.default_rng(0))
    depth = -np.log(transmission) / 0.02
    assert depth[0, -1] == depth.max() == pytest.approx(65, rel=1e-4)
    assert depth[-1, 0] == depth.min() == pytest.approx(5, rel=1e-4)


def test_variation_is_smooth_and_bounded():
    fixed = {"beta": 0.02, "near": 50.0, "far": 50.0, "tilt": 0.0}
    transmission, _ = Haze(**fixed, variation=0.4).air(
        128, 96, np.random.default_rng(0)
    )
    depth = -np.log(transmission) / 0.02
    assert 29.9 < depth.min() < 45
    assert 55 < depth.max() < 70.1
    assert np.abs(np.diff(depth, axis=0)).max() < 3


def test_limits_of_the_air():
    clean = data.astronaut()[:32, 100:132].astype(np.float32) / 255
    clear = Haze(beta=0)(clean, np.random.default_rng(0))
    np.testing.assert_allclose(clear, clean, atol=1e-6)
    wall = Haze(beta=1, near=1000, far=1000, airlight=0.8)
    np.testing.assert_allclose(wall(clean, np.random.default_rng(0)), 0.8, atol=1e-6)
