"""The blind model: kernels are what their names say."""

import numpy as np
import pytest
from scipy import ndimage
from skimage import data

from common.errors import ConfigError
from enhancement import satellite, satellite_blind

SCENE = data.astronaut()[60:124, 160:256]


def test_gaussian_is_that_of_scipy():
    found = satellite_blind.gaussian_kernel((1.2, 2.0), 0.0, 10, "gaussian", 1.0)
    impulse = np.zeros((21, 21))
    impulse[10, 10] = 1
    expected = ndimage.gaussian_filter(impulse, (2.0, 1.2), radius=10)
    np.testing.assert_allclose(found, expected, atol=1e-9)
    turned = satellite_blind.gaussian_kernel((1.2, 2), np.pi / 2, 10, "gaussian", 1.0)
    np.testing.assert_allclose(turned, found.T, atol=1e-12)


@pytest.mark.parametrize("kind", ["gaussian", "general", "plateau"])
@pytest.mark.parametrize("exponent", [0.5, 1.0, 3.0])
def test_relatives_of_the_gaussian(kind, exponent):
    kernel = satellite_blind.gaussian_kernel((1.5, 2.5), 0.7, 10, kind, exponent)
    assert kernel.sum() == pytest.approx(1, abs=1e-9)
    np.testing.assert_allclose(kernel, kernel[::-1, ::-1], atol=1e-12)
    assert kernel.argmax() == 220
    if kind == "general" and exponent == 1:
        same = satellite_blind.gaussian_kernel((1.5, 2.5), 0.7, 10, "gaussian", 1.0)
        np.testing.assert_allclose(kernel, same)


def test_sinc_passes_what_is_below_its_cutoff():
    kernel = satellite_blind.sinc_kernel(np.pi / 2, 30)
    passed = np.abs(np.fft.fft2(kernel, (128, 128)))
    # The cut-off is at 32 of 128; some ringing is left.
    assert passed[0, 0] == pytest.approx(1)
    assert passed[16, 0] == pytest.approx(1, abs=0.1)
    assert passed[16, 16] == pytest.approx(1, abs=0.1)
    assert passed[48, 0] < 0.1
    assert passed[28, 28] < 0.1
    assert kernel.min() < 0


def test_strength_follows_the_numbers():
    mild = {
        "sigma": 0.2, "sigma2": 0.2, "gaussian": 1, "gaussian2": 1, "quality": 95,
        "gaussian_prob": 1.0, "resize": 1, "resize2": 1, "sinc_prob": 0.0,
        "final_sinc_prob": 0.0, "kernel_odds": (1, 0, 0, 0, 0, 0),
    }  # fmt: skip
    clean = satellite.degrade(0, SCENE, satellite.preset("ideal_bicubic", 2))[0]

    def error(**fields):
        config = satellite.preset("realesrgan", 2, **{**mild, **fields})
        found = [satellite.degrade(key, SCENE, config)[0] for key in range(4)]
        return np.mean([np.abs(lr - clean).mean() for lr in found])

    base = error()
    assert base < 0.04
    for fields in ({"sigma": 3.0}, {"gaussian": 30}, {"quality": 30}, {"resize": 0.2}):
        assert error(**fields) > 1.3 * base, fields


def test_noise_is_grey_or_not():
    flat = np.full((64, 64, 3), 128, np.uint8)
    quiet = {"quality": 100, "poisson": 1.0, "gaussian": 20, "gaussian2": 0}
    quiet |= {"poisson2": 0, "resize": 1, "resize2": 1}
    for grey in (0.0, 1.0):
        config = satellite.preset("realesrgan", 1, grey_prob=grey, **quiet)
        lr, _, meta = satellite.degrade(3, flat, config)
        assert meta["noise.grey"] == grey
        colour = (lr - lr.mean(2, keepdims=True)).std()
        assert (colour < 0.2 * lr.std()) == bool(grey)


@pytest.mark.parametrize(
    "fields",
    [
        {"kernel_odds": (1, 2)},
        {"kernel_odds": (0,) * 6},
        {"resize_odds": (1, -1, 1)},
        {"resize_odds2": "abc"},
        {"sigma": 0},
        {"quality": (30.5, 95)},
        {"blur2_prob": 1.1},
    ],
)
def test_what_cannot_be_is_refused(fields):
    with pytest.raises(ConfigError, match=next(iter(fields))):
        satellite.preset("realesrgan", 2, **fields)
