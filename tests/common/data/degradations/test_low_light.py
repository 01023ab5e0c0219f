"""Gain, tone curve and noise of low light, each alone."""

import numpy as np
import pytest
from skimage import data

from common.data.degradations.low_light import LowLight
from common.data.degradations.srgb import to_linear, to_srgb

QUIET = {"photons": 1e7, "read_noise": 0.0}


def test_gain_scales_light_and_gamma_the_stored_values():
    clean = data.astronaut()[:64, 100:164].astype(np.float32) / 255
    dark = LowLight(gain=0.1, gamma=1.0, **QUIET)(clean, np.random.default_rng(0))
    np.testing.assert_allclose(to_linear(dark), to_linear(clean) * 0.1, atol=1e-3)
    curved = LowLight(gain=0.1, gamma=1.3, **QUIET)(clean, np.random.default_rng(0))
    np.testing.assert_allclose(curved, dark**1.3, atol=1e-6)
    same = LowLight(gain=1, gamma=1.0, **QUIET)(clean, np.random.default_rng(0))
    np.testing.assert_allclose(same, clean, atol=0.01)


def test_noise_is_that_of_the_photons_left():
    clean = to_srgb(np.full((200, 200, 3), 0.5, np.float32))
    low = LowLight(gain=0.2, gamma=1.0, photons=5000, read_noise=10)
    light = to_linear(low(clean, np.random.default_rng(0)))
    assert light.mean() == pytest.approx(0.1, rel=0.01)
    # 500 photons are left of 2500.
    assert light.var() == pytest.approx((500 + 10**2) / 5000**2, rel=0.03)


def test_a_sensor_is_not_below_black_nor_above_white():
    low = LowLight(gain=1, gamma=1.3, photons=10, read_noise=20)
    for level in (0.0, 1.0):
        clean = np.full((50, 50, 3), level, np.float32)
        result = low(clean, np.random.default_rng(0))
        assert result.min() == 0
        assert result.max() == pytest.approx(1)
