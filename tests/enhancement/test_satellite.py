"""Pairs of a satellite product and its target: in place, repeatable, for any bands."""

import json

import jax
import numpy as np
import pytest
from PIL import Image
from skimage import data

from enhancement import satellite, satellite_ground
from enhancement.satellite_config import SatelliteConfig
from enhancement.satellite_draws import Draws

LARGE = data.astronaut()[:384, 60:444]
PHOTO = LARGE[20:180, 70:230]
QUIET = {"noise_prob": 0.0}
# Stages 4 to 12 that may be left out, all done, in real numbers to the end.
_STAGES = "smear compress denoise sharpen pansharpen resample".split()
ALL = {f"{name}_prob": 1.0 for name in _STAGES}
ALL |= {"quantize": False, "delivery_prob": 0.0}


def bands(count, dtype=np.float32, size=64):
    image = PHOTO[:size, :size, [0, 1, 2, 1, 0, 2, 0, 1][:count]]
    if dtype == np.float32:
        return image.astype(np.float32) / np.float32(255)
    return image.astype(dtype) * (257 if dtype == np.uint16 else 1)


def moved(lr, target):
    """Returns how far an LR image lies from the target in HR pixels, down and right.

    Phase correlation, where LR images have something: the slope of the phases of the
    lower frequencies, weighted by their amplitudes.
    """
    height, width = target.shape[:2]
    grey = Image.fromarray(lr.mean(2))
    large = np.asarray(grey.resize((width, height), Image.Resampling.BICUBIC))
    window = np.outer(np.hanning(height), np.hanning(width))
    pair = [np.fft.rfft2((x - x.mean()) * window) for x in (target.mean(2), large)]
    down, right = np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)
    low = np.hypot(down, right) < 0.25 * len(lr) / height
    cross = (pair[1] * pair[0].conj())[low]
    frequencies = np.stack(np.broadcast_arrays(down, right))[:, low].T
    weights = np.sqrt(np.abs(cross))
    turns = np.angle(cross) / (-2 * np.pi)
    fit = np.linalg.lstsq(frequencies * weights[:, None], turns * weights, rcond=None)
    return fit[0]


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("name", ["ideal_bicubic", "onboard_only", "ground_only"])
def test_pairs_are_registered(name, scale):
    # In light: a tone curve after the blur makes bright things larger than dark ones.
    fields = {"linearize": "never", "tone_prob": 0.0, "geometry_prob": 0.0}
    config = satellite.preset(name, scale, **fields)
    lr, target, _ = satellite.degrade((1, scale), LARGE, config)
    assert np.abs(moved(lr, target)).max() < 0.05


@pytest.mark.parametrize("key", range(4))
@pytest.mark.parametrize("scale", [2, 3])
def test_pairs_of_the_whole_chain_are_registered(key, scale):
    fields = {"linearize": "never", "tone_prob": 0.0, "geometry_prob": float(key > 1)}
    config = satellite.preset("full", scale, **fields)
    lr, target, _ = satellite.degrade(key, LARGE, config)
    assert np.abs(moved(lr, target)).max() < 0.05
    # Taking one pixel of each block, its first, would be seen.
    first = target[::scale, ::scale]
    shift = moved(first, target)
    np.testing.assert_allclose(shift, (scale - 1) / 2, rtol=0.1)


