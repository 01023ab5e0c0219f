"""JPEG files byte by byte, and what Pillow's decoder sees in them."""

import concurrent.futures
import io
import struct

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageFile

from common.data.sources.bundled import open_bundled
from common.errors import ConfigError, DataError
from common.metrics.image import psnr
from compression import files, jpeg

PAIR = np.stack([np.arange(1, 65), np.arange(64, 0, -1)]).reshape(2, 8, 8)
FLAT = np.full((8, 8, 3), 128, np.uint8)
SOF0, DHT, SOS, DQT = 0xC0, 0xC4, 0xDA, 0xDB


@pytest.fixture(scope="module")
def astronaut():
    with Image.open(open_bundled("photos", "eval")[0]["image"]) as image:
        return np.asarray(image.convert("RGB"))


def segments(content):
    """Returns markers and their contents up to the scan."""
    found, at = [], 2
    assert content[:2] == b"\xff\xd8"
    assert content[-2:] == b"\xff\xd9"
    while True:
        marker, size = struct.unpack(">xBH", content[at : at + 4])
        found.append((marker, content[at + 4 : at + 2 + size]))
        at += 2 + size
        if marker == SOS:
            return found


def open_file(content):
    return Image.open(io.BytesIO(content))


@pytest.mark.parametrize("optimize", [False, True])
@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:2", "4:2:0"])
def test_a_baseline_file_of_these_tables(astronaut, subsampling, optimize):
    image = astronaut[100:133, 200:237]  # neither whole blocks nor whole MCUs
    content = files.encode(image, PAIR, subsampling, optimize)
    kinds = [marker for marker, _ in segments(content)]
    assert set(kinds) == {0xE0, DQT, SOF0, DHT, SOS}
    frame = next(body for marker, body in segments(content) if marker == SOF0)
    horizontal, vertical = {"4:4:4": (1, 1), "4:2:2": (2, 1), "4:2:0": (2, 2)}[
        subsampling
    ]
    assert struct.unpack(">BHHB", frame[:6]) == (8, 33, 37, 3)
    assert frame[7::3] == bytes([16 * horizontal + vertical, 0x11, 0x11])
    for marker, body in segments(content):
        if marker == DQT:
            assert body[0] >> 4 == 0  # entries of 8 bits
    with open_file(content) as opened:
        # Pillow gives natural order, and so it was written.
        assert opened.quantization == {k: PAIR[k].ravel().tolist() for k in (0, 1)}
        decoded = np.asarray(opened.convert("RGB"))
    np.testing.assert_array_equal(files.decode(content), decoded)
    assert psnr(decoded, image) > 25


def test_tables_lie_in_zigzag_in_the_file():
    written = segments(files.encode(FLAT, PAIR))
    body = next(body for marker, body in written if marker == DQT)
    # (0, 0), (0, 1), (1, 0), (2, 0), (1, 1), (0, 2): T.81, figure 5.
    assert list(body[1:7]) == [1, 2, 9, 17, 10, 3]


def test_largest_entries_are_of_8_bits():
    content = files.encode(FLAT, np.full((2, 8, 8), 255))
    tables = [body for marker, body in segments(content) if marker == DQT]
    assert [body[0] >> 4 for body in tables] == [0, 0]
    assert [set(body[1:65]) for body in tables] == [{255}, {255}]


def test_sizes_of_the_specification(astronaut):
    """Section 2.3: 625 bytes are not scan; one block of one level is the shortest."""
    assert len(files.encode(FLAT, PAIR)) == 627
    assert len(files.encode(FLAT, PAIR, optimize_huffman=True)) == 282
    for quality in (20, 75):
        content = files.encode(astronaut, jpeg.quality_tables(quality))
        header = 2 + sum(4 + len(body) for _, body in segments(content)) + 2
        assert header == 625
    assert len(content) == 49742
    tables = jpeg.quality_tables(75)
    assert len(files.encode(astronaut, tables, optimize_huffman=True)) == 49050
    assert len(files.encode(astronaut, tables, "4:2:0")) == 40240


def test_a_quality_is_what_pillow_makes_of_it(astronaut):
    image, file = astronaut[:40, :40], io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=30, subsampling="4:2:0")
    ours = files.encode(image, jpeg.quality_tables(30), "4:2:0")
    assert ours == file.getvalue()


