"""Picture files: what is in them is what comes out, down to the last bit."""

import dataclasses
import errno
import io
import struct
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image, ImageCms

from common.data import decode
from common.errors import DataError
from common.restoration import pictures
from common.restoration.pictures import Picture, read, to_levels, write

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
RANDOM = np.random.default_rng(0)
COLOUR = RANDOM.integers(0, 256, (5, 7, 3), np.uint8)
ALPHA = RANDOM.integers(0, 256, (5, 7), np.uint8)
ALPHA[:2] = 0  # where the colour is easily lost
DEEP = RANDOM.integers(0, 2**16, (5, 7, 4), np.uint16)  # BGRA, for OpenCV


def levels(picture):
    return np.rint(picture.pixels * (2**picture.bits - 1)).astype(int)


def test_what_a_picture_becomes(tmp_path):
    Image.fromarray(COLOUR).save(tmp_path / "a.png", icc_profile=SRGB)
    picture = read(tmp_path / "a.png")
    assert picture.pixels.dtype == np.float32
    np.testing.assert_array_equal(levels(picture), COLOUR)
    assert picture.pixels.max() <= 1
    assert (picture.bits, picture.grey, picture.alpha) == (8, False, None)
    assert picture.profile == SRGB


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA"])
@pytest.mark.parametrize("suffix", [".png", ".webp", ".tif", ".bmp"])
def test_eight_bits_survive(tmp_path, mode, suffix):
    rgba = Image.fromarray(np.dstack([COLOUR, ALPHA]))
    image = Image.merge(mode, [rgba.getchannel(k) for k in "RGBA"[: len(mode)]])
    if mode == "LA":
        image = Image.merge("LA", [rgba.getchannel("R"), rgba.getchannel("A")])
    image.save(tmp_path / "a.png", icc_profile=SRGB)
    picture = read(tmp_path / "a.png")
    write(tmp_path / f"b{suffix}", picture)
    with Image.open(tmp_path / f"b{suffix}") as result:
        profile = result.info.get("icc_profile")
        if suffix == ".bmp" and mode.endswith("A"):  # it shows no transparency
            assert result.mode == mode[:-1]
            return
        if suffix == ".webp":
            image = image.convert("RGBA" if mode.endswith("A") else "RGB")
        assert result.mode == image.mode
        np.testing.assert_array_equal(np.asarray(result), np.asarray(image))
    if suffix != ".bmp" and mode.startswith("RGB"):
        assert profile == SRGB


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_sixteen_bits_survive(tmp_path, suffix, channels):
    array = DEEP[..., 0] if channels == 1 else DEEP[..., :channels]
    cv2.imwrite(str(tmp_path / f"a{suffix}"), array)
    picture = read(tmp_path / f"a{suffix}")
    assert (picture.bits, picture.grey) == (16, channels == 1)
    rgb = np.stack([array] * 3, -1) if channels == 1 else DEEP[..., 2::-1]
    np.testing.assert_array_equal(levels(picture), rgb)
    assert (picture.alpha is not None) == (channels == 4)
    write(tmp_path / f"b{suffix}", picture)
    result = cv2.imread(str(tmp_path / f"b{suffix}"), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(result, array)
    assert result.dtype == np.uint16
    write(tmp_path / "c.webp", picture)  # which has no more than 8
    expected = np.rint(rgb / 257)
    with Image.open(tmp_path / "c.webp") as narrow:
        np.testing.assert_array_equal(np.asarray(narrow)[..., :3], expected)


def chunk(kind, body):
    check = struct.pack(">I", zlib.crc32(kind + body))
    return struct.pack(">I", len(body)) + kind + body + check


def deep_png(array, kind, *chunks):
    """Writes 16 bits by hand: Pillow and OpenCV cannot write all there is."""
    height, width = array.shape[:2]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in array)
    header = struct.pack(">IIBBBBB", width, height, 16, kind, 0, 0, 0)
    parts = [chunk(b"IHDR", header), *chunks, chunk(b"IDAT", zlib.compress(rows))]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts) + chunk(b"IEND", b"")


