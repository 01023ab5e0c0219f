"""Blur kernels have the MTF that was asked for, and sampling stays in place."""

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage
from skimage import data

from common.errors import ConfigError
from enhancement import satellite_optics as optics

SCALES = (2, 3, 4)
MTFS = (0.05, 0.1, 0.15, 0.3, 0.5)


def centroid(taps):
    return taps @ (np.arange(len(taps)) - (len(taps) - 1) / 2)


@pytest.mark.parametrize(
    ("sigma", "radius", "scale", "first", "mtf"),
    [
        (1.0825, 8, 2, [0.368553, 0.240533, 0.066865, 0.007917, 0.000399], 0.16661),
        (2.1649, 16, 4, None, 0.15393),
    ],
)
def test_gaussian_has_the_known_taps_and_mtf(sigma, radius, scale, first, mtf):
    taps = optics.gaussian_taps(sigma, radius)
    assert len(taps) == 2 * radius + 1
    if first:
        np.testing.assert_allclose(taps[radius : radius + 5], first, atol=2e-5)
    both = np.convolve(taps, np.full(scale, 1 / scale))
    assert optics.response(both, 0.5 / scale) == pytest.approx(mtf, abs=5e-5)


def test_gaussian_is_that_of_scipy():
    impulse = np.zeros(41)
    impulse[20] = 1
    expected = ndimage.gaussian_filter1d(impulse, 1.3, radius=9)
    np.testing.assert_allclose(optics.gaussian_taps(1.3, 9), expected[11:30], atol=1e-9)


@pytest.mark.parametrize(
    ("mtf", "sigma"),
    [(0.10, 0.6124), (0.15, 0.5412), (0.20, 0.4844), (0.25, 0.4352), (0.30, 0.3905)],
)
def test_width_of_the_lens_tends_to_that_of_a_continuous_detector(mtf, sigma):
    # Section 2.3, in LR pixels, for infinitely fine HR pixels.
    assert optics.gaussian_sigma(mtf, 500) / 500 == pytest.approx(sigma, abs=1e-4)


def test_box_passes_what_the_sheet_says():
    found = [optics.box_mtf(scale) for scale in (1, 2, 3, 4)]
    np.testing.assert_allclose(found, [1, 0.7071, 0.6667, 0.6533], atol=5e-5)
    for scale in SCALES:
        box = np.full(scale, 1 / scale)
        assert optics.response(box, 0.5 / scale) == pytest.approx(optics.box_mtf(scale))


def test_blur_of_the_image_itself_is_left_out():
    # Section 2.3: MTF .15 at scale 2 of an image with .25 is 1.121 pixels less the box,
    # whose variance is .25; exact at Nyquist it is a little less.
    assert optics.gaussian_sigma(0.15, 2, 0.25) == pytest.approx(1.003, rel=0.02)
    own = np.sqrt(-2 * np.log(0.25)) / np.pi
    blur = optics.line_spread(0.15, 2, image_mtf=0.25)
    total = optics.response(blur, 0.25) * np.exp(-2 * (np.pi * own * 0.25) ** 2)
    assert total == pytest.approx(0.15, rel=1e-4)
    # More blur than is asked for cannot be taken away.
    np.testing.assert_array_equal(optics.mtf_kernel(0.5, 2, 0.01), [1])


