"""Noisy data: what training sees, and what is known of it."""

import pickle

import numpy as np
import pytest

from common.data import sources
from common.errors import ConfigError, DataError
from robust import sources as noisy
from robust.config import default_config


def open_(data_dir=None, **fields):
    config = default_config()
    config.data.source, config.data.name = "bundled", "digits"
    config.data.num_classes = 10
    config.noise.kind, config.noise.rate = "symmetric", 0.4
    for name, value in fields.items():
        config.update_from_flattened_dict({name.replace("__", "."): value})
    noisy.check(config.noise)
    plain = sources.open_source(config.data, "train", data_dir)
    return plain, noisy.open_train(plain, config.data, config.noise, data_dir)


def test_labels_are_wrong_where_the_mask_says():
    plain, source = open_()
    given = noisy.labels_of(source)
    truth = noisy.labels_of(plain)
    np.testing.assert_array_equal(source.true_labels, truth)
    np.testing.assert_array_equal(source.noise_mask, given != truth)
    assert source.noise_mask.mean() == pytest.approx(0.4, abs=0.04)
    assert source.class_names == plain.class_names
    for index in (0, len(source) - 1):
        assert source[index]["id"] == index
        assert source[index]["name"] == plain[index]["name"]
        np.testing.assert_array_equal(source[index]["image"], plain[index]["image"])


def test_spoilt_pictures_keep_their_labels_and_follow_from_seed_and_id():
    plain, source = open_(noise__kind="shuffle")
    assert source.noise_mask.sum() == int(0.4 * len(plain))
    np.testing.assert_array_equal(noisy.labels_of(source), noisy.labels_of(plain))
    wrong = int(np.flatnonzero(source.noise_mask)[0])
    right = int(np.flatnonzero(~source.noise_mask)[0])
    spoilt, clean = source[wrong]["image"], plain[wrong]["image"]
    assert spoilt.shape == (*clean.shape, 3)
    assert (spoilt[..., 0] != clean).any()
    np.testing.assert_array_equal(np.sort(spoilt[..., 0], None), np.sort(clean, None))
    np.testing.assert_array_equal(source[wrong]["image"], spoilt)
    np.testing.assert_array_equal(source[right]["image"], plain[right]["image"])
    copy = pickle.loads(pickle.dumps(source))  # as Grain hands it to a worker
    np.testing.assert_array_equal(copy[wrong]["image"], spoilt)


def test_oracle_is_the_clean_part():
    _, source = open_()
    _, oracle = open_(noise__oracle=True)
    assert len(oracle) == int((~source.noise_mask).sum())
    assert [oracle[i]["id"] for i in (0, len(oracle) - 1)] == [0, len(oracle) - 1]
    kept = np.flatnonzero(~source.noise_mask)
    assert oracle[5]["name"] == source[int(kept[5])]["name"]
    np.testing.assert_array_equal(noisy.labels_of(oracle), oracle.true_labels)
    assert not oracle.noise_mask.any()
    with pytest.raises(DataError, match="no example is clean"):
        open_(noise__oracle=True, noise__rate=1.0)


def test_everything_is_both_splits():
    plain, source = open_(noise__kind="none", noise__rate=0.0, noise__everything=True)
    assert len(source) == 1797
    assert source[len(plain)]["id"] == len(plain)
    names = {source[i]["name"] for i in range(len(source))}
    assert len(names) == 1797
    assert open_(noise__kind="none")[1] is not None
    assert not hasattr(open_(noise__kind="none")[1], "noise_mask")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"noise__kind": "symetric"}, "did you mean 'symmetric'"),
        ({"noise__rate": -0.1}, r"in \[0, 1\]"),
        ({"noise__seed": -1}, "noise.seed=-1"),
        ({"noise__kind": "human"}, "label_field names the feature"),
        ({"noise__label_field": "worse_label"}, "for kind=human"),
        ({"noise__kind": "none", "noise__oracle": True}, "needs a kind"),
        (
            {
                "noise__kind": "human",
                "noise__label_field": "x",
                "noise__everything": True,
            },
            "no people's labels",
        ),
    ],
)
def test_fields_that_cannot_be(fields, message):
    with pytest.raises(ConfigError, match=message):
        open_(**fields)


def test_data_without_labels():
    config = default_config()
    config.data.source, config.noise.kind, config.noise.rate = "bundled", "pair", 0.1

    class Bare:
        class_names = ()
        __len__ = lambda self: 3  # noqa: E731
        __getitem__ = lambda self, i: {"image": b"", "id": i}  # noqa: E731

    with pytest.raises(DataError, match="needs data with labels"):
        noisy.open_train(Bare(), config.data, config.noise, None)
