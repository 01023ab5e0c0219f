"""Each kind of noise, number by number, against the protocol it is named after."""

import io

import numpy as np
import pytest
from PIL import Image

from common.errors import ConfigError
from robust import noise
from robust.noise import label_noise
from tests.common.data.files import encoded, pixels

CIFAR10 = "airplane automobile bird cat deer dog frog horse ship truck".split()


def balanced(num_classes, count=20_000):
    return np.arange(count) % num_classes


def rng(seed=0):
    return np.random.default_rng(seed)


@pytest.mark.parametrize(
    ("count", "rate", "wrong"), [(100, 0.29, 29), (1437, 0.4, 574), (10, 1.0, 10)]
)
def test_exact_noise_is_of_so_many(count, rate, wrong):
    """Also where the product of floats is just below the whole number."""
    noisy = label_noise("symmetric_exact", balanced(10, count), 10, rate, seed=0)
    assert noisy.mask.sum() == wrong
    if rate < 1:
        assert 0.3 < np.flatnonzero(noisy.mask).mean() / count < 0.7  # anywhere


def test_cifar10_classes_become_what_they_look_like():
    """Names, so that a slip in the numbers shows."""
    pairs = {"truck": "automobile", "bird": "airplane", "deer": "horse"}
    pairs |= {"cat": "dog", "dog": "cat"}
    noisy = label_noise("asymmetric_cifar10", balanced(10, 10), 10, 1.0, seed=0)
    assert [CIFAR10[i] for i in noisy.labels] == [pairs.get(c, c) for c in CIFAR10]


def test_exact_cifar10_noise_counts_all_examples():
    labels = rng().integers(0, 10, 999)
    whole = label_noise("asymmetric_cifar10", labels, 10, 1.0, seed=0)
    noisy = label_noise("asymmetric_cifar10_exact", labels, 10, 0.4, seed=0)
    assert noisy.mask.sum() == 199
    np.testing.assert_array_equal(noisy.labels[noisy.mask], whole.labels[noisy.mask])
    few = label_noise("asymmetric_cifar10_exact", np.array([0, 2, 1, 1]), 10, 1.0, 0)
    np.testing.assert_array_equal(few.labels, [0, 0, 1, 1])  # no more of them


def test_cifar100_moves_among_all_five():
    labels = balanced(100)
    noisy = label_noise("asymmetric_cifar100", labels, 100, 1.0, seed=0)
    assert noisy.mask.all()
    counts = np.histogram2d(labels, noisy.labels, bins=100)[0]
    for five in noise.superclasses():
        within = counts[np.ix_(five, five)]
        assert within.sum() == 1000
        assert within[~np.eye(5, dtype=bool)].min() > 20  # of 50
        moved = label_noise("asymmetric_cifar100_next", five, 100, 1.0, seed=0)
        np.testing.assert_array_equal(moved.labels, np.roll(five, -1))


def test_draws_are_the_same_everywhere():
    """Made once; another machine or version that draws otherwise is another study."""
    noisy = label_noise("symmetric", balanced(10, 12), 10, 0.5, seed=7)
    np.testing.assert_array_equal(noisy.labels, [0, 1, 2, 8, 9, 5, 2, 7, 8, 8, 8, 9])


def test_labels_given_are_left_alone():
    labels = balanced(10, 100)
    label_noise("pair", labels, 10, 1.0, seed=0)
    np.testing.assert_array_equal(labels, balanced(10, 100))


def test_a_rate_that_is_no_number():
    with pytest.raises(ConfigError, match=r"config\.noise\.rate.*given nan"):
        label_noise("pair", balanced(10, 4), 10, float("nan"), seed=0)


@pytest.mark.parametrize("kind", noise.IMAGE_KINDS)
def test_the_picture_given_is_left_alone(kind):
    image = pixels(8, 8)
    image.setflags(write=False)
    assert np.any(noise.corrupt(image, kind, rng()) != image)


def test_blur_is_of_one_to_three_pixels_of_32():
    """An edge's slope is the blur's Gaussian, whose deviation is measured."""
    edge = np.zeros((64, 96, 3), np.uint8)
    edge[:, 48:] = 255
    found = set()
    for seed in range(12):
        row = noise.corrupt(edge, "blur", rng(seed))[32, :, 0].astype(float)
        slope, x = np.diff(row), np.arange(95)
        mean = np.average(x, weights=slope)
        found.add(round(np.average((x - mean) ** 2, weights=slope) ** 0.5, 0))
    assert found == {2, 4, 6}


