"""RandAugment operations against hand-computed results."""

import math

import numpy as np
import pytest
from PIL import Image

from common.data import randaugment
from common.data.randaugment import NAMES, RandAugment, apply, level_value
from common.errors import ConfigError


class Direction:
    """A generator that always gives one direction and one place."""

    def __init__(self, positive=True, place=0):
        self._uniform = 0.9 if positive else 0.1
        self._place = place

    def random(self):
        return self._uniform

    def integers(self, high):
        return self._place


def run(name, array, magnitude, rng=None):
    image = Image.fromarray(np.asarray(array, np.uint8))
    return np.asarray(apply(name, image, magnitude, rng or Direction())).astype(int)


def ramp(height=6, width=8):
    """Distinct values per pixel and channel, below 128."""
    return np.arange(height * width * 3).reshape(height, width, 3) % 128


def texture():
    return np.random.default_rng(0).integers(0, 256, (12, 12, 3))


GRAY_WEIGHTS = np.array([19595, 38470, 7471]) / 65536  # ITU-R 601


def blend(degenerate, array, factor):
    return np.clip(degenerate + factor * (np.asarray(array) - degenerate), 0, 255)


def test_there_are_sixteen_operations():
    assert len(NAMES) == len(set(NAMES)) == 16


@pytest.mark.parametrize(
    ("name", "at_0", "at_10", "at_15"),
    [
        ("Rotate", 0, 30, 45),
        ("Posterize", 1, 4, 6),
        ("Solarize", 0, 256, 256),
        ("SolarizeAdd", 0, 110, 165),
        ("Color", 0.1, 1.9, 2.8),
        ("Contrast", 0.1, 1.9, 2.8),
        ("Brightness", 0.1, 1.9, 2.8),
        ("Sharpness", 0.1, 1.9, 2.8),
        ("ShearX", 0, 0.3, 0.45),
        ("ShearY", 0, 0.3, 0.45),
        ("TranslateX", 0, 100, 150),
        ("TranslateY", 0, 100, 150),
        ("Cutout", 0, 40, 60),
        ("Invert", 0, 0, 0),
    ],
)
def test_levels(name, at_0, at_10, at_15):
    values = [level_value(name, m) for m in (0, 10, 15)]
    np.testing.assert_allclose(values, [at_0, at_10, at_15])


def test_posterize_never_exceeds_eight_bits():
    assert level_value("Posterize", 30) == 8


@pytest.mark.parametrize(
    ("name", "magnitude"),
    [
        *((n, 5) for n in ("Color", "Contrast", "Brightness", "Sharpness")),
        *((n, 0) for n in ("Rotate", "ShearX", "ShearY", "TranslateX", "TranslateY")),
        ("Cutout", 0),
        ("SolarizeAdd", 0),
        ("Solarize", 10),
        ("Solarize", 15),
        ("Posterize", 20),
    ],
)
def test_identity_levels(name, magnitude):
    np.testing.assert_array_equal(run(name, texture(), magnitude), texture())


def test_invert():
    np.testing.assert_array_equal(run("Invert", texture(), 9), 255 - texture())


def test_autocontrast_stretches_each_channel():
    array = np.stack([np.array([[50, 60, 101]])] * 3, axis=-1)
    array[..., 1] = [[0, 10, 255]]  # already full
    array[..., 2] = 7  # nothing to stretch
    result = run("AutoContrast", array, 9)
    np.testing.assert_array_equal(result[0, :, 0], [0, 50, 255])
    np.testing.assert_array_equal(result[0, :, 1:], array[0, :, 1:])


def test_equalize_spreads_two_equal_halves():
    array = np.full((30, 17, 3), 10)
    array[:15] = 20
    result = run("Equalize", array, 9)
    assert (result[:15] == 255).all()
    assert (result[15:] == 0).all()


def test_posterize_masks_low_bits():
    np.testing.assert_array_equal(run("Posterize", texture(), 10), texture() & 0xF0)
    np.testing.assert_array_equal(run("Posterize", texture(), 15), texture() & 0xFC)


def test_solarize_inverts_bright_values():
    expected = np.where(texture() < 128, texture(), 255 - texture())
    np.testing.assert_array_equal(run("Solarize", texture(), 5), expected)


def test_solarize_add_brightens_dark_values():
    expected = np.where(texture() < 128, np.minimum(texture() + 165, 255), texture())
    np.testing.assert_array_equal(run("SolarizeAdd", texture(), 15), expected)


def test_color_blends_with_grey():
    gray = np.rint(texture() @ GRAY_WEIGHTS)[..., None]
    np.testing.assert_allclose(
        run("Color", texture(), 15), blend(gray, texture(), 2.8), atol=3
    )
    np.testing.assert_allclose(
        run("Color", texture(), 0), blend(gray, texture(), 0.1), atol=1.01
    )


def test_contrast_blends_with_the_mean():
    mean = int((texture() @ GRAY_WEIGHTS).mean() + 0.5)
    np.testing.assert_allclose(
        run("Contrast", texture(), 10), blend(mean, texture(), 1.9), atol=2
    )


