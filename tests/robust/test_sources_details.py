"""Noisy sources where they meet files, workers, people's labels and other splits."""

import pickle

import numpy as np
import pytest

from common.data import sources as plain_sources
from common.data.decode import Decoded
from common.data.sources import bundled, fake
from common.data.sources.folder import FolderSource, ListSource
from common.errors import ConfigError, DataError
from robust import noise as noises
from robust import sources
from robust.classification import Classification
from robust.config import default_config
from tests.common.data.files import write_folder


def settings(**noise):
    config = default_config()
    config.data.update(source="bundled", name="digits", num_classes=10, image_size=8)
    config.noise.update(noise)
    return config


@pytest.fixture(scope="module")
def digits():
    return bundled.open_bundled("digits", "train")


def opened(plain, config, data_dir=None):
    sources.check(config.noise)
    return sources.open_train(plain, config.data, config.noise, data_dir)


def test_without_noise_the_source_is_the_same(digits):
    assert opened(digits, settings()) is digits


@pytest.mark.parametrize("kind", noises.IMAGE_KINDS)
def test_spoilt_pictures_in_any_order(digits, kind):
    """Digits of 8 x 8 are small enough for a kind of noise to leave no trace."""
    some = sources.Chosen(digits, range(40))
    noisy, other = (
        opened(some, settings(kind=kind, rate=0.4, seed=seed)) for seed in (5, 6)
    )
    assert noisy.noise_mask.sum() == 16
    assert np.any(noisy.noise_mask != other.noise_mask)
    spoilt = [noisy[i]["image"] for i in range(40)]
    for index in reversed(range(40)):
        example, original = noisy[index], some[index]
        assert example["label"] == original["label"] == noisy.true_labels[index]
        assert example["id"] == index
        np.testing.assert_array_equal(example["image"], spoilt[index])
        if not noisy.noise_mask[index]:
            assert np.shares_memory(example["image"], original["image"])
        else:
            assert np.any(example["image"] != original["image"][..., None])


def test_equal_pictures_are_spoilt_in_ways_of_their_own():
    same = np.full((16, 16, 3), 128, np.uint8)
    plain = ListSource([(same, 0)] * 4, ("a", "b"))
    pictures = set()
    for seed in (1, 2):
        noisy = opened(plain, settings(kind="gaussian_noise", rate=1.0, seed=seed))
        pictures |= {noisy[i]["image"].tobytes() for i in range(4)}
    assert len(pictures) == 8


def test_evaluation_data_is_never_changed(digits):
    task = Classification(settings(kind="symmetric", rate=1.0))
    held_out = bundled.open_bundled("digits", "eval")
    found, training = task.source("eval", None), task.source("train", None)
    for index in range(360):
        assert found[index]["label"] == held_out[index]["label"]
        assert training[index]["label"] != digits[index]["label"]


def test_an_unreadable_picture_is_handed_on_as_it_is(tmp_path):
    root = write_folder(tmp_path / "d", {"a": 3, "b": 3})
    broken = root / "a" / "01.png"
    broken.write_bytes(b"no picture")
    plain = FolderSource(root, "train")
    noisy = opened(plain, settings(kind="shuffle", rate=1.0))
    index = [plain[i]["name"] for i in range(len(plain))].index(str(broken))
    assert noisy[index]["image"] == str(broken)
    decoded = Decoded(noisy, 1, "mask")
    assert [decoded[i]["mask"] for i in range(len(plain))].count(False) == 1
    with pytest.raises(DataError, match=r"max_bad_examples is 0.*01\.png"):
        Decoded(noisy, 0, "mask")[index]


class Counted(ListSource):
    """Counts how often it is read."""

    reads = 0

    def __getitem__(self, index):
        Counted.reads += 1
        return super().__getitem__(index)


def test_a_copy_for_a_worker_reads_no_labels_again():
    plain = Counted([(f"{i}.png", i % 3) for i in range(30)], "abc")
    noisy = opened(plain, settings(kind="pair", rate=0.5))
    before = Counted.reads
    copy = pickle.loads(pickle.dumps(noisy))
    assert Counted.reads == before
    assert [copy[i] for i in range(30)] == [noisy[i] for i in range(30)]
    np.testing.assert_array_equal(copy.noise_mask, noisy.noise_mask)


def test_everything_joins_the_very_examples(digits):
    held_out = bundled.open_bundled("digits", "eval")
    joined = opened(digits, settings(everything=True))
    assert joined.class_names == digits.class_names
    assert [joined[i]["id"] for i in range(1797)] == list(range(1797))
    for found, original in (
        (joined[1436], digits[1436]),
        (joined[1437], held_out[0]),
        (joined[1796], held_out[359]),
    ):
        assert found["name"] == original["name"]
        assert found["label"] == original["label"]
        np.testing.assert_array_equal(found["image"], original["image"])
    noisy = opened(digits, settings(kind="pair", rate=1.0, everything=True))
    assert noisy[1437]["label"] == (held_out[0]["label"] + 1) % 10


def test_labels_of_people(monkeypatch):
    asked = []

    def open_source(data, split, data_dir):
        asked.append((data.label_field, split, data_dir))
        return ListSource([(f"{i}.png", x) for i, x in enumerate((0, 2, 2, 1))], "abc")

    monkeypatch.setattr(plain_sources, "open_source", open_source)
    plain = ListSource([(f"{i}.png", x) for i, x in enumerate((0, 1, 2, 0))], "abc")
    config = settings(kind="human", label_field="worse")
    config.data.update(source="tfds", name="x", num_classes=3)
    noisy = opened(plain, config, "somewhere")
    assert asked == [("worse", "train", "somewhere")]
    assert config.data.label_field == "label"
    assert [noisy[i]["label"] for i in range(4)] == [0, 2, 2, 1]
    np.testing.assert_array_equal(noisy.noise_mask, [False, True, False, True])
    np.testing.assert_array_equal(noisy.true_labels, [0, 1, 2, 0])

    config.noise.label_field = "label"
    with pytest.raises(ConfigError, match=r"'label' is config\.data\.label_field"):
        opened(plain, config)
    config.noise.label_field = "worse"
    config.data.source = "folder"
    with pytest.raises(ConfigError, match=r"only config\.data\.source=tfds.*'folder'"):
        opened(plain, config)


def test_generated_data_is_not_painted_for_its_labels():
    small = fake.FakeSource("train", image_size=4, num_classes=7, num_examples=30)
    joined = sources.Joined(small, small)
    read = [joined[i]["label"] for i in range(60)]
    np.testing.assert_array_equal(sources.labels_of(joined), read)
    huge = fake.FakeSource("train", image_size=512, num_classes=7)
    assert len(sources.labels_of(huge)) == 1_281_167


@pytest.mark.parametrize("label", [-1, 3])
def test_a_label_that_is_no_class_is_named(label):
    plain = ListSource([("a.png", 0), ("b.png", label)], "abc")
    config = settings(kind="pair", rate=0.5)
    config.data.num_classes = 3
    with pytest.raises(DataError, match=rf"in \[0, 3\), b.png has {label}"):
        opened(plain, config)
