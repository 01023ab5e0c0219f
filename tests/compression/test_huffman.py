import io

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from common.errors import ConfigError, DataError
from compression import huffman, jpeg
from tests.compression import jpeg_reader
from tests.compression.photographs import crop, photograph

SUBSAMPLINGS = ("4:4:4", "4:2:2", "4:2:0")


def encode(image, quality, subsampling="4:4:4"):
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=quality, subsampling=subsampling)
    return file.getvalue()


def grey(image):
    return np.asarray(Image.fromarray(image).convert("L"))


def blocks(*shape):
    """Returns levels of zeros: each block costs 6 bits in Y, 4 in Cb and Cr."""
    return np.zeros((*shape, 8, 8), np.int64)


def test_codes_are_those_that_pillow_writes():
    written = jpeg_reader.read(encode(crop(), 50)).codes
    assert written == {
        0: huffman.DC_CODES[0],
        1: huffman.DC_CODES[1],
        16: huffman.AC_CODES[0],
        17: huffman.AC_CODES[1],
    }


@pytest.mark.parametrize(
    ("quality", "bits"), [(10, 115363), (50, 266850), (95, 1012543)]
)
def test_astronaut_takes_the_known_bits(quality, bits):
    scan = jpeg_reader.read(encode(photograph("astronaut"), quality))
    assert huffman.scan_bits(scan.levels) == scan.bits == bits


