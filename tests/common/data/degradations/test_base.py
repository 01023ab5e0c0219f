"""Ranges are checked where they are given and drawn from the generator given."""

import numpy as np
import pytest

from common.data.degradations import base, filters, srgb
from common.data.degradations.noise import GaussianNoise
from common.errors import ConfigError


def test_draws_lie_in_the_range_and_follow_the_seed():
    rng = np.random.default_rng(0)
    drawn = [base.draw((2, 6), rng) for _ in range(2000)]
    assert min(drawn) >= 2
    assert max(drawn) <= 6
    assert np.mean(drawn) == pytest.approx(4, abs=0.1)
    rng = np.random.default_rng(0)
    # The median of log-uniform is the geometric mean.
    drawn = [base.draw((1, 100), rng, log=True) for _ in range(2000)]
    assert np.median(drawn) == pytest.approx(10, rel=0.15)
    assert base.draw((1, 5), np.random.default_rng(3)) == base.draw(
        [1, 5], np.random.default_rng(3)
    )


def test_a_fixed_value_draws_nothing():
    rng = np.random.default_rng(0)
    assert base.draw(3, rng) == base.draw((3, 3), rng, log=True) == 3
    assert rng.random() == np.random.default_rng(0).random()


@pytest.mark.parametrize(
    "sigma",
    [-1, 256, (10, 5), (1, 2, 3), (1,), "25", True, float("nan"), (0, None), None],
)
def test_what_is_no_range_is_refused(sigma):
    with pytest.raises(ConfigError, match=r"GaussianNoise.sigma=.*\[0, 255\]"):
        GaussianNoise(sigma)


@pytest.mark.parametrize("sigma", [0, 255, (0, 255), [5, 50], np.float64(3), (2, 2)])
def test_what_is_a_range_is_taken(sigma):
    GaussianNoise(sigma)


def test_srgb_is_the_standard_curve():
    # IEC 61966-2-1: middle grey, the knee, the ends.
    stored = np.array([0, 0.04045, 0.5, 188 / 255, 1], np.float32)
    linear = srgb.to_linear(stored)
    assert linear.dtype == np.float32
    np.testing.assert_allclose(
        linear, [0, 0.0031308, 0.2140411, 0.5028865, 1], atol=1e-6
    )
    values = np.linspace(-0.5, 1.5, 1001, dtype=np.float32)
    back = srgb.to_srgb(srgb.to_linear(values))
    np.testing.assert_allclose(back, values, atol=1e-6)
    assert np.all(np.diff(srgb.to_linear(values)) > 0)


def test_convolution_does_not_turn_the_kernel():
    image = np.zeros((9, 9), np.float32)
    image[4, 4] = 1
    kernel = np.arange(15, dtype=np.float32).reshape(3, 5)
    result = filters.convolve(image, kernel)
    np.testing.assert_array_equal(result[3:6, 2:7], kernel)
    assert result.sum() == kernel.sum()
