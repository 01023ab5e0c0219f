"""Pairs of JPEG files of the bundled photographs, and where the pairs come from."""

import collections
import io

import ml_collections
import numpy as np
import pytest
from PIL import Image
from skimage import data

from common.errors import ConfigError, DataError
from iqa import preference_data, preference_demo
from iqa.pairs import PairSource


@pytest.fixture(scope="module")
def held_out():
    return preference_demo.preference_photos("eval").pairs


def test_every_pair_of_twelve_versions(held_out):
    by_tile = collections.defaultdict(list)
    for pair in held_out:
        by_tile[pair.key].append(pair)
    assert {key.split("[")[0] for key in by_tile} == {"astronaut", "coffee", "china"}
    for of_tile in by_tile.values():
        assert len(of_tile) == 66
        names = {frozenset((p.first.name, p.second.name)) for p in of_tile}
        assert len(names) == 66
        versions = {v.name: v for p in of_tile for v in (p.first, p.second)}
        assert len(versions) == 12
        assert len({v.quality for v in versions.values()}) == 12
        encoders = collections.Counter(name.split()[1] for name in versions)
        assert encoders == dict.fromkeys(preference_demo.ENCODERS, 4)
    # Which comes first says nothing.
    firsts = [pair.first.quality > pair.second.quality for pair in held_out]
    assert 0.4 < np.mean(firsts) < 0.6
    assert {pair.votes for pair in held_out} == {32}


def test_photographs_are_not_shared(held_out):
    train = preference_demo.preference_photos("train").pairs
    sets = [{p.key.split("[")[0] for p in pairs} for pairs in (train, held_out)]
    assert not sets[0] & sets[1]
    assert len(train) % 24 == 0
    again = preference_demo.preference_photos("train").pairs
    assert again is train  # made once in a process
    other = preference_demo.preference_photos("eval", "three", 1).pairs
    assert [p.preference for p in other] != [p.preference for p in held_out]


def test_encoders_disagree_about_what_a_factor_means():
    tile = data.coffee()[100:276, 150:326]
    files = {e: preference_demo.encode(tile, e, 40) for e in preference_demo.ENCODERS}
    images = {name: Image.open(io.BytesIO(file)) for name, file in files.items()}
    # Table K.1 begins with 16, which is 20 at quality 40; 24 becomes 30.
    assert images["standard"].quantization[0][:2] == [20, 14]
    assert images["flat"].quantization == {0: [30] * 64, 1: [30] * 64}
    assert images["full_chroma"].layer[0][1:3] == (1, 1)
    assert images["standard"].layer[0][1:3] == (2, 2)
    assert len(files["full_chroma"]) > len(files["standard"])
    with pytest.raises(ConfigError, match="did you mean 'flat'"):
        preference_demo.encode(tile, "flt", 40)
    with pytest.raises(ConfigError, match=r"config.data.name 'four'"):
        preference_demo.preference_photos("eval", "four")


def data_of(**fields):
    config = {"train_split": "train", "eval_split": "validation", "split_seed": 0}
    return ml_collections.ConfigDict({**config, "name": "", "image_size": 32, **fields})


def test_where_pairs_come_from(tmp_path):
    found = preference_data.open_source(data_of(source="fake"), "train", None)
    assert isinstance(found, PairSource)
    assert len(found) == 16
    # More quality is preferred there.
    gaps = [pair.second.quality - pair.first.quality for pair in found.pairs]
    shares = [pair.preference - 0.5 for pair in found.pairs]
    assert np.mean(np.sign(gaps) == np.sign(shares)) > 0.8
    photos = preference_data.open_source(
        data_of(source="preference_photos", name="one"), "eval", None
    )
    assert {pair.first.name.split()[1] for pair in photos.pairs} == {"standard"}
    with pytest.raises(ConfigError, match="did you mean 'ciqa'"):
        preference_data.open_source(data_of(source="ciq"), "train", None)
    for name in ("ciqa", "bapps", "pieapp", "tid2013", "kadid10k"):
        with pytest.raises(DataError):
            preference_data.open_source(
                data_of(source=name), "eval", str(tmp_path / "none")
            )