@pytest.mark.parametrize("subsampling", SUBSAMPLINGS)
@pytest.mark.parametrize("quality", [5, 50, 95, 100])
@pytest.mark.parametrize("size", [(64, 96), (75, 61), (1, 1), (17, 40), (40, 17)])
def test_coefficients_of_files_take_the_bits_of_their_scan(size, quality, subsampling):
    content = encode(crop("coffee", *size), quality, subsampling)
    scan = jpeg_reader.read(content)
    assert huffman.scan_bits(scan.levels, subsampling) == scan.bits
    # Up to the bits that fill the last byte, so the reader counts right as well.
    assert len(jpeg_reader.entropy_coded(content)) == -(-scan.bits // 8)


@pytest.mark.parametrize("size", [(64, 96), (75, 61)])
def test_a_grey_file_has_one_component(size):
    image = grey(crop("chelsea", *size))
    for quality in (10, 50, 95):
        scan = jpeg_reader.read(encode(image, quality))
        for subsampling in SUBSAMPLINGS:  # has no say without chroma
            assert huffman.scan_bits(scan.levels, subsampling) == scan.bits
        ours = huffman.count_bits(image, jpeg.quality_tables(quality), "4:2:0")
        assert ours == pytest.approx(scan.bits, rel=0.015)


def by_the_book(levels, codes):
    """Counts bits coefficient by coefficient, as T.81, F.1.2 has it, and symbols."""
    bits, symbols = 0, set()

    def code(kind, index, symbol):
        segment = codes[kind + min(index, 1)]
        lengths = [n for n in range(1, 17) for _ in range(segment[n - 1])]
        symbols.add((kind + min(index, 1), symbol))
        return lengths[segment[16:].index(symbol)] + symbol % 16

    for index, component in enumerate(levels):
        before = 0
        for block in component.reshape(-1, 64)[:, jpeg_reader.zigzag()].tolist():
            bits += code(0, index, abs(block[0] - before).bit_length())
            before, run = block[0], 0
            for value in block[1:]:
                if value == 0:
                    run += 1
                    continue
                while run > 15:
                    bits, run = bits + code(16, index, 0xF0), run - 16
                bits += code(16, index, 16 * run + abs(value).bit_length())
                run = 0
            bits += code(16, index, 0) if run else 0
    return bits, symbols


def test_every_run_and_size_costs_what_the_book_says():
    rng, levels = np.random.default_rng(0), []
    for _ in range(3):
        sizes = rng.integers(1, 11, (600, 64)) * (rng.random((600, 64)) < 0.15)
        low, high = 1 << sizes >> 1, (1 << sizes) - 1
        values = rng.integers(low, high + 1) * rng.choice([-1, 1], sizes.shape)
        values[:, 0] = np.cumsum(rng.choice([1, -1], 600) << np.arange(600) % 11)
        levels.append(values.reshape(20, 30, 8, 8))
    codes = jpeg_reader.read(encode(crop(), 50)).codes
    expected, symbols = by_the_book(levels, codes)
    # All but the longest DC differences.
    assert len(symbols) == 2 * (162 + 11)
    assert huffman.scan_bits(levels) == expected


def test_what_single_coefficients_cost():
    # DC difference 0: 2 bits of both codes; end of block: 4 bits in Y and 2 in chroma.
    y, cb, cr = blocks(1, 1), blocks(1, 1), blocks(1, 1)
    assert huffman.scan_bits((y, cb, cr)) == 6 + 4 + 4
    y[0, 0, 7, 7] = -5  # 62 zeros: three times 16 (11 bits), run 14 of size 3 (16 bits)
    assert huffman.scan_bits((y, cb, cr)) == 2 + 3 * 11 + 16 + 3 + 4 + 4
    y[0, 0, 7, 7], y[0, 0, 0, 1] = 0, 1023  # run 0 of size 10: 16 bits
    assert huffman.scan_bits((y, cb, cr)) == 2 + 16 + 10 + 4 + 4 + 4
    y[0, 0, 0, :2] = -2047, 0  # size 11: 9 bits
    assert huffman.scan_bits((y, cb, cr)) == 9 + 11 + 4 + 4 + 4


def test_dc_is_predicted_from_the_block_coded_before():
    wide = blocks(2, 2), blocks(1, 1), blocks(1, 1)
    wide[0][:, 1, 0, 0] = 8  # 0 8 0 8 as they lie, in an MCU as well
    tall = blocks(2, 4), blocks(1, 2), blocks(1, 2)
    tall[0][:, 2:, 0, 0] = 8  # a step between MCUs: coded 0 0 0 0 8 8 8 8
    flat, step = 2, 3 + 4  # bits of difference 0 and of 8, size 4
    rest = 4 * 4 + 2 * 4
    assert huffman.scan_bits(wide, "4:2:0") == flat + 3 * step + rest
    assert huffman.scan_bits(tall, "4:2:0") == 7 * flat + step + 2 * rest
    # Row by row there are three steps: 0 0 8 8 0 0 8 8.
    rows = tall[0], blocks(2, 4), blocks(2, 4)
    assert huffman.scan_bits(rows, "4:4:4") == 5 * flat + 3 * step + 8 * 4 + 16 * 4


def test_images_larger_than_a_chunk():
    scan = jpeg_reader.read(encode(crop("coffee", 96, 128), 75))
    repeats = huffman._CHUNK // scan.levels[0][..., 0, 0].size + 1
    below = [np.tile(part, (repeats, 1, 1, 1)) for part in scan.levels]
    ac_only = [part.copy() for part in below]
    one = [part.copy() for part in scan.levels]
    for part in (*ac_only, *one):
        part[..., 0, 0] = 0
    assert huffman.scan_bits(ac_only) == repeats * huffman.scan_bits(one)


def test_levels_may_be_of_any_kind_of_number():
    levels = jpeg_reader.read(encode(crop(), 50)).levels
    expected = huffman.scan_bits(levels)
    for kind in (np.int32, np.int64, np.float32, jnp.float32, jnp.int16):
        given = [jnp.asarray(a, kind) if kind is jnp.int16 else kind(a) for a in levels]
        assert huffman.scan_bits(given) == expected
    assert isinstance(expected, int)


@pytest.mark.parametrize(
    ("value", "place", "message"),
    [
        (1024, (0, 0, 0, 1), "AC coefficient 1024 cannot be coded"),
        (-1024, (1, 1, 7, 7), "AC coefficient -1024 cannot be coded"),
        (2048, (0, 0, 0, 0), "DC difference -?2048 cannot be coded"),
        (-2048, (1, 0, 0, 0), "DC difference -2048 cannot be coded"),
        (40000, (0, 0, 0, 0), "40000 is no whole number of 16 bits"),
        (0.5, (0, 0, 0, 0), "0.5 is no whole number of 16 bits"),
        (np.nan, (0, 0, 0, 0), "nan is no whole number of 16 bits"),
    ],
)
def test_what_baseline_cannot_code_is_refused(value, place, message):
    levels = [blocks(2, 2).astype(float) for _ in range(3)]
    levels[1][place] = value
    with pytest.raises(DataError, match=message):
        huffman.scan_bits(levels)


def test_dc_differences_do_not_wrap_around():
    levels = np.zeros((1, 18, 8, 8), np.int16)
    levels[0, :17, 0, 0] = range(0, 17 * 2047, 2047)
    levels[0, 17, 0, 0] = -(2**15)
    with pytest.raises(DataError, match="DC difference -65520"):
        huffman.scan_bits([levels])


@pytest.mark.parametrize(
    ("shapes", "subsampling", "expected"),
    [
        ([(2, 2, 8, 8), (1, 1, 8, 8), (1, 2, 8, 8)], "4:2:0", r"\[2, 2, 8, 8\] of Y"),
        ([(2, 2, 8, 8)] * 3, "4:2:0", r"\[4, 4, 8, 8\] of Y in 4:2:0"),
        ([(2, 2, 8, 8)] * 2, "4:4:4", "Y, or of Y, Cb and Cr"),
        ([(1, 2, 2, 8, 8)] * 3, "4:4:4", "Y, or of Y, Cb and Cr"),
        ([(2, 2, 64)], "4:4:4", "Y, or of Y, Cb and Cr"),
    ],
)
def test_shapes_that_do_not_belong_together_are_refused(shapes, subsampling, expected):
    with pytest.raises(DataError, match=f"shapes.*{expected}"):
        huffman.scan_bits([np.zeros(shape, np.int16) for shape in shapes], subsampling)


@pytest.mark.parametrize("levels", [[], [blocks(0, 3)], [blocks(0, 0)] * 3])
def test_no_blocks_are_refused(levels):
    with pytest.raises(DataError, match="shapes"):
        huffman.scan_bits(levels)


def test_an_unknown_subsampling_is_refused():
    with pytest.raises(ConfigError, match="4:2:O"):
        huffman.scan_bits([blocks(1, 1)] * 3, "4:2:O")
    with pytest.raises(ConfigError, match="4:2:O"):
        huffman.count_bits(crop(), jpeg.quality_tables(50), "4:2:O")


# Bytes of scans, counted with another float transform.
@pytest.mark.parametrize(
    ("name", "sizes"),
    [
        (
            "astronaut",
            {10: 14411, 30: 25108, 50: 33286, 75: 48790, 90: 84300, 95: 125275},
        ),
        ("coffee", {50: 33021}),
        ("chelsea", {50: 15544}),
    ],
)
def test_count_of_known_images(name, sizes):
    for quality, size in sizes.items():
        bits = huffman.count_bits(photograph(name), jpeg.quality_tables(quality))
        assert bits / 8 == pytest.approx(size, rel=5e-4)


@pytest.mark.parametrize("subsampling", SUBSAMPLINGS)
@pytest.mark.parametrize("name", ["astronaut", "coffee", "chelsea"])
def test_count_is_near_the_scan_of_a_file(name, subsampling):
    for quality in (10, 50, 75, 95):
        tables = jpeg.quality_tables(quality)
        ours = huffman.count_bits(photograph(name), tables, subsampling)
        content = encode(photograph(name), quality, subsampling)
        theirs = 8 * len(jpeg_reader.entropy_coded(content))
        assert ours == pytest.approx(theirs, rel=0.011)


@pytest.mark.parametrize("size", [(8, 24), (24, 16), (24, 24)])
def test_blocks_outside_the_image_cost_what_they_do_in_files(size):
    # At this quality single coefficients seldom differ.
    for subsampling in ("4:2:2", "4:2:0"):
        apart = []
        for place in range(5):
            image = crop("chelsea", *size, 20 * place, 30 * place)
            scan = jpeg_reader.read(encode(image, 10, subsampling))
            ours = huffman.count_bits(image, jpeg.quality_tables(10), subsampling)
            apart.append(abs(ours - scan.bits))
        assert np.median(apart) == 0


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((8, 8, 3)),
        np.zeros((8, 8, 4), np.uint8),
        np.zeros((1, 8, 8, 3), np.uint8),
        np.zeros((0, 8, 3), np.uint8),
        np.zeros(8, np.uint8),
    ],
)
def test_other_images_are_refused(image):
    with pytest.raises(ConfigError, match="expected uint8"):
        huffman.count_bits(image, jpeg.quality_tables(50))


def test_other_tables_are_refused():
    with pytest.raises(ConfigError, match="whole number in"):
        huffman.count_bits(crop(), np.full((2, 8, 8), 256))
