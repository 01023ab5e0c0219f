"""Tiles of photographs: the split, and the pixels."""

import re

import numpy as np
import pytest
from PIL import Image

from common.data.decode import decode
from common.data.sources import bundled, photo_tiles
from common.data.sources.photo_tiles import TILE, PhotoTiles
from common.errors import DataError

SPLITS = ("train", "eval")


@pytest.fixture(scope="module")
def splits():
    return {split: bundled.open_bundled("photo_tiles", split) for split in SPLITS}


def places(source):
    """Returns (class, top, left) of every example, as its name has it."""
    found = []
    for index in range(len(source)):
        name, top, left = re.fullmatch(
            r"(\w+)\[(\d+),(\d+)\]", source[index]["name"]
        ).groups()
        assert name == source.class_names[source[index]["label"]]
        found.append((name, int(top), int(left)))
    return found


def columns(source):
    """Returns labels, tops and lefts as one array."""
    names = source.class_names
    return np.array([(names.index(name), *at) for name, *at in places(source)]).T


def overlap(one, other):
    """Which pairs of tiles share pixels."""
    distances = np.abs(one[:, :, None] - other[:, None])
    return (distances[0] == 0) & np.all(distances[1:] < TILE, axis=0)


def test_no_pixel_is_in_both_splits(splits):
    train, held_out = columns(splits["train"]), columns(splits["eval"])
    assert not overlap(train, held_out).any()
    # Nor twice in the evaluation; in training tiles overlap by half.
    np.testing.assert_array_equal(
        overlap(held_out, held_out), np.eye(held_out.shape[1])
    )
    assert overlap(train, train).sum() > 2 * train.shape[1]


def test_every_class_is_in_both_splits(splits):
    train, held_out = (
        np.bincount([source[i]["label"] for i in range(len(source))])
        for source in splits.values()
    )
    assert len(train) == len(held_out) == 10
    assert (train.sum(), held_out.sum()) == (910, 238)
    assert train.min() >= 30
    assert held_out.min() >= 10
    for source in splits.values():
        for index in (0, len(source) - 1):
            example = source[index]
            assert example["id"] == index
            assert example["image"].shape == (TILE, TILE, 3)
            assert example["image"].dtype == np.uint8
            assert decode(example["image"]).mode == "RGB"


def test_the_split_follows_its_seed(splits):
    again = bundled.open_bundled("photo_tiles", "eval")
    assert places(again) == places(splits["eval"])
    for index in range(0, len(again), 50):
        np.testing.assert_array_equal(
            again[index]["image"], splits["eval"][index]["image"]
        )
    other = bundled.open_bundled("photo_tiles", "eval", split_seed=1)
    assert places(other) != places(again)


def test_pixels_are_the_photographs(splits):
    """Against an average of the file's pixels, by hand, where that is whole ones."""
    file = bundled._installed("skimage", "data/hubble_deep_field.jpg")
    pixels = np.asarray(Image.open(file).convert("RGB"), np.float64)
    small = pixels.reshape(436, 2, 500, 2, 3).mean((1, 3))
    seen = 0
    for source in splits.values():
        for index, (name, top, left) in enumerate(places(source)):
            if name != "hubble_deep_field":
                continue
            tile = small[top : top + TILE, left : left + TILE]
            level = np.clip(tile - tile.mean((0, 1)) + 128, 0, 255)
            np.testing.assert_allclose(source[index]["image"], level, atol=1.01)
            seen += 1
    assert seen > 100


def test_mean_colour_tells_nothing(splits):
    """But for tiles with so much contrast that they are clipped."""
    source = splits["train"]
    means = (
        np.array([source[i]["image"].mean((0, 1)) for i in range(len(source))]) - 128
    )
    assert np.abs(means).max() < 12
    assert np.quantile(np.abs(means), 0.8) <= 0.5


def test_flat_tiles_are_left_out(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (6 * TILE, 5 * TILE), np.uint8)
    pixels[:, : 3 * TILE] = 7
    Image.fromarray(pixels).save(tmp_path / "half.png")
    given = [(str(tmp_path / "half.png"), 1.0)]
    held_out, train = (places(PhotoTiles(given, s)) for s in ("eval", "train"))
    assert len(held_out) == round(photo_tiles._EVAL_FRACTION * 6 * 2)
    assert min(left for *_, left in held_out) == 3 * TILE
    assert min(left for *_, left in train) > 2 * TILE


def test_photographs_too_small(tmp_path):
    Image.effect_noise((TILE, TILE), 50).save(tmp_path / "one.png")
    for split in SPLITS:
        with pytest.raises(DataError, match=rf"one\.png is too small for {split} til"):
            PhotoTiles([(str(tmp_path / "one.png"), 1.25)], split)