def test_brightness_scales():
    np.testing.assert_allclose(
        run("Brightness", texture(), 15), blend(0, texture(), 2.8), atol=1
    )


def test_sharpness_goes_away_from_the_smoothed_image():
    """A spot of 200: smoothed to 5 / 13 of it, neighbours to 1 / 13."""
    array = np.zeros((7, 7, 3))
    array[3, 3] = 200
    smooth = np.zeros((7, 7, 1))
    smooth[2:5, 2:5] = round(200 / 13)
    smooth[3, 3] = round(1000 / 13)
    np.testing.assert_allclose(
        run("Sharpness", array, 0), blend(smooth, array, 0.1), atol=1.01
    )
    np.testing.assert_allclose(
        run("Sharpness", array, 10), blend(smooth, array, 1.9), atol=1.01
    )


@pytest.mark.parametrize("positive", [True, False])
@pytest.mark.parametrize("name", ["ShearX", "ShearY"])
def test_shear_moves_rows_by_their_index(name, positive):
    array = ramp(9, 9)
    source = array if name == "ShearX" else array.swapaxes(0, 1)
    expected = np.full_like(source, 128)
    factor = 0.45 if positive else -0.45
    for y in range(9):
        for x in range(9):
            x_in = math.floor(x + factor * y + 0.5)
            if 0 <= x_in < 9:
                expected[y, x] = source[y, x_in]
    if name == "ShearY":
        expected = expected.swapaxes(0, 1)
    result = run(name, array, 15, Direction(positive))
    np.testing.assert_array_equal(result, expected)


def test_translate_by_pixels_whatever_the_size():
    array = ramp(24, 40)
    left = run("TranslateX", array, 0.7)  # 7 pixels
    np.testing.assert_array_equal(left[:, :33], array[:, 7:])
    assert (left[:, 33:] == 128).all()
    down = run("TranslateY", array, 0.7, Direction(positive=False))
    np.testing.assert_array_equal(down[7:], array[:17])
    assert (down[:7] == 128).all()
    assert (run("TranslateX", array, 10) == 128).all()  # 100 pixels of 40


@pytest.mark.parametrize("positive", [True, False])
def test_rotate_samples_the_nearest_pixel(positive):
    array = ramp(11, 11)
    angle = math.radians(45 if positive else -45)
    cos, sin = math.cos(angle), math.sin(angle)
    result = run("Rotate", array, 15, Direction(positive))
    for y in range(11):
        for x in range(11):
            # Counter-clockwise on the screen, about the centre (5, 5).
            x_in = 5 + cos * (x - 5) - sin * (y - 5)
            y_in = 5 + sin * (x - 5) + cos * (y - 5)
            xi, yi = math.floor(x_in + 0.5), math.floor(y_in + 0.5)
            inside = 0 <= xi < 11 and 0 <= yi < 11
            expected = array[yi, xi] if inside else [128] * 3
            np.testing.assert_array_equal(result[y, x], expected)


def test_cutout_box_is_clipped():
    array = ramp(20, 30)
    result = run("Cutout", array, 1, Direction(place=2))  # half side 4, centre (2, 2)
    expected = array.copy()
    expected[0:6, 0:6] = 128
    np.testing.assert_array_equal(result, expected)


def test_cutout_leaves_its_input_alone():
    image = Image.new("RGB", (10, 10))
    randaugment.cutout(image, 3, (5, 5))
    assert image.getextrema() == ((0, 0),) * 3


def test_random_map_depends_on_the_generator_only():
    example = {"image": Image.fromarray(texture().astype(np.uint8)).resize((64, 64))}
    augment = RandAugment(num_layers=2, magnitude=3)
    seeds = (0, 0, *range(1, 30))
    drawn = [augment.random_map(example, np.random.default_rng(s)) for s in seeds]
    results = [np.asarray(result["image"]) for result in drawn]
    np.testing.assert_array_equal(results[0], results[1])
    assert len({r.tobytes() for r in results}) > 25
    assert all(r.shape == (64, 64, 3) for r in results)


def test_every_operation_is_drawn_and_both_directions_occur():
    names, directions = set(), set()
    generator = np.random.default_rng(0)
    for _ in range(300):
        names.add(NAMES[generator.integers(len(NAMES))])
    assert names == set(NAMES)
    for seed in range(20):
        result = run("TranslateX", ramp(4, 8), 0.1, np.random.default_rng(seed))
        directions.add(bool((result[:, 0] == 128).all()))
    assert directions == {True, False}


def test_no_layers_is_the_identity():
    image = Image.fromarray(texture().astype(np.uint8))
    result = RandAugment(0, 15).random_map({"image": image}, np.random.default_rng(0))
    assert result["image"] is image


def test_negative_settings():
    with pytest.raises(ConfigError):
        RandAugment(num_layers=2, magnitude=-1)