def test_deep_grey_with_alpha(tmp_path):
    array = DEEP[..., :2]
    (tmp_path / "a.png").write_bytes(deep_png(array, 4))
    picture = read(tmp_path / "a.png")
    assert picture.grey
    np.testing.assert_array_equal(levels(picture)[..., 1], array[..., 0])
    np.testing.assert_array_equal(picture.alpha, array[..., 1])
    write(tmp_path / "b.png", picture)
    again = read(tmp_path / "b.png")
    np.testing.assert_array_equal(again.pixels, picture.pixels)
    np.testing.assert_array_equal(again.alpha, picture.alpha)


def test_deep_png_keeps_its_profile(tmp_path):
    profile = chunk(b"iCCP", b"x\0\0" + zlib.compress(SRGB))
    (tmp_path / "a.png").write_bytes(deep_png(DEEP[..., :3], 2, profile))
    picture = read(tmp_path / "a.png")
    assert picture.profile == SRGB
    write(tmp_path / "b.png", picture)
    assert read(tmp_path / "b.png").profile == SRGB
    np.testing.assert_array_equal(levels(read(tmp_path / "b.png")), DEEP[..., :3])


def exif(orientation):
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["jpg", "png", "deep png", "tif", "deep tif"])
def test_all_stand_upright(tmp_path, orientation, kind):
    path = tmp_path / f"a.{kind.split()[-1]}"
    if kind == "deep png":
        tags = chunk(b"eXIf", exif(orientation).tobytes().removeprefix(b"Exif\0\0"))
        path.write_bytes(deep_png(COLOUR.astype(np.uint16) * 257, 2, tags))
    elif kind == "deep tif":
        _, content = cv2.imencode(".tif", COLOUR[..., ::-1].astype(np.uint16) * 257)
        path.write_bytes(with_orientation(content.tobytes(), orientation))
    else:
        Image.fromarray(COLOUR).save(path, exif=exif(orientation))
    picture = read(path)
    assert picture.bits == (16 if "deep" in kind else 8)
    expected = np.asarray(decode.decode(str(path)))
    np.testing.assert_allclose(picture.pixels * 255, expected, atol=0.51)
    write(tmp_path / "b.png", picture)  # and are not turned once more
    np.testing.assert_allclose(read(tmp_path / "b.png").pixels, picture.pixels)


def with_orientation(tiff, orientation):
    """Adds a tag to the directory of a little-endian TIFF, in a copy at its end."""
    (start,) = struct.unpack_from("<I", tiff, 4)
    (count,) = struct.unpack_from("<H", tiff, start)
    entries = [tiff[start + 2 + 12 * k :][:12] for k in range(count)]
    entries.append(struct.pack("<HHIHH", 0x0112, 3, 1, orientation, 0))
    entries.sort(key=lambda entry: struct.unpack("<H", entry[:2]))
    tiff += b"\0" * (len(tiff) % 2)
    directory = struct.pack("<H", count + 1) + b"".join(entries) + bytes(4)
    return tiff[:4] + struct.pack("<I", len(tiff)) + tiff[8:] + directory


def test_jpeg_is_nearly_what_went_in(tmp_path):
    smooth = np.linspace(0, 1, 64, dtype=np.float32)
    pixels = np.stack(np.broadcast_arrays(smooth[:, None], smooth[None], 0.5), -1)
    write(tmp_path / "a.jpg", Picture(pixels, profile=SRGB))
    with Image.open(tmp_path / "a.jpg") as image:
        assert image.info["icc_profile"] == SRGB
        assert all(factors == 1 for _, *pair, _ in image.layer for factors in pair)
        assert max(max(table) for table in image.quantization.values()) <= 12
    assert np.abs(read(tmp_path / "a.jpg").pixels - pixels).max() < 0.02


def test_jpeg_shows_transparency_on_white(tmp_path):
    grey = np.full((8, 8, 3), 0.2, np.float32)
    alpha = np.zeros((8, 8), np.uint8)
    write(tmp_path / "a.jpg", Picture(grey, alpha=alpha))
    assert read(tmp_path / "a.jpg").pixels.min() > 0.99
    write(tmp_path / "b.jpg", Picture(grey, grey=True, alpha=alpha))
    with Image.open(tmp_path / "b.jpg") as image:
        assert image.mode == "L"
        assert np.asarray(image).min() > 252


