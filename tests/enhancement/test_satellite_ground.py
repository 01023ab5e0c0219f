"""Sharpening has its gains, fusion and resampling keep values and places."""

import numpy as np
import pytest
from scipy import ndimage
from skimage import data

from enhancement import satellite, satellite_ground, satellite_pansharpen
from enhancement import satellite_geometry as geometry
from enhancement.satellite_draws import Draws
from enhancement.satellite_sensor import Exposure

SCENE = data.astronaut()[60:156, 160:256].astype(np.float32) / np.float32(255)


def spectrum(amount, sigma):
    """Returns the response of an unsharp mask, from that to an impulse."""
    impulse = np.zeros((64, 64, 1), np.float32)
    impulse[32, 32] = 1
    found = satellite_ground.unsharp(impulse, amount, sigma)[..., 0]
    return np.abs(np.fft.fft2(found))


@pytest.mark.parametrize(
    ("amount", "sigma", "nyquist", "noise"),
    [
        (0.3, 0.7, 1.27, 1.21),
        (0.5, 1.0, 1.50, 1.43),
        (0.8, 1.0, 1.79, 1.69),
        (1.0, 0.7, 1.91, 1.72),
        (1.5, 1.0, 2.49, 2.29),
    ],
)
def test_gains_of_sharpening(amount, sigma, nyquist, noise):
    # along an axis, and of white noise.
    gain = spectrum(amount, sigma)
    assert gain[0, 0] == pytest.approx(1, abs=1e-5)
    assert gain[32, 0] == pytest.approx(nyquist, rel=0.01)
    assert gain[0, 32] == pytest.approx(nyquist, rel=0.01)
    assert np.sqrt(np.mean(gain**2)) == pytest.approx(noise, rel=0.01)
    white = np.random.default_rng(0).standard_normal((256, 256, 1)).astype(np.float32)
    sharp = satellite_ground.unsharp(white, amount, sigma)
    assert sharp.std() / white.std() == pytest.approx(noise, rel=0.02)


def test_sharpening_is_the_unsharp_mask_of_scipy():
    found = satellite_ground.unsharp(SCENE, 0.8, 2.0)
    blurred = ndimage.gaussian_filter(SCENE, (2, 2, 0), mode="reflect", truncate=8)
    np.testing.assert_allclose(found, SCENE + 0.8 * (SCENE - blurred), atol=1e-5)


@pytest.mark.parametrize("interpolation", geometry.INTERPOLATIONS)
@pytest.mark.parametrize(("zoom", "rotation"), [(0.9, 10), (1.1, -10), (1.0, 45)])
def test_resampling_keeps_means_and_places(interpolation, zoom, rotation):
    matrix = geometry.similarity(zoom, rotation)
    flat = np.full((40, 33, 5), 0.37, np.float32)
    back = geometry.there_and_back(flat, matrix, interpolation)
    np.testing.assert_allclose(back, flat, atol=1e-6)
    y, x = np.mgrid[:40, :56].astype(np.float32)
    places = np.stack([x, y], axis=2)
    back = geometry.there_and_back(places, matrix, interpolation)
    # Interpolation of a ramp is exact but for OpenCV's grid of 1/32 pixel, twice.
    inner = (back - places)[6:-6, 6:-6]
    assert np.abs(inner).max() < 3 / 32
    assert np.abs(inner.mean((0, 1))).max() < 0.01


def test_resampling_blurs_least_with_the_widest_interpolation():
    matrix = geometry.similarity(1.05, 7.0)
    lost = [
        np.abs(geometry.there_and_back(SCENE, matrix, kind) - SCENE).mean()
        for kind in geometry.INTERPOLATIONS
    ]
    assert lost[0] > lost[1] > lost[2] > 0


def test_enlargement_stays_in_place():
    ramp = np.broadcast_to(np.arange(12, dtype=np.float32)[:, None, None], (12, 9, 5))
    large = geometry.enlarge(np.ascontiguousarray(ramp), 4)
    expected = (np.arange(48) + 0.5) / 4 - 0.5
    assert large.shape == (48, 36, 5)
    np.testing.assert_allclose(large[8:-8, 5, 2], expected[8:-8], atol=1e-5)


def restored(taken, exposure, **fields):
    config = satellite.preset("full", denoise_prob=0.0, sharpen_prob=0.0)
    config = type(config)(**{**vars(config), **fields})
    return satellite_ground.restore(Draws(0), taken, exposure, config)


def test_destriping_leaves_the_residual():
    rng = np.random.default_rng(0)
    gain = (1 + rng.normal(0, 0.01, (1, 96, 1))).astype(np.float32)
    offset = rng.normal(0, 0.01, (1, 96, 1)).astype(np.float32)
    taken = SCENE * gain + offset
    exposure = Exposure(0.0, gain, offset)
    exact = restored(taken, exposure, destripe_residual=0.0)
    np.testing.assert_allclose(exact, SCENE, atol=1e-6)
    errors = [
        np.abs(restored(taken, exposure, destripe_residual=r) - SCENE).mean()
        for r in (0.3, 1.0)
    ]
    assert errors[0] == pytest.approx(0.3 * errors[1], rel=0.05)


