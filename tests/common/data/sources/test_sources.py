"""`open_source`, and the sources that need no files of the user."""

import ml_collections
import numpy as np
import pytest

from common.data.decode import decode
from common.data.sources import fake, open_source
from common.errors import ConfigError


def config(source, **changes):
    base = {
        "source": source,
        "name": "",
        "train_split": "train",
        "eval_split": "validation",
        "num_classes": 4,
        "image_size": 16,
        "split_seed": 0,
        "pairs": False,
    }
    return ml_collections.ConfigDict(base | changes)


def check_contract(source):
    """Every source has what the pipeline relies on."""
    for index in (0, len(source) - 1):
        example = source[index]
        assert example["id"] == index
        assert isinstance(example["name"], str)
        assert 0 <= example["label"] < len(source.class_names)
        assert decode(example["image"]).mode == "RGB"


def test_unknown_names():
    with pytest.raises(ConfigError, match=r"'foldr'; did you mean 'folder'"):
        open_source(config("foldr"), "train")
    with pytest.raises(ConfigError, match="did you mean 'eval'"):
        open_source(config("fake"), "evl")
    with pytest.raises(ConfigError, match="did you mean 'digits'"):
        open_source(config("bundled", name="digit"), "train")


def test_fake_is_deterministic_and_learnable():
    source = open_source(config("fake"), "train")
    again = open_source(config("fake"), "train")
    held_out = open_source(config("fake"), "eval")
    check_contract(source)
    np.testing.assert_array_equal(source[7]["image"], again[7]["image"])
    assert np.any(source[7]["image"] != held_out[7]["image"])
    means = [source[i]["image"].mean() for i in range(4)]
    np.testing.assert_allclose(means, [63.5, 106, 148.5, 191.5], atol=8)
    assert source[5]["image"].shape == (16, 16, 3)
    assert source[5]["image"].dtype == np.uint8
    assert source[5]["label"] == 1


def test_fake_has_a_default_length_and_takes_a_shape():
    source = open_source(config("fake", image_size=(8, 12)), "train")
    assert len(source) == 1_281_167
    assert len(open_source(config("fake"), "eval")) == 1024
    assert source[0]["image"].shape == (8, 12, 3)
    assert len(open_source(config("fake", num_classes=None), "train").class_names) == 10


def test_fake_pairs_are_smooth_targets_and_noisy_images():
    source = open_source(config("fake", pairs=True, image_size=(48, 64)), "train")
    held_out = open_source(config("fake", pairs=True, image_size=(48, 64)), "eval")
    assert (len(source), len(held_out)) == (10_000, 16)
    example = source[3]
    assert set(example) == {"image", "target", "id", "name"}
    np.testing.assert_array_equal(example["image"], source[3]["image"])
    assert np.any(example["target"] != held_out[3]["target"])
    assert np.any(example["target"] != source[4]["target"])
    image, target = (example[key].astype(float) for key in ("image", "target"))
    assert image.shape == target.shape == (48, 64, 3)
    inside = (target > 75) & (target < 180)  # where nothing is clipped
    noise = (image - target)[inside]
    assert abs(noise.std() - 25) < 2
    assert abs(noise.mean()) < 2
    assert np.abs(image - target).max() < 150  # nothing wraps around
    assert np.abs(np.diff(target, axis=0)).mean() < 8
    with pytest.raises(ConfigError):
        fake.FakePairs("train", num_examples=0)


def test_digits_are_split_once_for_all():
    train = open_source(config("bundled", name="digits"), "train")
    held_out = open_source(config("bundled", name="digits"), "eval")
    check_contract(train)
    check_contract(held_out)
    assert (len(train), len(held_out)) == (1437, 360)
    names = {s[i]["name"] for s in (train, held_out) for i in range(len(s))}
    assert len(names) == 1797
    counts = np.bincount([held_out[i]["label"] for i in range(360)])
    assert counts.min() >= 34  # stratified
    assert counts.max() <= 38
    image = train[0]["image"]
    assert image.shape == (8, 8)
    assert image.dtype == np.uint8
    assert max(train[i]["image"].max() for i in range(50)) == 255
    other = open_source(config("bundled", name="digits", split_seed=1), "train")
    assert [other[i]["name"] for i in range(99)] != [
        train[i]["name"] for i in range(99)
    ]


def test_digits_hold_scikit_learns_pixels():
    from sklearn import datasets

    source = open_source(config("bundled", name="digits"), "eval")
    digits = datasets.load_digits()
    for i in range(0, 360, 40):
        position = int(source[i]["name"].removeprefix("digits[").removesuffix("]"))
        np.testing.assert_allclose(
            source[i]["image"] / 255 * 16, digits.images[position], atol=0.05
        )
        assert source[i]["label"] == digits.target[position]


def test_photos_are_photographs_of_their_own_class():
    train = open_source(config("bundled", name="photos"), "train")
    held_out = open_source(config("bundled", name="photos"), "eval")
    check_contract(train)
    check_contract(held_out)
    assert train.class_names == held_out.class_names
    assert (len(train), len(held_out)) == (13, 3)
    assert train.class_names[13:] == ("astronaut", "coffee", "china")
    assert len(set(train.class_names)) == 16
    labels = [s[i]["label"] for s in (train, held_out) for i in range(len(s))]
    assert sorted(labels) == list(range(16))
    grey = set()
    for source in (train, held_out):
        for i in range(len(source)):
            image = np.asarray(decode(source[i]["image"])).astype(int)
            assert min(image.shape[:2]) >= 300
            if np.abs(image[..., 0] - image[..., 2]).mean() < 1:
                grey.add(source.class_names[source[i]["label"]])
    assert grey == {"brick", "camera", "coins", "grass", "gravel", "moon"}
