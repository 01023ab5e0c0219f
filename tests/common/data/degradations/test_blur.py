"""Moments of blur kernels: their sum, centre, length and angle."""

import numpy as np
import pytest
from skimage import data

from common.data.degradations import blur
from common.data.degradations.srgb import to_linear

# Sharing a point among four pixels adds on average 1/6 to the variance of an axis.
SHARING = 1 / 6


def moments(kernel):
    """Returns the centre and the covariance (x, y) of a kernel about its middle."""
    reach = len(kernel) // 2
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    weights = kernel.astype(np.float64)
    center = np.array([(weights * x).sum(), (weights * y).sum()])
    points = np.stack([x.ravel(), y.ravel()]) - center[:, None]
    return center, (weights.ravel() * points) @ points.T


@pytest.mark.parametrize(
    ("length", "angle"), [(9, 0), (15, 90), (21, 30), (21, -150), (12.5, 135), (40, 77)]
)
def test_straight_kernel_has_its_length_and_angle(length, angle):
    kernel = blur.kernel(blur.straight(length, angle))
    assert kernel.dtype == np.float32
    assert kernel.sum() == pytest.approx(1, abs=1e-5)
    center, covariance = moments(kernel)
    np.testing.assert_allclose(center, 0, atol=1e-4)
    variances, axes = np.linalg.eigh(covariance)
    assert variances[1] - SHARING == pytest.approx(length**2 / 12, rel=0.02)
    assert variances[0] < SHARING + 0.1
    # y points down; 0 and 180 degrees are the same line.
    found = np.degrees(np.arctan2(-axes[1, 1], axes[0, 1]))
    assert abs((found - angle + 90) % 180 - 90) < 1


@pytest.mark.parametrize(
    "path", [blur.straight(0, 0), blur.shaken(0, 0.1, np.random.default_rng(0))]
)
def test_no_motion_is_no_blur(path):
    kernel = blur.kernel(path)
    middle = len(kernel) // 2
    assert kernel[middle, middle] == pytest.approx(1)


@pytest.mark.parametrize("anxiety", [0.0, 0.005, 0.1])
def test_shaken_path_has_its_length_and_stays_in_place(anxiety):
    rng = np.random.default_rng(0)
    for _ in range(5):
        path = blur.shaken(40.0, anxiety, rng)
        assert np.abs(np.diff(path)).sum() == pytest.approx(40, rel=1e-6)
        kernel = blur.kernel(path)
        assert kernel.sum() == pytest.approx(1, abs=1e-5)
        np.testing.assert_allclose(moments(kernel)[0], 0, atol=1e-3)


def test_anxiety_bends_the_path():
    def spread(anxiety):
        rng = np.random.default_rng(0)
        return np.mean([blur.shaken(40, anxiety, rng).std() for _ in range(20)])

    straight = 40 / 12**0.5
    assert spread(0.0) == pytest.approx(straight, rel=0.01)
    assert spread(0.005) < 0.8 * straight
    assert spread(0.1) < 0.5 * spread(0.005)


@pytest.mark.parametrize("degradation", [blur.MotionBlur(15), blur.CameraShake(40)])
def test_light_is_kept_in_a_photograph(degradation):
    clean = data.astronaut()[:128, 128:256].astype(np.float32) / 255
    # Mirrored copies have no border, so that no light enters or leaves.
    clean = np.concatenate([clean, clean[::-1]])
    clean = np.concatenate([clean, clean[:, ::-1]], 1)
    blurred = degradation(clean, np.random.default_rng(0))
    before, after = to_linear(clean), to_linear(blurred)
    np.testing.assert_allclose(after.mean((0, 1)), before.mean((0, 1)), rtol=0.01)
    assert after.std() < 0.98 * before.std()
    assert np.abs(np.diff(after, axis=1)).mean() < 0.7 * np.mean(
        np.abs(np.diff(before, axis=1))
    )


def test_light_is_blurred_not_stored_values():
    edge = np.zeros((31, 31, 3), np.float32)
    edge[:, 16:] = 1
    # Half of the kernel sees white: half the light, not half the stored value.
    result = blur.MotionBlur(11, 0)(edge, np.random.default_rng(0))
    light = to_linear(result)[15, :, 0]
    assert (light[15] + light[16]) / 2 == pytest.approx(0.5, abs=0.01)
    assert result[15, 15:17, 0].mean() > 0.7
    # Vertically nothing changes.
    np.testing.assert_allclose(result, np.broadcast_to(result[:1], result.shape))
