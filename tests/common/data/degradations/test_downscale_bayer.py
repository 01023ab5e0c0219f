"""Bicubic downscaling against JAX's resize, Bayer mosaics against their definition."""

import jax
import numpy as np
import pytest

from common.data import degradations
from common.data.degradations import downscale
from common.data.degradations.bayer import PATTERNS
from common.errors import ConfigError

RNG = np.random.default_rng(0)


@pytest.fixture
def photo():
    from skimage import data

    return data.astronaut()[:96, 100:220]


@pytest.mark.parametrize("factor", [2, 3, 4])
def test_equals_jax_away_from_borders_and_mirrors_there(photo, factor):
    clean = photo[: 96 // factor * factor, : 120 // factor * factor] / 255
    small = downscale.shrink(clean, factor)
    assert small.shape == (clean.shape[0] // factor, clean.shape[1] // factor, 3)
    # JAX leaves out what lies beyond the border; mirrored, the border is inside.
    margin = 4 * factor
    wide = np.pad(clean, ((margin,) * 2, (margin,) * 2, (0, 0)), "symmetric")
    sides = (wide.shape[0] // factor, wide.shape[1] // factor, 3)
    expected = jax.image.resize(wide.astype(np.float32), sides, "cubic")[4:-4, 4:-4]
    np.testing.assert_allclose(small, expected, atol=2e-6)


def test_benchmark_pairs_have_eight_bits_and_whole_factors(photo):
    degradation = degradations.create("bicubic", factor=4)
    image, target = degradation.pair(photo[:95, :118], RNG).values()
    assert image.shape == (23, 29, 3)
    np.testing.assert_array_equal(target, photo[:92, :116])
    np.testing.assert_allclose(image * 255, np.rint(image * 255), atol=1e-4)
    assert degradation.scale == degradation.multiple == 4


@pytest.mark.parametrize("pattern", PATTERNS)
def test_mosaic_takes_one_channel_of_each_pixel(photo, pattern):
    degradation = degradations.create("bayer", pattern=pattern)
    image, target = degradation.pair(photo[:31, :21], RNG).values()
    assert image.shape == target.shape == (30, 20, 3)
    for row in range(30):
        for column in range(20):
            channel = "RGB".index(pattern[2 * (row % 2) + column % 2])
            expected = target[row, column, channel] / np.float32(255)
            np.testing.assert_array_equal(image[row, column], [expected] * 3)


def test_a_mosaic_has_one_noise_for_each_pixel(photo):
    noisy = degradations.create("bayer", sigma=5.0)(photo / 255, RNG)
    clean = degradations.create("bayer")(photo / 255, RNG)
    gap = noisy - clean
    np.testing.assert_allclose(gap[..., 0].std() * 255, 5.0, rtol=0.05)
    np.testing.assert_array_equal(gap[..., 0], gap[..., 2])


def test_what_cannot_be_is_refused():
    for factor in (1, 2.0, 17):
        with pytest.raises(ConfigError, match="whole number"):
            degradations.create("bicubic", factor=factor)
    with pytest.raises(ConfigError, match="RGGB"):
        degradations.create("bayer", pattern="RGBG")