@pytest.mark.parametrize("key", range(4))
@pytest.mark.parametrize("scale", [1, 2, 3, 4])
def test_even_slopes_stay_where_they_are(key, scale):
    fields = {**QUIET, **ALL, "tone_prob": 0.0, "geometry_prob": 0.0}
    # A grey slope, of which nothing bleeds; wavelets make steps.
    config = satellite.preset("full", scale, **{**fields, "compress_prob": 0.0})
    slope = np.linspace(0.2, 0.8, 64 * scale, dtype=np.float32)
    for axes in ((0, 1), (1, 0)):
        image = np.broadcast_to(slope[:, None, None], (len(slope), len(slope), 3))
        lr = satellite.degrade(key, image.transpose(*axes, 2), config)[0]
        lr = lr.transpose(*axes, 2)[16:-16, 16:-16]
        expected = slope.reshape(-1, scale).mean(1)[16:-16, None, None]
        pixel = expected[1] - expected[0]
        # OpenCV resamples at places rounded to 1/32 pixel, twice.
        np.testing.assert_allclose((lr - expected) / pixel, 0, atol=2.5 / 32)
        assert abs(np.mean(lr - expected) / pixel) < 0.01


@pytest.mark.parametrize("key", range(4))
@pytest.mark.parametrize("kind", ["wavelet", "jpeg"])
def test_constant_images_stay_constant(key, kind):
    colour = np.array([0.3, 0.5, 0.7], np.float32)
    image = np.broadcast_to(colour, (96, 96, 3))
    config = satellite.preset("full", **QUIET, **ALL, compress_kinds=(kind,))
    lr, target, _ = satellite.degrade(key, image, config)
    assert np.ptp(lr, axis=(0, 1)).max() < 1e-4
    assert np.ptp(target, axis=(0, 1)).max() < 1e-4
    # JPEG on board rounds the square root of light to 8 bits.
    light = 1e-5 if kind == "wavelet" else 2.5 / 255
    np.testing.assert_allclose(lr[0, 0], target[0, 0], atol=4 * light)
    delivered = {**ALL, "quantize": True, "delivery_prob": 1.0}
    config = satellite.preset("full", **QUIET, **delivered, compress_kinds=(kind,))
    lr, again, _ = satellite.degrade(key, image, config)
    np.testing.assert_array_equal(again, target)
    assert np.ptp(lr, axis=(0, 1)).max() == 0
    assert np.abs(lr[0, 0] - target[0, 0]).max() < 2 / 255 + 4 * light


def test_constant_images_keep_their_value_without_a_tone_curve():
    image = np.full((96, 96, 4), 0.37, np.float32)
    fields = {**QUIET, **ALL, "tone_prob": 0.0, "compress_kinds": ["wavelet"]}
    config = satellite.preset("full", **fields)
    lr, target, _ = satellite.degrade(0, image, config)
    np.testing.assert_allclose(lr, 0.37, atol=2e-6)
    np.testing.assert_allclose(target, 0.37, atol=2e-6)


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("mtf", [0.1, 0.2, 0.3])
def test_contrast_at_nyquist_is_the_mtf(mtf, scale):
    centres = np.arange(40 * scale) - (scale - 1) / 2
    wave = (0.5 + 0.25 * np.cos(np.pi * centres / scale)).astype(np.float32)
    image = np.broadcast_to(wave[:, None, None], (wave.size, 16 * scale, 1))
    config = satellite.preset(
        "onboard_only", scale, **QUIET, geometry_prob=0.0, smear_prob=0.0,
        compress_prob=0.0, mtf_along=mtf,
    )  # fmt: skip
    lr = satellite.degrade(0, image, config)[0]
    assert np.ptp(lr[15:25]) / 0.5 == pytest.approx(mtf, rel=0.02)
    sensor = satellite.preset(
        "onboard_only", scale, **QUIET, geometry_prob=0.0, smear_prob=0.0,
        compress_prob=0.0, sensor="quickbird",
    )  # fmt: skip
    lr = satellite.degrade(0, np.repeat(image, 4, axis=2), sensor)[0]
    found = np.ptp(lr[15:25], axis=(0, 1)) / 0.5
    np.testing.assert_allclose(found, [0.34, 0.32, 0.30, 0.22], rtol=0.02)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_identity_returns_the_image(dtype):
    image = bands(4, dtype)
    top = 1.0 if dtype == np.float32 else np.iinfo(dtype).max
    off = {"geometry_prob": 0.0, "smear_prob": 0.0, "compress_prob": 0.0}
    detector = {"mtf_along": 1.0, "mtf_across": 1.0}
    for config in (
        satellite.preset("ideal_bicubic", 1),
        satellite.preset("onboard_only", 1, **QUIET, **off, **detector),
    ):
        lr, target, _ = satellite.degrade(0, image, config)
        np.testing.assert_array_equal(lr, target)
        if dtype == np.float32:
            np.testing.assert_array_equal(lr, image)
        else:
            np.testing.assert_array_equal(np.rint(lr * top), image)


