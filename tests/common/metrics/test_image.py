"""PSNR, SSIM and MS-SSIM against definitions and other implementations' numbers."""

import io
import json
import math
import pathlib
import zlib

import numpy as np
import pytest
from PIL import Image
from scipy import signal
from skimage import data
from skimage import metrics as peer

from common.errors import ConfigError
from common.metrics import image as metrics

# Of images against their JPEG files of quality 5, 20 and 60. Sides of 512 pixels:
# pytorch-msssim 1.0.0 in float64. Odd sizes, at which that package pads with black:
# tf.image.ssim_multiscale of TensorFlow 2.21, in float32.
MS_SSIM = {
    "astronaut": ((0.894673267, 0.968899884, 0.986756864), 1e-6),
    "camera": ((0.864464551, 0.966737523, 0.990073314), 1e-6),
    "odd": ((0.915239990, 0.968513668, 0.987375975), 3e-5),
}
GOLDEN = pathlib.Path(__file__).resolve().parents[2] / "golden/maxim/psnr.json"


def normal(tag, shape=(16, 16, 3)):
    state = np.random.RandomState(zlib.crc32(tag.encode()))
    return state.standard_normal(shape).astype(np.float32)


@pytest.fixture(scope="module")
def photo():
    return data.astronaut()[100:164, 180:260]


def test_psnr_reproduces_the_official_script():
    expected = json.loads(GOLDEN.read_text())
    clean, noise = normal("psnr/a"), 0.1 * normal("psnr/b")
    a = np.clip(50 * clean + 128, 0, 255)
    b = np.clip(50 * (clean + noise) + 128, 0, 255)
    # In float64 all digits; of the script's float32 luma six.
    assert metrics.psnr(a, b) == pytest.approx(expected["psnr_rgb"], abs=1e-12)
    y, z = metrics.rgb_to_y(a), metrics.rgb_to_y(b)
    assert metrics.psnr(y, z) == pytest.approx(expected["psnr_y"], abs=1e-5)
    cropped = metrics.psnr(y[4:-4, 4:-4], z[4:-4, 4:-4])
    assert cropped == pytest.approx(expected["psnr_y_crop4"], abs=1e-5)


def test_psnr_by_hand(photo):
    # One level of error everywhere, also where bytes would wrap around.
    black = np.zeros((3, 5, 3), np.uint8)
    assert metrics.psnr(black, black + 1) == pytest.approx(20 * math.log10(255))
    assert metrics.psnr(black + 1, black) == pytest.approx(20 * math.log10(255))
    assert metrics.psnr(photo, photo) == math.inf
    scaled = metrics.psnr(photo / 255, photo[::-1] / 255, data_range=1.0)
    assert scaled == pytest.approx(metrics.psnr(photo, photo[::-1]))
    # The mean is over all elements: one wrong channel of three counts a third.
    assert metrics.psnr(black, black + np.uint8([3, 0, 0])) == pytest.approx(
        10 * math.log10(255**2 / 3)
    )
    assert math.isnan(metrics.psnr(np.full((4, 4), np.nan), np.zeros((4, 4))))


@pytest.mark.parametrize("channels", [slice(None), 1])
def test_psnr_is_that_of_scikit_image(channels, photo):
    noisy = np.clip(photo + 20 * normal("psnr", photo.shape), 0, 255).astype(np.uint8)
    a, b = photo[..., channels], noisy[..., channels]
    expected = peer.peak_signal_noise_ratio(a, b)
    assert metrics.psnr(b, a) == pytest.approx(expected, abs=1e-12)


def wang_ssim(x, y):
    """The definition of Wang et al. 2004, one channel, written out."""
    taps = np.exp(-((np.arange(11) - 5) ** 2) / (2 * 1.5**2))
    window = np.outer(taps, taps) / taps.sum() ** 2

    def mean(values):
        return signal.convolve2d(values, window, "valid")

    x, y = x.astype(np.float64), y.astype(np.float64)
    mx, my = mean(x), mean(y)
    vx, vy, cov = mean(x * x) - mx**2, mean(y * y) - my**2, mean(x * y) - mx * my
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    top = (2 * mx * my + c1) * (2 * cov + c2)
    return np.mean(top / ((mx**2 + my**2 + c1) * (vx + vy + c2)))


def test_ssim_is_the_authors_definition(photo):
    noisy = np.clip(photo + 20 * normal("ssim", photo.shape), 0, 255).astype(np.uint8)
    channels = [wang_ssim(photo[..., c], noisy[..., c]) for c in range(3)]
    assert max(channels) < 0.9  # far from trivial
    assert metrics.ssim(noisy, photo) == pytest.approx(np.mean(channels), abs=1e-12)
    grey = metrics.ssim(noisy[..., 0], photo[..., 0])
    assert grey == pytest.approx(channels[0], abs=1e-12)
    assert metrics.ssim(noisy / 255, photo / 255, data_range=1.0) == pytest.approx(
        np.mean(channels), abs=1e-9
    )
    assert metrics.ssim(photo, photo) == pytest.approx(1, abs=1e-12)


