import itertools
import tracemalloc

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


@pytest.mark.parametrize("margin", [-1, 3])
def test_margins_that_cannot_be(margin):
    with pytest.raises(ConfigError, match=rf"tile_margin={margin} .* \[0, 2\], half"):
        Tiling(16, 5, margin)


def test_an_image_of_one_tile_is_not_cut():
    tiling = Tiling(16, 4)
    assert not tiling.cuts(16, 3)
    assert tiling.cuts(17, 3)
    assert tiling.cuts(3, 17)


def blurred(image, radius):
    """A mean over (2 * radius + 1)**2 pixels, with zeros around the image."""
    length = 2 * radius + 1
    padded = np.pad(image, ((radius, radius), (radius, radius), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (length, length), (0, 1))
    return windows.mean((-2, -1), dtype=np.float64).astype(np.float32)


def repeated(tile, scale):
    return tile.repeat(scale, 0).repeat(scale, 1)


@pytest.mark.parametrize(("overlap", "margin"), [(6, 3), (9, 3), (15, 3), (14, 7)])
@pytest.mark.parametrize("scale", [1, 2, 3])
def test_with_a_margin_tiled_equals_whole(overlap, margin, scale):
    """At scale 1 even with more than two tiles over one pixel, as 15 of 16."""

    def function(tile):
        return repeated(blurred(tile, 3), scale)

    image = noise(45, 38, 2)
    result = Tiling(16, overlap, margin).map(function, image, scale)
    np.testing.assert_allclose(result, function(image), atol=1e-6)


def test_without_a_margin_seams_remain():
    image = noise(45, 38, 2)
    result = Tiling(16, 6).map(lambda tile: blurred(tile, 3), image)
    assert np.abs(result - blurred(image, 3)).max() > 0.05


def test_without_a_rest_to_fade_over_one_tile_ends_where_the_next_begins():
    values = iter((0, 1))
    image = np.zeros((3, 10, 1), np.float32)
    result = Tiling(6, 2, 1).map(lambda tile: tile + next(values), image)
    np.testing.assert_array_equal(result[..., 0], [[0] * 5 + [1] * 5] * 3)


def test_the_margin_is_not_faded_over():
    """Two tiles of 8 over 12 pixels share four, of which two are thrown away."""
    values = iter((0, 1))
    image = np.zeros((3, 12, 1), np.float32)
    result = Tiling(8, 4, 1).map(lambda tile: tile + next(values), image)
    expected = [0] * 5 + [0.25, 0.75] + [1] * 5
    np.testing.assert_array_equal(result[..., 0], [expected] * 3)


@pytest.mark.parametrize("tiling", [(16, 0), (16, 4), (16, 15), (16, 9, 4), (100, 0)])
def test_a_function_may_enlarge_and_change_the_channels(tiling):
    image = noise(40, 29, 3)
    result = Tiling(*tiling).map(lambda tile: repeated(tile[..., :2], 3), image, 3)
    np.testing.assert_array_equal(result, repeated(image[..., :2], 3))


def test_the_fade_is_as_wide_as_the_enlarged_overlap():
    values = iter((0, 1))
    image = np.zeros((1, 10, 1), np.float32)
    result = Tiling(6, 2).map(lambda x: repeated(x, 2) + next(values), image, 2)
    expected = [0] * 8 + [0.125, 0.375, 0.625, 0.875] + [1] * 8
    np.testing.assert_array_equal(result[..., 0], [expected] * 2)


@pytest.mark.parametrize("tiling", [(16, 4), (16, 15), (16, 12, 3), (16, 8, 4)])
def test_rows_come_in_order_without_gaps(tiling):
    image, blocks, next_row = noise(50, 33, 1), [], 0
    stream = Tiling(*tiling).stream(
        lambda rows, columns: image[rows, columns],
        lambda tile: repeated(tile, 3),
        *(50, 33, 3),
    )
    for row, block in stream:
        assert row == next_row
        assert block.shape[1:] == (99, 1)
        assert len(block)
        assert not len(block) % 3
        next_row += len(block)
        blocks.append(block)
    np.testing.assert_array_equal(np.concatenate(blocks), repeated(image, 3))


def test_one_row_of_tiles_is_in_memory():
    """Of a result of 512 rows that a stream makes, one strip of 64 and little more."""
    tiling, width = Tiling(64, 4), 4096
    stream = tiling.stream(
        lambda rows, columns: np.zeros((64, columns.stop - columns.start, 1), "f4"),
        lambda tile: tile,
        *(512, width),
    )
    tracemalloc.start()
    for _, block in stream:
        del block
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    strip = 64 * width * 4
    assert strip < peak < 1.5 * strip


def test_what_is_shared_is_read_for_each_tile_and_nothing_else():
    pieces, tiling = [], Tiling(16, 4)

    def read(rows, columns):
        pieces.append((rows.start, rows.stop, columns.start, columns.stop))
        return noise(16, 16, 1)

    for _ in tiling.stream(read, lambda tile: tile, 28, 40):
        pass
    expected = [(0, 16), (12, 28)], [(0, 16), (12, 28), (24, 40)]
    assert pieces == [down + across for down in expected[0] for across in expected[1]]
    assert tiling.count(28, 40) == 6
    assert tiling.count(3, 16) == 1


def test_tiles_and_images_are_not_changed():
    image = noise(40, 40, 1)
    before = image.copy()
    values = iter(range(100))
    Tiling(16, 6, 1).map(lambda tile: tile[:] if next(values) % 2 else tile * 2, image)
    np.testing.assert_array_equal(image, before)


def test_a_function_of_another_scale_is_refused():
    with pytest.raises(ValueError, match=r"became \[32, 32, 3\]; at scale 3 .*48, 48"):
        Tiling(16, 4).map(lambda tile: repeated(tile, 2), noise(20, 20, 3), 3)


@pytest.mark.parametrize("length", [118, 119, 200])
def test_tiles_begin_where_a_network_can(length):
    """And share what they must: a pattern of period 4 is the same in all of them."""
    tiling, starts = Tiling(32, 9, 3, multiple=4), []
    image = np.random.default_rng(0).random((length, 8, 1)).astype(np.float32)
    weights = np.array([1, 2, 3, 4], np.float32)

    def by_place(tile):
        pattern = np.resize(weights, len(tile))[:, None, None]
        return tile * pattern

    def read(rows, columns):
        starts.append(rows)
        return image[rows, columns]

    blocks = list(tiling.stream(read, by_place, length, 8))
    assert all(rows.start % 4 == 0 for rows in starts)
    shared = [a.stop - b.start for a, b in itertools.pairwise(starts)]
    assert min(shared) >= 9
    joined = np.concatenate([block for _, block in blocks])
    np.testing.assert_allclose(joined, by_place(image), rtol=1e-6)


def test_tiles_that_cannot_begin_there():
    with pytest.raises(ConfigError, match="multiple of 4"):
        Tiling(30, 4, multiple=4)
    with pytest.raises(ConfigError, match="less than"):
        Tiling(32, 30, multiple=4)