def test_linearising_is_undone_without_a_tone_curve():
    config = satellite.preset("onboard_only", 2, **QUIET, geometry_prob=0.0)
    lr, target, meta = satellite.degrade(0, PHOTO, config)
    assert meta["linearize"] == 1
    np.testing.assert_allclose(target, PHOTO / 255, atol=1e-6)
    assert np.abs(lr.mean() - target.mean()) < 0.03
    # Values that are light stay so, and floats are taken for it.
    floats = PHOTO.astype(np.float32) / 255
    for image, choice, linear in (
        (PHOTO, "never", 0),
        (floats, "auto", 0),
        (floats, "always", 1),
        (PHOTO[..., :1], "auto", 0),
    ):
        config = satellite.preset("onboard_only", 2, linearize=choice)
        assert satellite.degrade(0, image, config)[2]["linearize"] == linear


def test_blur_is_of_light():
    # Half a pixel of white is half the light, 188 of 255.
    image = np.zeros((32, 32, 3), np.uint8)
    image[:, ::2] = 255
    off = {"geometry_prob": 0.0, "compress_prob": 0.0, "mtf_across": 1.0}
    config = satellite.preset("onboard_only", 2, **QUIET, **off)
    lr = satellite.degrade(0, image, config)[0]
    np.testing.assert_allclose(lr[:, 1:-1] * 255, 187.5, atol=0.2)


@pytest.mark.parametrize("name", satellite.PRESETS)
def test_keys_decide(name):
    image, kept = bands(3, np.uint8), bands(3, np.uint8)
    config = satellite.preset(name, 2)
    lr, target, meta = satellite.degrade((7, 1), image, config)
    again = satellite.degrade([7, 1], image, config)
    np.testing.assert_array_equal(lr, again[0])
    np.testing.assert_array_equal(target, again[1])
    assert meta == again[2]
    np.testing.assert_array_equal(image, kept)
    if name != "ideal_bicubic":
        for other in (7, (7, 0), (7, 2), (1, 7), 2**40, (7, 1, 0)):
            assert np.any(satellite.degrade(other, image, config)[0] != lr)


def test_keys_of_jax():
    image, config = bands(3), satellite.preset("full")
    lr = satellite.degrade(jax.random.key(5), image, config)[0]
    raw = jax.random.key_data(jax.random.key(5))
    for key in (raw, np.asarray(raw), (0, 5)):
        np.testing.assert_array_equal(satellite.degrade(key, image, config)[0], lr)
    split = jax.random.split(jax.random.key(5))[0]
    assert np.any(satellite.degrade(split, image, config)[0] != lr)


@pytest.mark.parametrize(
    "stage",
    ["geometry", "smear", "noise", "compress", "destripe", "denoise", "sharpen",
     "pansharpen", "resample", "tone", "delivery"],
)  # fmt: skip
def test_stages_draw_for_themselves(stage):
    image = bands(3)
    drawn = []
    for probability in (0.0, 1.0):
        config = satellite.preset("full", **{f"{stage}_prob": probability})
        meta = satellite.degrade(11, image, config)[2]
        assert meta[stage] == probability
        # The stretch follows the image, and columns are part of the noise.
        apart = (stage, "columns", "tone.low", "tone.high")
        drawn.append({k: v for k, v in meta.items() if not k.startswith(apart)})
    assert drawn[0] == drawn[1]
    assert len(drawn[0]) > 20


