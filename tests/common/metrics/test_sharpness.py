"""The error of sharpness: what it sees, and what it does not."""

import numpy as np
import pytest
from scipy import ndimage
from skimage import data

from common.errors import DataError
from common.metrics.sharpness import sharpness_error

PHOTO = data.astronaut()[:128, 100:228] / 255


def test_half_the_contrast_is_half_the_gradients():
    assert sharpness_error(PHOTO / 2, PHOTO) == pytest.approx(1, abs=1e-6)
    assert sharpness_error(PHOTO * 2, PHOTO) == pytest.approx(1, abs=1e-6)
    assert sharpness_error(PHOTO + 3, PHOTO) == pytest.approx(0, abs=1e-9)


def test_blur_and_noise_are_errors_and_place_is_none():
    blurred = ndimage.gaussian_filter(PHOTO, (2, 2, 0))
    noisy = PHOTO + np.random.default_rng(0).normal(0, 0.1, PHOTO.shape)
    assert sharpness_error(blurred, PHOTO) > 1
    assert sharpness_error(noisy, PHOTO) > 0.5
    assert sharpness_error(PHOTO[::-1, ::-1], PHOTO) < 0.02


def test_flat_images():
    flat = np.full((4, 4, 3), 0.5)
    assert sharpness_error(flat, flat) == 0
    assert 5 < sharpness_error(flat, PHOTO[:4, :4]) < 20


def test_no_images():
    with pytest.raises(DataError, match="sharpness"):
        sharpness_error(PHOTO, PHOTO[:5])
