"""Mean and variance of noise against its formula."""

import numpy as np
import pytest

from common.data.degradations.noise import GaussianNoise, PoissonNoise
from common.data.degradations.srgb import to_linear, to_srgb


def flat(linear, side=200):
    """An image of one stored grey whose light is `linear`."""
    return to_srgb(np.full((side, side, 3), linear, np.float32))


def test_gaussian_noise_has_its_deviation_at_every_brightness():
    for level in (0.0, 0.5, 1.0):
        clean = np.full((200, 200, 3), level, np.float32)
        noise = GaussianNoise(25.0)(clean, np.random.default_rng(0)) - level
        # Not clipped: also at black and white the mean is zero. Four deviations.
        assert abs(noise.mean()) < 4 * 25 / 255 / noise.size**0.5
        assert noise.std() * 255 == pytest.approx(25, rel=0.01)
    # White: neither neighbours nor channels have anything in common.
    assert abs(np.mean(noise[:, 1:] * noise[:, :-1])) < 0.02 * noise.var()
    assert abs(np.mean(noise[..., 0] * noise[..., 1])) < 0.02 * noise.var()


def test_a_range_draws_one_deviation_for_each_example():
    clean = np.full((100, 100, 3), 0.5, np.float32)
    noise = GaussianNoise((5.0, 50.0))
    sigmas = [
        (noise(clean, np.random.default_rng(seed)) - clean).std() * 255
        for seed in range(30)
    ]
    assert 4.5 < min(sigmas) < 15
    assert 40 < max(sigmas) < 52


@pytest.mark.parametrize("read_noise", [0.0, 6.0])
def test_photon_noise_grows_with_the_light(read_noise):
    photons = 100.0
    noise = PoissonNoise(photons, read_noise)
    for light in (0.1, 0.3, 0.9):
        result = to_linear(noise(flat(light), np.random.default_rng(1)))
        expected = light / photons + (read_noise / photons) ** 2
        assert result.mean() == pytest.approx(light, rel=0.01)
        assert result.var() == pytest.approx(expected, rel=0.03)


def test_black_has_no_photon_noise_but_readout():
    black = flat(0.0)
    quiet = PoissonNoise(100.0, 0.0)(black, np.random.default_rng(0))
    np.testing.assert_array_equal(quiet, 0)
    noisy = PoissonNoise(100.0, 5.0)(black, np.random.default_rng(0))
    assert noisy.min() < 0 < noisy.max()
    assert abs(to_linear(noisy).mean()) < 0.001