@pytest.mark.parametrize("bands", [1, 3, 4])
def test_denoising_takes_noise_and_leaves_edges(bands):
    edge = np.full((64, 64, bands), 0.2, np.float32)
    edge[:, 32:] = 0.8
    noise = np.random.default_rng(0).standard_normal(edge.shape).astype(np.float32)
    ones, zeros = np.ones((1, 64, 1), np.float32), np.zeros((1, 64, 1), np.float32)
    exposure = Exposure(0.01, ones, zeros)
    found = restored(edge + 0.01 * noise, exposure, denoise_prob=1.0)
    assert found.shape == edge.shape
    assert np.abs(found - edge).std() < 0.8 * 0.01
    assert np.abs(found - edge).max() < 0.06
    # What is left is coloured: neighbours are alike, as they were not before.
    left = (found - edge)[:, 4:28, 0]
    assert np.corrcoef(left[:, 1:].ravel(), left[:, :-1].ravel())[0, 1] > 0.1


@pytest.mark.parametrize("method", satellite_pansharpen.METHODS)
@pytest.mark.parametrize(("bands", "sides"), [(3, (96, 96)), (4, (45, 62))])
def test_fusion_is_sharp_in_grey_and_coarse_in_colour(method, bands, sides):
    image = SCENE[: sides[0], : sides[1], [0, 1, 2, 0][:bands]]
    found = satellite_pansharpen.pansharpen(image, method, 0.3, 1.0)
    assert found.shape == image.shape
    weights = [0.2126, 0.7152, 0.0722] if bands == 3 else np.full(bands, 1 / bands)

    def parts(values):
        grey = values @ np.asarray(weights, np.float32)
        return grey, values - grey[..., None]

    (grey, colour), (new_grey, new_colour) = parts(image), parts(found)
    grey_error = np.abs(new_grey - grey).mean()
    assert grey_error < 0.3 * np.abs(grey - ndimage.gaussian_filter(grey, 2)).mean()
    # Colour bleeds.
    assert np.abs(new_colour - colour).mean() > 2 * grey_error
    np.testing.assert_allclose(found.mean((0, 1)), image.mean((0, 1)), atol=0.01)


@pytest.mark.parametrize("method", satellite_pansharpen.METHODS)
def test_fusion_of_grey_changes_little(method):
    # Without colour the grey image is all there is.
    image = np.repeat(SCENE[..., :1], 3, axis=2)
    found = satellite_pansharpen.pansharpen(image, method, 0.3, 1.0)
    np.testing.assert_allclose(found, image, atol=1e-3 if method == "gsa" else 1e-5)


def test_tone_curve_by_hand():
    values = np.array([-1, 0.1, 0.35, 0.6, 2], np.float32)
    plain = satellite_ground.tone_curve(values, 0.1, 0.6, 1 / 2.2, 0.0, 0.0)
    np.testing.assert_allclose(plain, [0, 0, 0.5 ** (1 / 2.2), 1, 1], atol=1e-6)
    hazy = satellite_ground.tone_curve(values, 0.1, 0.6, 1.0, 0.0, 0.04)
    np.testing.assert_allclose(hazy, [0.04, 0.04, 0.52, 1, 1], atol=1e-6)
    clear = satellite_ground.tone_curve(hazy, 0, 1, 1.0, 0.0, -0.04)
    np.testing.assert_allclose(clear, [0, 0, 0.5, 1, 1], atol=1e-6)
    curved = satellite_ground.tone_curve(
        np.array([0.25], np.float32), 0, 1, 1.0, 0.5, 0.0
    )
    np.testing.assert_allclose(curved, (0.25 + 3 / 16 - 2 / 64) / 2, atol=1e-6)


def test_flat_images_are_not_stretched():
    config = satellite.preset("full", s_curve_prob=0.0, haze=0.0, gamma=1.0)
    flat = np.full((32, 32, 3), 0.4, np.float32)
    flat[::2] += 0.001
    curve = satellite_ground.draw_tone(Draws(0), flat, config)
    assert curve["high"] - curve["low"] == pytest.approx(0.05)
    shown = satellite_ground.tone_curve(flat, **curve)
    assert np.ptp(shown) == pytest.approx(0.02, rel=1e-3)


def test_stretch_clips_the_tails():
    config = satellite.preset("full", tone_tails=0.02)
    light = np.linspace(0, 0.5, 10_000, dtype=np.float32).reshape(100, 100, 1)
    curve = satellite_ground.draw_tone(Draws(0), light, config)
    assert curve["low"] == pytest.approx(0.01, abs=1e-4)
    assert curve["high"] == pytest.approx(0.49, abs=1e-4)
