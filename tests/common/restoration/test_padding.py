"""The official padding: against its own numbers, and against NumPy's own padding."""

import json
import pathlib

import numpy as np
import pytest

from common.restoration.padding import Padding

GOLDEN = pathlib.Path(__file__).resolve().parents[2] / "golden/maxim/padding.json"
TABLE = json.loads(GOLDEN.read_text())


def ramp(height, width):
    return np.arange(height * width, dtype=np.float64).reshape(height, width, 1)


@pytest.mark.parametrize("size", TABLE)
def test_as_the_official_script(size):
    height, width = map(int, size.split("x"))
    expected, image = TABLE[size], ramp(height, width)
    padding = Padding.to_multiple(height, width, 64)
    assert list(padding.even) == expected["even"]
    assert list(padding.padded) == expected["padded"]
    assert list(padding.start) == expected["crop_start"]
    padded = padding.pad(image)
    assert (
        padded[[0, 0, -1, -1], [0, -1, 0, -1], 0].tolist()
        == (expected["corner_values"])
    )
    np.testing.assert_array_equal(padding.crop(padded), image)


@pytest.mark.parametrize("size", [(1, 1), (1, 6), (3, 2), (70, 129), (64, 63)])
@pytest.mark.parametrize("multiple", [2, 12, 64])
def test_every_pixel_is_where_numpy_puts_it(size, multiple):
    image = np.random.default_rng(0).random((*size, 3))
    padding = Padding.to_multiple(*size, multiple)
    odd = [side % 2 for side in size]
    expected = np.pad(image, ((0, odd[0]), (0, odd[1]), (0, 0)), "reflect")
    lacking = [-side % multiple for side in expected.shape[:2]]
    halves = [(lack // 2, lack - lack // 2) for lack in lacking]
    expected = np.pad(expected, (*halves, (0, 0)), "reflect")
    assert padding.padded == expected.shape[:2]
    np.testing.assert_array_equal(padding.pad(image), expected)
    np.testing.assert_array_equal(padding.crop(expected), image)


def test_what_fits_is_not_copied():
    image = ramp(64, 128)
    assert Padding.to_multiple(64, 128, 64).pad(image) is image


def test_nothing_is_added_where_every_size_is_right():
    padding = Padding.to_multiple(7, 4, 1)
    assert padding.padded == padding.size == (7, 4)
    image = np.arange(84.0).reshape(7, 4, 3)
    np.testing.assert_array_equal(padding.pad(image), image)
