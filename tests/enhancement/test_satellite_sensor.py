"""Noise follows its law; columns, converter and compression do what they say."""

import dataclasses

import numpy as np
import pytest
from scipy import stats
from skimage import data

from enhancement import satellite, satellite_codec, satellite_sensor
from enhancement.satellite_draws import Draws

QUIET = {"column_gain": 0.0, "column_offset": 0.0, "bits": 16}


def exposed(light, **fields):
    config = satellite.preset("onboard_only", **fields)
    return satellite_sensor.expose(Draws(1), light, config)


@pytest.mark.parametrize(
    ("full_well", "snr"),
    [(20_000, (11.1, 37.1, 95.8, 130.9)), (60_000, (26.2, 72.2, 170.7, 230.5))],
)
def test_known_signal_to_noise(full_well, snr):
    # 30 electrons of read-out noise.
    signal = np.array([0.02, 0.10, 0.50, 0.90])
    variance = satellite_sensor.noise_variance(signal, full_well, 30)
    np.testing.assert_allclose(signal / np.sqrt(variance), snr, rtol=2e-3)


@pytest.mark.parametrize(("full_well", "read_noise"), [(20_000, 40), (60_000, 10)])
@pytest.mark.parametrize("signal", [0.05, 0.5])
def test_noise_keeps_the_mean_and_has_the_variance(full_well, read_noise, signal):
    light = np.full((500, 500, 1), signal, np.float32)
    taken, exposure = exposed(
        light, full_well=full_well, read_noise=read_noise, **QUIET
    )
    variance = satellite_sensor.noise_variance(signal, full_well, read_noise)
    assert taken.mean(dtype=np.float64) == pytest.approx(signal, abs=1e-4)
    assert taken.var(dtype=np.float64) == pytest.approx(variance, rel=0.03)
    assert exposure.sigma == pytest.approx(variance**0.5, rel=1e-4)


def test_columns_differ_by_gain_and_offset():
    light = np.full((256, 400, 2), 0.5, np.float32)
    light[..., 1] = 0.1
    taken, exposure = exposed(
        light, full_well=1e7, read_noise=0.0, column_gain=0.01, column_offset=0.002
    )
    assert exposure.gain.std() == pytest.approx(0.01, rel=0.1)
    assert exposure.offset.std() == pytest.approx(0.002, rel=0.1)
    expected = light[0] * exposure.gain[0] + exposure.offset[0]
    np.testing.assert_allclose(taken.mean(0), expected, atol=1e-4)


@pytest.mark.parametrize("bits", [8, 11])
def test_converter_has_its_levels(bits):
    light = np.linspace(0, 1, 64 * 64, dtype=np.float32).reshape(64, 64, 1)
    taken, _ = exposed(light, **{**QUIET, "bits": bits})
    levels = taken * (2**bits - 1)
    np.testing.assert_allclose(levels, np.rint(levels), atol=1e-3)
    assert taken.min() >= 0
    assert taken.max() <= 1


def test_without_noise_the_ground_still_knows_how_much_there_would_be():
    light = np.full((16, 16, 1), 0.5, np.float32)
    taken, exposure = exposed(light, noise_prob=0.0, full_well=20_000, read_noise=30)
    np.testing.assert_array_equal(taken, light)
    assert exposure.sigma == pytest.approx(0.0052, abs=5e-5)
    assert np.all(exposure.gain == 1)


@pytest.mark.parametrize("sides", [(32, 32), (33, 47), (8, 9)])
def test_wavelets_without_threshold_change_nothing(sides):
    image = np.random.default_rng(0).random((*sides, 3)).astype(np.float32)
    found = satellite_codec.haar_shrink(image, 0.0)
    np.testing.assert_allclose(found, image, atol=1e-6)


def test_wavelets_keep_means_of_blocks_and_take_noise_away():
    rng = np.random.default_rng(0)
    noise = rng.normal(0.5, 0.01, (128, 128, 1)).astype(np.float32)
    found = satellite_codec.haar_shrink(noise, 0.015)

    def blocks(image):
        return image.reshape(32, 4, 32, 4).mean((1, 3))

    np.testing.assert_allclose(blocks(found), blocks(noise), atol=1e-6)
    # What a threshold of t deviations leaves of normal noise, in the 15 of 16
    # coefficients that are details: 2 (1 + t**2) Q(t) - 2 t phi(t).
    t = 1.5
    left = 2 * (1 + t**2) * stats.norm.sf(t) - 2 * t * stats.norm.pdf(t)
    assert found.var() / noise.var() == pytest.approx((1 + 15 * left) / 16, rel=0.1)
    # So high a threshold leaves the blocks.
    flat = satellite_codec.haar_shrink(noise, 1.0)
    np.testing.assert_allclose(
        flat[..., 0], np.kron(blocks(noise), np.ones((4, 4))), atol=1e-6
    )


def test_jpeg_on_board_keeps_dark_light_apart():
    ramp = np.linspace(0, 0.02, 64, dtype=np.float32)
    image = np.broadcast_to(ramp[None, :, None], (64, 64, 4))
    found = satellite_codec.jpeg_bands(image, 98)
    assert found.dtype == np.float32
    # Eight bits of light itself have six levels here.
    assert np.abs(found - image).max() < 0.5 / 255
    better, worse = (
        np.abs(satellite_codec.jpeg_bands(_scene(), quality) - _scene()).mean()
        for quality in (98, 85)
    )
    assert 0 < better < worse < 0.02


def test_jpeg_of_other_bands_is_that_of_each():
    scene = _scene()
    whole = satellite_codec.jpeg(scene[..., [0, 1, 2, 0]], 80)
    alone = satellite_codec.jpeg(scene[..., :1], 80)
    np.testing.assert_array_equal(whole[..., 3:], alone)
    assert satellite_codec.jpeg(scene, 80, "4:2:0").shape == scene.shape


def test_moved_view_is_a_rotation_about_the_middle():
    # A picture that follows from its place: where a pixel was is what it shows.
    y, x = np.mgrid[:64, :80].astype(np.float32)
    places = np.stack([x, y], axis=2) / 128
    config = dataclasses.replace(
        satellite.preset("onboard_only"), shift=(0.25, 0.25), rotation=90, zoom=2.0
    )
    moved = satellite_sensor.view(Draws(0), places, config) * 128
    # The shift is half an HR pixel; counter-clockwise what was right of the middle is
    # now above it.
    middle = np.array([39.5, 31.5])
    shown = moved[31, 50] - middle
    right, down = 50 - 0.5 - 39.5, 31 - 0.5 - 31.5
    np.testing.assert_allclose(shown, [-down / 2, right / 2], atol=0.05)


def _scene():
    return data.astronaut()[96:160, 160:224].astype(np.float32) / np.float32(255)
