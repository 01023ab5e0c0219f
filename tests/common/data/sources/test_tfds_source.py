"""TFDS as ArrayRecord: prepared, found and read without TensorFlow."""

import io
import json
import sys

import numpy as np
import pytest
import tensorflow_datasets as tfds

from common import config
from common.data import pipeline, transforms
from common.data.decode import decode
from common.data.sources import open_source
from common.data.sources.tfds_source import TfdsSource
from common.errors import ConfigError, DataError
from tests.common.data.files import encoded, pixels


class TinyShapes(tfds.core.GeneratorBasedBuilder):
    """Seven small images of two classes."""

    # As a script's builder: of one in a package TFDS wants importlib_resources,
    # which it does not install.
    __module__ = "tiny_shapes"
    VERSION = tfds.core.Version("1.2.0")

    def _info(self):
        features = {
            "image": tfds.features.Image(shape=(None, None, 3)),
            "label": tfds.features.ClassLabel(names=["round", "square"]),
            "guess": tfds.features.ClassLabel(names=["red", "green", "blue"]),
            "author": tfds.features.Text(),
            "sizes": tfds.features.Tensor(shape=(2,), dtype=np.int64),
        }
        return tfds.core.DatasetInfo(
            builder=self, features=tfds.features.FeaturesDict(features)
        )

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples(7), "test": self._generate_examples(2)}

    def _generate_examples(self, count):
        for i in range(count):
            # A file: TFDS would encode an array with TensorFlow.
            image = io.BytesIO(encoded(pixels(10 + i, 12, i), "PNG"))
            labels = {"label": i % 2, "guess": i % 3}
            others = {"author": "me", "sizes": [10 + i, 12]}
            yield i, {"image": image} | labels | others


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    root = tmp_path_factory.mktemp("tfds")
    builder = TinyShapes(data_dir=root, file_format="array_record")
    builder.download_and_prepare()
    return root


def test_examples(prepared):
    source = TfdsSource("tiny_shapes", "train", prepared)
    assert len(source) == 7
    assert source.class_names == ("round", "square")
    seen = set()
    for i in range(7):
        example = source[i]
        assert isinstance(example["image"], bytes)
        image = np.asarray(decode(example["image"]))
        original = len(image) - 10  # TFDS shuffles; the height tells which it is
        np.testing.assert_array_equal(image, pixels(10 + original, 12, original))
        assert example["label"] == original % 2
        assert example["id"] == i
        assert example["name"] == f"tiny_shapes/train[{i}]"
        seen.add(original)
    assert seen == set(range(7))
    assert len(TfdsSource("tiny_shapes:1.2.0", "train[:3]", prepared)) == 3
    assert "tensorflow" not in sys.modules


def test_another_feature_is_the_label(prepared):
    data = config.default().data
    data.update(source="tfds", name="tiny_shapes", label_field="guess")
    source = open_source(data, "train", prepared)
    assert source.class_names == ("red", "green", "blue")
    for i in range(7):
        example = source[i]
        original = decode(example["image"]).height - 10
        assert example["label"] == original % 3
    with pytest.raises(
        ConfigError, match=r"config.data.label_field 'gues'; did you mean 'guess'"
    ):
        TfdsSource("tiny_shapes", "train", prepared, "gues")
    for no_number in ("author", "sizes", "image"):
        with pytest.raises(ConfigError, match=r"\(choices: guess, label\)"):
            TfdsSource("tiny_shapes", "train", prepared, no_number)


def test_environment_names_the_folder(prepared, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(prepared))
    assert len(TfdsSource("tiny_shapes", "test")) == 2


def test_batches_from_worker_processes(prepared):
    source = TfdsSource("tiny_shapes", "train", prepared)
    batches = pipeline.eval_dataset(
        source,
        [transforms.Resize(8), transforms.ToArray()],
        batch_size=4,
        num_workers=1,
    )
    iterator = iter(batches)
    ids = np.concatenate([batch["id"] for batch in iterator])
    iterator.close()
    np.testing.assert_array_equal(ids, [*range(7), -1])


def test_missing_data_says_how_to_prepare(tmp_path, prepared):
    with pytest.raises(DataError) as error:
        TfdsSource("mnist", "train", tmp_path)
    text = str(error.value)
    assert f"'mnist' in {tmp_path}/mnist (found: nothing)" in text
    assert (
        f"builder('mnist', data_dir='{tmp_path}', file_format='array_record')" in text
    )
    with pytest.raises(DataError, match=r"no version '9\.0\.0'.*found: 1\.2\.0"):
        TfdsSource("tiny_shapes:9.0.0", "train", prepared)
    with pytest.raises(ConfigError, match="name"):
        TfdsSource("", "train", prepared)


def test_unknown_split(prepared):
    with pytest.raises(ConfigError, match=r"no split 'validation' \(splits: .*test"):
        TfdsSource("tiny_shapes", "validation", prepared)


def test_tfrecord_data_is_refused_with_the_remedy(prepared, tmp_path):
    version = tmp_path / "tiny_shapes" / "1.2.0"
    version.mkdir(parents=True)
    for file in (prepared / "tiny_shapes" / "1.2.0").glob("*.json"):
        content = json.loads(file.read_text())
        if file.name == "dataset_info.json":
            content["fileFormat"] = "tfrecord"
        (version / file.name).write_text(json.dumps(content))
    with pytest.raises(DataError, match=r"prepared as tfrecord.*array_record"):
        TfdsSource("tiny_shapes", "train", tmp_path)