def test_jpeg_is_what_pillow_keeps():
    image = pixels(32, 32)
    files = (encoded(image, "JPEG", quality=quality) for quality in range(5, 26))
    kept = [np.asarray(Image.open(io.BytesIO(file))) for file in files]
    drawn = set()
    for seed in range(80):
        spoilt = noise.corrupt(image, "jpeg", rng(seed))
        same = [np.array_equal(spoilt, candidate) for candidate in kept]
        assert any(same)
        drawn.add(5 + same.index(True))
    assert len(drawn) > 15


def test_gaussian_noise_is_of_a_fifth_to_half_of_the_range():
    grey = np.full((64, 64, 3), 128, np.uint8)
    clipped = []
    for seed in range(40):
        spoilt = noise.corrupt(grey, "gaussian_noise", rng(seed))
        clipped.append(np.mean((spoilt == 0) | (spoilt == 255)))
    # Two-sided tail of a Gaussian beyond 2.5 and beyond 1 standard deviation.
    assert 0.010 < min(clipped) < 0.05
    assert 0.25 < max(clipped) < 0.325


def test_salt_and_pepper():
    grey = np.full((64, 64, 3), 128, np.uint8)
    shares = []
    for seed in range(40):
        spoilt = noise.corrupt(grey, "salt_and_pepper", rng(seed))
        hit = spoilt[..., 0] != 128
        assert (spoilt == spoilt[..., :1]).all()
        assert set(np.unique(spoilt[hit])) == {0, 255}
        shares.append(hit.mean())
    assert 0.08 < min(shares) < 0.15
    assert 0.25 < max(shares) < 0.32


def test_random_pixels_keep_mean_and_deviation_alone():
    image = np.clip(pixels(96, 96), 100, 160) + np.array([0, 20, 40], np.uint8)
    spoilt = noise.corrupt(image, "random_pixels", rng())
    axes = (0, 1)
    np.testing.assert_allclose(spoilt.mean(axes), image.mean(axes), atol=2)
    np.testing.assert_allclose(spoilt.std(axes), image.std(axes), rtol=0.05)
    red, before = spoilt[..., 0].ravel(), image[..., 0].ravel()
    assert abs(np.corrcoef(red, before)[0, 1]) < 0.05


def test_shuffle_only_moves_whole_pixels():
    image = pixels(32, 32)
    spoilt = noise.corrupt(image, "shuffle", rng())
    packed = [x.reshape(-1, 3) @ np.array([1, 256, 65536]) for x in (image, spoilt)]
    np.testing.assert_array_equal(*map(np.sort, packed))
    assert np.mean(packed[0] != packed[1]) > 0.9


def test_occlusion_is_one_square_anywhere():
    image = pixels(32, 48)
    corners = set()
    for seed in range(30):
        spoilt = noise.corrupt(image, "occlusion", rng(seed))
        changed = np.argwhere(np.any(spoilt != image, axis=-1))
        (top, left), (bottom, right) = changed.min(0), changed.max(0)
        assert bottom - top < 16
        assert right - left < 16
        inside = spoilt[top : bottom + 1, left : right + 1].reshape(-1, 3)
        assert len(np.unique(inside, axis=0)) == 1
        assert len(changed) > 0.9 * 16 * 16
        corners.add((int(top), int(left)))
    assert len(corners) > 20
    assert max(left for _, left in corners) > 20


def test_low_resolution_keeps_means_of_four_by_four():
    for stripes in np.indices((32, 32)) // 2 % 2:  # two pixels wide, either way
        fine = np.repeat(stripes[..., None] * 254, 3, -1).astype(np.uint8)
        spoilt = noise.corrupt(fine, "low_resolution", rng())
        np.testing.assert_array_equal(spoilt, 127)
    coarse = np.kron(rng().integers(60, 200, (2, 2)), np.ones((16, 16)))
    wide = np.repeat(coarse[..., None], 3, -1).astype(np.uint8)
    spoilt = noise.corrupt(wide, "low_resolution", rng())
    np.testing.assert_array_equal(spoilt[4:10, 4:10], wide[4:10, 4:10])