def test_grey_is_one_component_with_the_luma_table(astronaut):
    image = astronaut[:33, :21, 1]
    content = files.encode(image, PAIR, "4:2:0")
    frame = next(body for marker, body in segments(content) if marker == SOF0)
    assert frame[5] == 1
    assert frame[7] == 0x11
    with open_file(content) as opened:
        assert opened.mode == "L"
        assert opened.quantization == {0: PAIR[0].ravel().tolist()}
    decoded = files.decode(content)
    assert decoded.shape == (33, 21, 3)
    assert psnr(decoded[..., 0], image) > 25


def test_a_colour_profile_of_any_size():
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for given in (profile, profile + bytes(300_000)):
        for optimize in (False, True):
            content = files.encode(FLAT, PAIR, optimize_huffman=optimize, profile=given)
            with open_file(content) as opened:
                assert opened.info["icc_profile"] == given
                opened.load()


@pytest.mark.parametrize(
    ("shape", "profile"),
    [
        ((300, 300, 3), None),
        ((300, 300), None),
        ((9, 3001, 3), None),
        ((64, 64, 3), bytes(114_000)),  # which would leave too little for the scan
    ],
    ids=["colour", "grey", "wide", "profile"],
)
def test_noise_that_pillow_alone_refuses(shape, profile):
    """Every coefficient is coded: more than the buffer that Pillow would give."""
    noise = np.random.default_rng(0).choice(np.array([0, 255], np.uint8), shape)
    usual = ImageFile.MAXBLOCK
    content = files.encode(noise, np.ones((2, 8, 8)), "4:4:4", True, profile)
    assert usual == ImageFile.MAXBLOCK
    decoded = files.decode(content)
    # Steps of one leave nothing but roundings.
    assert psnr(decoded if noise.ndim == 3 else decoded[..., 0], noise) > 45


def test_threads_leave_the_buffer_as_it_was(astronaut):
    usual, images = ImageFile.MAXBLOCK, [astronaut[k : k + 48] for k in range(0, 96, 8)]

    def encode(image):
        return files.encode(image, PAIR, optimize_huffman=True)

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        assert list(pool.map(encode, images)) == list(map(encode, images))
    assert usual == ImageFile.MAXBLOCK


@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 1), (3, 5, 3), (1, 65500, 3)])
@pytest.mark.parametrize("optimize", [False, True])
def test_smallest_and_longest(shape, optimize):
    image = np.full(shape, 200, np.uint8)
    decoded = files.decode(files.encode(image, PAIR, "4:2:0", optimize))
    assert decoded.shape == (*shape[:2], 3)
    assert np.abs(decoded.astype(int) - 200).max() <= 2


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"image": FLAT.astype(np.float32)}, ConfigError, r"float32 \[8, 8, 3\]; exp"),
        (
            {"image": FLAT[..., :2]},
            ConfigError,
            r"\[8, 8, 2\]; expected uint8 \[H, W\]",
        ),
        ({"image": FLAT[None]}, ConfigError, r"\[1, 8, 8, 3\]; expected"),
        ({"image": FLAT[:0]}, ConfigError, r"\[0, 8, 3\]; expected"),
        (
            {"image": np.zeros((1, 65501), np.uint8)},
            DataError,
            r"65501 pixels per side are too many for JPEG \(65500\)",
        ),
        ({"subsampling": "4:1:1"}, ConfigError, "unknown subsampling '4:1:1'; did you"),
        ({"tables": PAIR * 4}, ConfigError, r"luma\[7, 7\] is 256"),
    ],
    ids=lambda value: "",
)
def test_what_no_file_can_hold(changes, error, message):
    with pytest.raises(error, match=message):
        files.encode(**({"image": FLAT, "tables": PAIR} | changes))


def test_what_is_no_file(astronaut):
    content = files.encode(astronaut[:64, :64], PAIR)
    png = io.BytesIO()
    Image.fromarray(FLAT).save(png, "PNG")
    for bad in (b"", b"text", png.getvalue(), content[:300], content[:-200]):
        with pytest.raises(DataError, match="no JPEG file: "):
            files.decode(bad)