def test_palettes_and_cmyk(tmp_path):
    image = Image.fromarray(COLOUR)
    image.quantize(4).save(tmp_path / "a.png")
    np.testing.assert_array_equal(
        levels(read(tmp_path / "a.png")), np.asarray(image.quantize(4).convert("RGB"))
    )
    cmyk = bytearray(SRGB)
    cmyk[16:20] = b"CMYK"
    image.convert("CMYK").save(tmp_path / "b.tif", icc_profile=bytes(cmyk))
    picture = read(tmp_path / "b.tif")
    np.testing.assert_array_equal(levels(picture), COLOUR)
    assert picture.profile is None  # of other channels


def test_the_first_of_several(tmp_path, caplog):
    first, second = Image.fromarray(COLOUR), Image.new("RGB", (7, 5))
    first.save(tmp_path / "a.tif", save_all=True, append_images=[second])
    np.testing.assert_array_equal(levels(read(tmp_path / "a.tif")), COLOUR)
    assert "only the first of 2 images" in caplog.text


def encoded(suffix, array=COLOUR):
    buffer = io.BytesIO()
    Image.fromarray(array).resize((200, 150)).save(buffer, suffix)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no image of a known kind"),
        (b"no image at all", "no image of a known kind"),
        (encoded("png")[:-2000], ""),
        (encoded("jpeg")[:-2000], "truncated"),
        (deep_png(RANDOM.integers(0, 2**16, (90, 90, 3)), 2)[:-9000], "truncated"),
    ],
)
def test_broken_files(tmp_path, content, message):
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(DataError, match=f"cannot be read: .*{message}"):
        read(tmp_path / "a.png")


def test_files_that_are_refused(tmp_path, monkeypatch):
    with pytest.raises(DataError, match=r"cannot be read: .*No such file"):
        read(tmp_path / "missing.png")
    Image.fromarray(np.ones((3, 4), np.float32)).save(tmp_path / "f.tif")
    with pytest.raises(DataError, match="no known value range for pixels of mode 'F'"):
        read(tmp_path / "f.tif")
    Image.fromarray(COLOUR).save(tmp_path / "a.png")
    monkeypatch.setattr(decode, "MAX_PIXELS", 34)
    with pytest.raises(DataError, match="7 x 5 pixels are too many"):
        read(tmp_path / "a.png")


def test_rounding_to_the_nearest_and_clipping():
    pixels = np.array([-0.3, 0, 0.49 / 255, 0.51 / 255, 1, 1.7], np.float32)
    assert to_levels(pixels).tolist() == [0, 0, 0, 1, 255, 255]
    assert to_levels(pixels[[0, 4, 5]], 16).tolist() == [0, 65535, 65535]
    assert to_levels(pixels).dtype == np.uint8
    with pytest.raises(DataError, match="1 of 2 restored values are not finite"):
        to_levels(np.array([0, np.nan]))


def test_grey_is_the_mean(tmp_path):
    pixels = np.broadcast_to(np.float32([0.1, 0.2, 0.6]), (4, 4, 3))
    write(tmp_path / "a.png", Picture(pixels, grey=True))
    assert (np.asarray(Image.open(tmp_path / "a.png")) == round(0.3 * 255)).all()


def test_what_cannot_be_written_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "a.png"
    path.write_text("old")
    picture = Picture(np.full((2, 2, 3), np.nan, np.float32))
    with pytest.raises(DataError, match="12 of 12"):
        write(path, picture)
    assert path.read_text() == "old"
    full = OSError(errno.ENOSPC, "No space left on device")

    def fill_disk(self, content):
        with self.open("wb") as file:
            file.write(content[:9])
        raise full

    good = dataclasses.replace(picture, pixels=np.ones((2, 2, 3), np.float32))
    with monkeypatch.context() as patched:
        patched.setattr(type(path), "write_bytes", fill_disk)
        with pytest.raises(OSError, match="No space"):
            write(path, good)
    assert path.read_text() == "old"
    assert [x.name for x in tmp_path.iterdir()] == ["a.png"]
    write(path, good)
    assert read(path).pixels.min() == 1


def test_formats_with_an_end(tmp_path):
    with pytest.raises(DataError, match=r"cannot be encoded as \.webp: "):
        write(tmp_path / "a.webp", Picture(np.zeros((1, 20_000, 3), np.float32)))
    wide = Picture(np.broadcast_to(np.float32(0), (1, 20_000, 3)))
    with pytest.raises(DataError, match=r"20000 pixels .* for \.webp \(16383\)"):
        pictures.check_fits(wide, tmp_path / "a.webp")
    pictures.check_fits(wide, tmp_path / "a.jpg")