@pytest.mark.parametrize("scale", [1, *SCALES])
@pytest.mark.parametrize("mtf", MTFS)
def test_kernels_keep_light_and_place_and_have_the_mtf(mtf, scale):
    for smear in (0.0, 0.6):
        taps = optics.line_spread(mtf, scale, smear=smear)
        assert taps.sum() == pytest.approx(1, abs=1e-6)
        assert centroid(taps) == pytest.approx(0, abs=1e-6)
        assert (len(taps) - scale) % 2 == 0
    taps = optics.line_spread(mtf, scale)
    assert optics.response(taps, 0.5 / scale) == pytest.approx(mtf, rel=1e-3)


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("mtf", MTFS)
def test_sampled_wave_has_the_mtf(mtf, scale):
    # At Nyquist its crests fall on LR centres, scale * (i + .5) - .5.
    centres = np.arange(48 * scale) - (scale - 1) / 2
    wave = 0.5 + 0.25 * np.cos(np.pi * centres / scale)
    image = np.broadcast_to(wave[:, None, None], (wave.size, 8 * scale, 1))
    taps, flat = optics.line_spread(mtf, scale), optics.line_spread(0.15, scale)
    result = optics.sample(image.astype(np.float32), taps, flat, scale)[16:32, :, 0]
    signs = np.where(np.arange(16, 32) % 2, -1, 1)[:, None]
    np.testing.assert_allclose((result - 0.5) * signs / 0.25, mtf, rtol=0.02)


@pytest.mark.parametrize("scale", [1, *SCALES])
@pytest.mark.parametrize("smear", [0.0, 0.01, 0.3, 1.0, 1.5])
def test_smear_lowers_the_mtf_and_has_the_variance_of_its_path(smear, scale):
    taps = optics.smear_taps(smear, scale)
    places = np.arange(len(taps)) - len(taps) // 2
    assert taps.min() >= 0
    assert taps.sum() == pytest.approx(1, abs=1e-9)
    assert taps @ places == pytest.approx(0, abs=1e-9)
    # one pixel multiplies by .637.
    lowered = {0.0: 1.0, 1.0: 0.637}.get(smear, np.sinc(smear / 2))
    assert optics.response(taps, 0.5 / scale) == pytest.approx(lowered, abs=5e-4)
    if scale > 1:
        # Of a continuous path.
        expected = (smear * scale) ** 2 / 12
        assert taps @ places**2 == pytest.approx(expected, rel=0.25, abs=1e-9)


@pytest.mark.parametrize("scale", [1, *SCALES])
def test_bicubic_is_that_of_pillow(scale):
    image = data.camera()[100:196, 100:220].astype(np.float32)
    taps = optics.bicubic_taps(scale)
    found = optics.sample(image[..., None], taps, taps, scale)[..., 0]
    size = (120 // scale, 96 // scale)
    expected = np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BICUBIC))
    # Borders differ: Pillow leaves out what is not there.
    np.testing.assert_allclose(found[3:-3, 3:-3], expected[3:-3, 3:-3], atol=1e-2)


def test_sampling_filters_axes_and_bands_each_by_its_taps():
    image = np.random.default_rng(0).random((24, 32, 2)).astype(np.float32)
    narrow, wide = optics.gaussian_taps(0.6), optics.gaussian_taps(1.5)
    across = optics.gaussian_taps(0.9)
    found = optics.sample(image, optics.stack([narrow, wide]), across)
    for band, along in enumerate((narrow, wide)):
        expected = ndimage.correlate1d(image[..., band], along, 0, mode="mirror")
        expected = ndimage.correlate1d(expected, across, 1, mode="mirror")
        np.testing.assert_allclose(found[..., band], expected, atol=1e-6)


def test_sensors_know_the_order_of_bands():
    assert optics.sensor_mtf("quickbird", 4) == (0.34, 0.32, 0.30, 0.22)
    assert optics.sensor_mtf("quickbird", 3) == (0.30, 0.32, 0.34)
    assert optics.sensor_mtf("worldview3", 3) == (0.365, 0.360, 0.355)
    assert optics.sensor_mtf("worldview3", 4) == (0.355, 0.360, 0.365, 0.335)
    assert optics.sensor_mtf("generic_pan", 1) == (0.15,)
    assert optics.sensor_mtf("spot7", 2) == (0.33, 0.33)
    with pytest.raises(ConfigError, match="did you mean 'quickbird'"):
        optics.sensor_mtf("quikbird", 4)
    with pytest.raises(ConfigError, match="4 bands, the image has 8"):
        optics.sensor_mtf("ikonos", 8)