def test_stages_do_not_draw_the_same():
    draws = Draws(3)
    names = ("geometry", "noise", "columns", "compress", "tone")
    assert len({draws.stage(name).rng.random() for name in names}) == len(names)
    again = draws.stage("noise").rng.random(), Draws(3).stage("noise").rng.random()
    assert again[0] == again[1]


def test_tone_curve_is_the_same_for_both():
    image = bands(3, np.uint8, 96)
    fields = {"noise_prob": 0.0, "quantize": False, "delivery_prob": 0.0}
    for key in range(4):
        config = satellite.preset("full", linearize="never", **fields)
        lr, target, meta = satellite.degrade(key, image, config)
        plain = satellite.preset("full", linearize="never", tone_prob=0.0, **fields)
        light = satellite.degrade(key, image, plain)
        names = ("low", "high", "gamma", "contrast", "haze")
        curve = {name: meta[f"tone.{name}"] for name in names}
        for shown, before in ((lr, light[0]), (target, light[1])):
            # Sharpening leaves the range that is returned.
            inside = (before > 0) & (before < 1)
            assert inside.mean() > 0.9
            expected = satellite_ground.tone_curve(before, **curve)
            np.testing.assert_allclose(shown[inside], expected[inside], atol=1e-6)
        assert np.abs(target - light[1]).mean() > 0.02


@pytest.mark.parametrize("name", satellite.PRESETS)
@pytest.mark.parametrize("count", [1, 2, 3, 4, 8])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_any_bands(name, count, dtype):
    image = bands(count, dtype)[:61, :50]
    scale = {1: 1, 2: 2, 3: 2, 4: 3, 8: 4}[count]
    lr, target, meta = satellite.degrade(2, image, satellite.preset(name, scale))
    small = (61 // scale, 50 // scale)
    assert lr.shape == (*small, count)
    assert target.shape == (small[0] * scale, small[1] * scale, count)
    for result in (lr, target):
        assert result.dtype == np.float32
        assert np.isfinite(result).all()
        assert 0 <= result.min() < result.max() <= 1
    assert json.loads(json.dumps(meta)) == meta
    assert {type(value) for value in meta.values()} <= {int, float, str}
    assert meta["scale"] == scale
    assert meta["bands"] == count
    if count < 3 and name != "realesrgan":
        assert meta["pansharpen"] == 0


def test_sixteen_bits_come_back():
    image = bands(3, np.uint16) + np.arange(64, dtype=np.uint16)[:, None, None] % 4
    lr, target, _ = satellite.degrade(0, image, satellite.preset("ideal_bicubic", 1))
    for result in (lr, target):
        np.testing.assert_array_equal(np.rint(result * 65535), image)


def test_products_are_worse_than_bicubic_ones():
    errors = {}
    for name in ("ideal_bicubic", "full"):
        config = satellite.preset(name, 2, tone_prob=0.0, haze=0.0)
        lr, target, _ = satellite.degrade(5, PHOTO, config)
        plain = target.reshape(80, 2, 80, 2, 3).mean((1, 3))
        errors[name] = np.abs(lr - plain).mean()
    assert errors["full"] > 2 * errors["ideal_bicubic"]


def test_presets_have_their_stages():
    def ran(name):
        meta = satellite.degrade(1, bands(3, np.uint8), satellite.preset(name))[2]
        return {key for key, value in meta.items() if "." not in key and value == 1}

    assert ran("ideal_bicubic") == set()
    board = {"linearize", "geometry", "smear", "noise"}
    assert board <= ran("onboard_only") <= board | {"compress"}
    assert {"linearize", "tone", "resample"} <= ran("ground_only")
    assert not ran("ground_only") & (board - {"linearize"})
    assert satellite.preset("full") == SatelliteConfig()