def test_ssim_of_the_smallest_image_and_of_a_smaller_one(photo):
    a, b = photo[:11, :11], photo[20:31, 20:31]
    channels = [wang_ssim(a[..., c], b[..., c]) for c in range(3)]
    assert metrics.ssim(a, b) == pytest.approx(np.mean(channels), abs=1e-12)
    assert math.isnan(metrics.ssim(a[:10], b[:10]))
    assert math.isnan(metrics.ssim(a[:, :10], b[:, :10]))


@pytest.mark.parametrize("channels", [slice(None), 1])
def test_ssim_is_that_of_scikit_image(channels, photo):
    noisy = (photo + 20 * normal("ssim", photo.shape))[..., channels]
    clean = photo[..., channels]
    expected = peer.structural_similarity(
        clean.astype(np.float64),
        noisy.astype(np.float64),
        data_range=255,
        channel_axis=-1 if clean.ndim == 3 else None,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
    )
    assert metrics.ssim(noisy, clean) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("name", MS_SSIM)
def test_ms_ssim_is_that_of_other_packages(name):
    astronaut = data.astronaut()
    images = {"camera": data.camera(), "odd": astronaut[100:261, 180:355]}
    image = images.get(name, astronaut)
    expected, tolerance = MS_SSIM[name]
    for quality, value in zip((5, 20, 60), expected, strict=True):
        file = io.BytesIO()
        Image.fromarray(image).save(file, "JPEG", quality=quality)
        with Image.open(file) as decoded:
            found = metrics.ms_ssim(np.asarray(decoded), image)
        assert found == pytest.approx(value, abs=tolerance)


@pytest.mark.filterwarnings("error")  # NaN is an answer, not the mean of nothing.
def test_ms_ssim_of_the_smallest_image_and_of_a_smaller_one():
    image = data.astronaut()[:161, :161]
    assert metrics.ms_ssim(image, image) == 1
    noisy = np.clip(image + 40 * normal("ms", image.shape), 0, 255)
    value = metrics.ms_ssim(noisy, image)
    assert 0.5 < value < 0.95
    scaled = metrics.ms_ssim(noisy / 255, image / 255, data_range=1.0)
    assert scaled == pytest.approx(value, abs=1e-9)
    assert math.isnan(metrics.ms_ssim(noisy[:160], image[:160]))
    assert math.isnan(metrics.ms_ssim(noisy[:, :160], image[:, :160]))
    noisy[80, 80, 1] = np.nan
    assert math.isnan(metrics.ms_ssim(noisy, image))


def test_ms_ssim_of_a_negative_is_zero():
    image = data.astronaut()[:176, :176].astype(np.float64)
    with np.errstate(all="raise"):  # A fractional power of it would be invalid.
        assert metrics.ms_ssim(255 - image, image) == 0
        one = np.stack([255 - image[..., 0], image[..., 1], image[..., 2]], axis=-1)
        assert metrics.ms_ssim(one, image) == pytest.approx(2 / 3)


def test_luma_is_that_of_matlab():
    # MATLAB: rgb2ycbcr(uint8(cat(3, 10, 20, 30))) has Y = 32; 31.588 before rounding.
    colours = np.array([[0, 0, 0], [255, 255, 255], [10, 20, 30], [255, 0, 0]])
    luma = metrics.rgb_to_y(colours)
    np.testing.assert_allclose(luma, [16, 235, 31.5879, 81.481], atol=1e-3)
    rounded = metrics.rgb_to_y(colours, rounded=True)
    np.testing.assert_array_equal(rounded, [16, 235, 32, 81])


def test_bytes_of_every_rounding():
    levels = np.arange(256)
    exact = levels.astype(np.float32) / np.float32(255)
    for rounding in ("nearest", "truncate"):
        result = metrics.to_bytes(exact, rounding)
        assert result.dtype == np.uint8
        np.testing.assert_array_equal(result, levels)
        # What leaves the range is clipped, it does not wrap around.
        outside = metrics.to_bytes(np.array([-0.3, 1.2, np.float32(1)]), rounding)
        np.testing.assert_array_equal(outside, [0, 255, 255])
    between = np.array([99.4, 99.6]) / 255
    np.testing.assert_array_equal(metrics.to_bytes(between, "nearest"), [99, 100])
    np.testing.assert_array_equal(metrics.to_bytes(between, "truncate"), [99, 99])
    free = metrics.to_bytes(np.array([-0.2, 0.5, 1.2]), "float")
    assert free.dtype == np.float64
    np.testing.assert_allclose(free, [-51, 127.5, 306])


def test_what_is_refused():
    image = np.zeros((12, 12, 3))
    for metric in (metrics.psnr, metrics.ssim, metrics.ms_ssim):
        with pytest.raises(ValueError, match=r"\(12, 12, 3\).*\(12, 12, 1\)"):
            metric(image, image[..., :1])
        with pytest.raises(ValueError, match="with pixels"):
            metric(image[:0], image[:0])
    for metric in (metrics.ssim, metrics.ms_ssim):
        with pytest.raises(ValueError, match=r"\[H, W, C\], given \(1, 12, 12, 3\)"):
            metric(image[None], image[None])
    with pytest.raises(ValueError, match="RGB"):
        metrics.rgb_to_y(image[..., 0])
    with pytest.raises(ConfigError, match="did you mean 'truncate'"):
        metrics.to_bytes(image, "truncated")
    with pytest.raises(ValueError, match="not finite"):
        metrics.to_bytes(image + np.nan, "nearest")
