"""Rates, tables and repeatability of made noise."""

import numpy as np
import pytest

from common.errors import ConfigError
from robust import noise

LABELS = np.random.default_rng(0).integers(0, 10, 20_000)
FINE = np.random.default_rng(0).integers(0, 100, 20_000)
# The coarse label of each fine label, as CIFAR-100's files have them.
COARSE = """
4 1 14 8 0 6 7 7 18 3 3 14 9 18 7 11 3 9 7 11 6 11 5 10 7 6 13 15 3 15 0 11 1
10 12 14 16 9 11 5 5 19 8 8 15 13 14 17 18 10 16 4 17 4 2 0 17 4 18 17 10 3 2 12 12 16
12 1 9 19 2 10 0 1 16 12 9 13 15 13 16 19 2 4 6 19 5 5 8 19 18 1 2 15 6 0 17 8 14 13"""


def test_symmetric_rates():
    flipped = noise.label_noise("symmetric", LABELS, 10, 0.4, 0)
    assert flipped.mask.mean() == pytest.approx(0.4, abs=0.012)
    np.testing.assert_array_equal(flipped.mask, flipped.labels != LABELS)
    drawn = noise.label_noise("symmetric_resample", LABELS, 10, 0.4, 0)
    assert drawn.mask.mean() == pytest.approx(0.36, abs=0.012)
    exact = noise.label_noise("symmetric_exact", LABELS[:1001], 10, 0.4, 0)
    assert exact.mask.sum() == 400
    for found in (flipped, exact):  # the wrong labels are all equally likely
        offsets = (found.labels - LABELS[: len(found.labels)])[found.mask] % 10
        counts = np.bincount(offsets, minlength=10)
        assert counts[0] == 0
        assert counts[1:].min() > 0.6 * counts[1:].mean()


@pytest.mark.parametrize("kind", noise.LABEL_KINDS)
def test_noise_follows_from_the_seed(kind):
    labels, classes = (FINE, 100) if "cifar100" in kind else (LABELS, 10)
    first, again, other = (
        noise.label_noise(kind, labels, classes, 0.3, seed) for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first.labels, again.labels)
    assert (first.labels != other.labels).any()
    assert 0 <= first.labels.min() <= first.labels.max() < classes
    none = noise.label_noise(kind, labels, classes, 0.0, 1)
    assert not none.mask.any()


def test_look_alikes():
    pairs = {
        "asymmetric_cifar10": {9: 1, 2: 0, 4: 7, 3: 5, 5: 3},
        "asymmetric_mnist": {7: 1, 2: 7, 3: 8, 5: 6, 6: 5},
    }
    for kind, table in pairs.items():
        found = noise.label_noise(kind, LABELS, 10, 0.3, 0)
        for label in range(10):
            own = label == LABELS
            wrong = found.labels[own & found.mask]
            assert set(wrong) == ({table[label]} if label in table else set())
            rate = 0.3 if label in table else 0.0
            assert found.mask[own].mean() == pytest.approx(rate, abs=0.04)
    exact = noise.label_noise("asymmetric_cifar10_exact", LABELS, 10, 0.4, 0)
    assert exact.mask.sum() == 4000
    pair = noise.label_noise("pair", LABELS, 10, 1.0, 0)
    np.testing.assert_array_equal(pair.labels, (LABELS + 1) % 10)


def test_superclasses_are_those_of_the_data():
    coarse = np.array(COARSE.split(), int)
    members = noise.superclasses()
    assert members.shape == (20, 5)
    for five in members:
        assert len(set(coarse[five])) == 1
    assert sorted(members.ravel()) == list(range(100))
    for kind in ("asymmetric_cifar100", "asymmetric_cifar100_next"):
        found = noise.label_noise(kind, FINE, 100, 0.4, 0)
        assert found.mask.mean() == pytest.approx(0.4, abs=0.012)
        np.testing.assert_array_equal(coarse[found.labels], coarse[FINE])
    steps = {(list(row).index(b) - list(row).index(a)) % 5
             for a, b in zip(FINE, found.labels, strict=True) if a != b
             for row in members if a in row}  # fmt: skip
    assert steps == {1}


@pytest.mark.parametrize(
    ("kind", "classes", "rate", "message"),
    [
        ("symetric", 10, 0.4, "did you mean 'symmetric'"),
        ("symmetric", 10, 1.2, r"in \[0, 1\], given 1.2"),
        ("asymmetric_cifar100", 10, 0.4, "is of 100 classes, the data has 10"),
        ("asymmetric_mnist", 11, 0.4, "is of 10 classes"),
        ("symmetric", 1, 0.4, "at least 2 classes"),
    ],
)
def test_noise_that_cannot_be(kind, classes, rate, message):
    with pytest.raises(ConfigError, match=message):
        noise.label_noise(kind, LABELS, classes, rate, 0)


@pytest.fixture(scope="module")
def picture():
    from skimage import data

    return np.ascontiguousarray(data.astronaut()[60:156, 180:260])


@pytest.mark.parametrize("kind", noise.IMAGE_KINDS)
def test_spoilt_pictures(kind, picture):
    first, again, other = (
        noise.corrupt(picture, kind, np.random.default_rng(seed)) for seed in (1, 1, 4)
    )
    assert first.dtype == np.uint8
    assert first.shape == picture.shape
    np.testing.assert_array_equal(first, again)
    wrong = np.abs(first.astype(float) - picture).mean()
    assert 2 < wrong < 100
    if kind != "low_resolution":
        assert (first != other).any()
    tiny = noise.corrupt(picture[:3, :2], kind, np.random.default_rng(0))
    assert tiny.shape == (3, 2, 3)


def test_what_each_kind_leaves(picture):
    def spoil(kind):
        return noise.corrupt(picture, kind, np.random.default_rng(0))

    def rough(image):
        return np.abs(np.diff(image.astype(float), axis=0)).mean()

    assert rough(spoil("blur")) < 0.7 * rough(picture)
    assert rough(spoil("low_resolution")) < 0.9 * rough(picture)
    for channel in range(3):
        np.testing.assert_array_equal(
            np.sort(spoil("shuffle")[..., channel].ravel()),
            np.sort(picture[..., channel].ravel()),
        )
    same = (spoil("occlusion") == picture).all(-1)
    assert 0.7 < same.mean() < 0.9  # a square of half of the shorter side
    grains = (spoil("salt_and_pepper") != picture).any(-1)
    assert 0.08 < grains.mean() < 0.32
    drawn, clean = (x.astype(float) for x in (spoil("random_pixels"), picture))
    np.testing.assert_allclose(drawn.mean((0, 1)), clean.mean((0, 1)), atol=12)


def test_unknown_kind_of_picture(picture):
    with pytest.raises(ConfigError, match="did you mean 'occlusion'"):
        noise.corrupt(picture, "oclusion", np.random.default_rng(0))
