import numpy as np
import pytest

from common.errors import ConfigError
from common.restoration.tiles import Tiling


def noise(*shape):
    return np.random.default_rng(0).random(shape, np.float32)


@pytest.mark.parametrize("size", [(1, 1), (16, 16), (17, 16), (40, 61), (9, 100)])
@pytest.mark.parametrize("tiling", [(16, 0), (16, 4), (16, 15), (1, 0)])
def test_where_tiles_agree_nothing_changes(size, tiling):
    image = noise(*size, 3)
    result = Tiling(*tiling).map(lambda tile: tile, image)
    np.testing.assert_array_equal(result, image)
    assert result.dtype == np.float32


@pytest.mark.parametrize("length", [17, 28, 29, 100])
def test_tiles_cover_the_image_and_overlap_enough(length):
    numbers = np.broadcast_to(np.arange(length)[None, :, None], (1, length, 3))
    seen = []

    def function(tile):
        assert tile.shape == (1, 16, 3)
        seen.append(int(tile[0, 0, 0]))
        return tile.astype(np.float32)

    Tiling(16, 4).map(function, numbers)
    assert seen[0] == 0
    assert seen[-1] == length - 16
    steps = np.diff(seen)
    assert steps.max() <= 12
    assert steps.max() - steps.min() <= 1
    assert len(seen) == np.ceil((length - 4) / 12)


def test_one_tile_fades_into_the_next():
    """Two tiles of 6 over 10 pixels, one all 0, one all 1, share two."""
    values = iter((0, 1))
    image = np.zeros((3, 10, 1), np.float32)
    result = Tiling(6, 2).map(lambda tile: tile + next(values), image)
    expected = [0, 0, 0, 0, 0.25, 0.75, 1, 1, 1, 1]
    np.testing.assert_array_equal(result[..., 0], [expected] * 3)


def test_rows_fade_like_columns():
    def bumps(tile):
        return tile + np.float32(tile.mean())

    image = noise(23, 40, 3)
    turned = Tiling(16, 6).map(bumps, image.transpose(1, 0, 2))
    expected = Tiling(16, 6).map(bumps, image)
    np.testing.assert_allclose(turned.transpose(1, 0, 2), expected, atol=2e-6)


def test_weights_sum_to_one():
    """What tiles say is averaged: no pixel leaves what some tile says of it."""
    values = iter(np.random.default_rng(0).uniform(2, 3, 100).astype(np.float32))
    ones = np.ones((50, 50, 1), np.float32)
    result = Tiling(16, 11).map(lambda tile: tile * next(values), ones)
    assert 2 <= result.min() < 2.3
    assert 2.7 < result.max() <= 3


@pytest.mark.parametrize(
    ("size", "overlap", "message"),
    [
        (0, 0, "tile=0 must be at least 1"),
        (64, 64, r"tile_overlap=64 must be in \[0, 64\)"),
        (64, -1, "tile_overlap=-1"),
    ],
)
def test_sizes_that_cannot_be(size, overlap, message):
    with pytest.raises(ConfigError, match=message):
        Tiling(size, overlap)


def test_an_image_of_one_tile_is_not_cut():
    tiling = Tiling(16, 4)
    assert not tiling.cuts(16, 3)
    assert tiling.cuts(17, 3)
    assert tiling.cuts(3, 17)
