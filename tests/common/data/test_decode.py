"""Decoding of every kind of image, and of broken ones."""

import io
import pickle

import numpy as np
import pytest
from absl import logging
from PIL import Image

from common.data import decode as decode_lib
from common.data.decode import Decoded, decode
from common.data.sources.folder import FolderSource, ListSource
from common.errors import ConfigError, DataError
from tests.common.data.files import encoded, pixels, write_folder

IMAGE = pixels(20, 30)


class Arrays:
    """A source of arrays instead of files."""

    class_names = ()

    def __init__(self, *images):
        self._images = images

    def __len__(self):
        return len(self._images)

    def __getitem__(self, index):
        return {"image": self._images[index], "id": index}


@pytest.fixture
def warnings(monkeypatch):
    """Returns the list that warnings are appended to, as texts."""
    lines = []
    monkeypatch.setattr(logging, "warning", lambda text, *a: lines.append(text % a))
    return lines


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "WEBP"])
def test_lossless_files_give_their_pixels(kind, tmp_path):
    options = {"lossless": True} if kind == "WEBP" else {}
    data = encoded(IMAGE, kind, **options)
    path = tmp_path / "image"
    path.write_bytes(data)
    for source in (data, str(path), IMAGE):
        image = decode(source)
        assert image.mode == "RGB"
        np.testing.assert_array_equal(np.asarray(image), IMAGE)


def test_jpeg_is_close():
    image = np.asarray(decode(encoded(IMAGE, "JPEG", quality=95))).astype(int)
    assert np.abs(image - IMAGE).mean() < 8


def test_orientation_tag_is_applied():
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: show rotated by 90 degrees clockwise
    image = decode(encoded(IMAGE, "PNG", exif=exif))
    np.testing.assert_array_equal(np.asarray(image), np.rot90(IMAGE, -1))


# The tag's value -> what undoes the turn of the camera.
ORIENTATIONS = {
    1: lambda x: x,
    2: lambda x: x[:, ::-1],
    3: lambda x: x[::-1, ::-1],
    4: lambda x: x[::-1],
    5: lambda x: x.swapaxes(0, 1),
    6: lambda x: np.rot90(x, -1),
    7: lambda x: np.rot90(x, 2).swapaxes(0, 1),
    8: lambda x: np.rot90(x, 1),
}


@pytest.mark.parametrize("value", ORIENTATIONS)
@pytest.mark.parametrize("kind", ["color", "grey", "wide"])
def test_every_orientation_of_every_depth(value, kind):
    stored = {
        "color": IMAGE,
        "grey": IMAGE[..., 0],
        "wide": IMAGE[..., 0].astype(np.uint16) * 257,
    }[kind]
    exif = Image.Exif()
    exif[0x0112] = value
    expected = ORIENTATIONS[value](IMAGE if kind == "color" else IMAGE[..., :1])
    for container in ("PNG", "TIFF"):
        image = np.asarray(decode(encoded(stored, container, exif=exif)))
        np.testing.assert_array_equal(image, np.broadcast_to(expected, image.shape))
    assert image.shape[:2] == expected.shape[:2]


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_broken_camera_tags_do_not_cost_the_image(kind):
    options = {"lossless": True} if kind == "WEBP" else {}
    plain = decode(encoded(IMAGE, kind, **options))
    tagged = decode(encoded(IMAGE, kind, exif=b"Exif\0\0garbage", **options))
    np.testing.assert_array_equal(np.asarray(tagged), np.asarray(plain))


def test_sixteen_bit_grey_is_scaled_and_rounded():
    """Not clipped at 255 and not cut: 128 / 257 rounds to 0, 129 / 257 to 1."""
    values = np.array([[0, 128, 129, 385, 386, 32768, 65406, 65407, 65535]], np.uint16)
    expected = [0, 0, 1, 1, 2, 128, 254, 255, 255]
    files = [encoded(values, kind) for kind in ("PNG", "TIFF")]
    # Other byte order, and Pillow's 32-bit pixels for a 16-bit PGM.
    big = values.astype(">u2").tobytes()
    files.append(encoded(Image.frombytes("I;16B", (9, 1), big), "TIFF"))
    files.append(b"P5 9 1 65535\n" + big)
    for data in files:
        np.testing.assert_array_equal(np.asarray(decode(data))[0, :, 1], expected)


def test_sixteen_bit_grey_with_a_transparent_value():
    values = np.array([[0, 1000, 65535]], np.uint16)
    seen = Image.open(io.BytesIO(encoded(values, "PNG", transparency=1000)))
    assert seen.info["transparency"] == 1000
    image = np.asarray(decode(encoded(values, "PNG", transparency=1000)))
    np.testing.assert_array_equal(image[0, :, 0], [0, 255, 255])


def test_sixteen_bit_colour_keeps_its_range():
    values = np.array([0, 257, 25700, 514, 51400, 65535], ">u2")
    image = np.asarray(decode(b"P6 2 1 65535\n" + values.tobytes()))
    np.testing.assert_allclose(image.ravel(), [0, 1, 100, 2, 200, 255], atol=1)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "YCbCr"])
def test_every_mode_becomes_the_rgb_of_its_pixels(mode):
    """Four pixels whose value in each mode is known without converting anything."""
    red, blue = (255, 0, 0), (0, 0, 255)
    image, expected, tolerance = {
        "1": (Image.new("1", (2, 2), 1), (255,) * 3, 0),
        "L": (Image.new("L", (2, 2), 77), (77,) * 3, 0),
        # Half transparent on white: 0.4 * 100 + 0.6 * 255 = 193.
        "LA": (Image.new("LA", (2, 2), (100, 102)), (193,) * 3, 0),
        "P": (_palette(red, blue), blue, 0),
        "RGBA": (Image.new("RGBA", (2, 2), (100, 0, 255, 102)), (193, 153, 255), 0),
        "CMYK": (Image.new("CMYK", (2, 2), (0, 255, 255, 0)), red, 0),
        # Y of ITU-R 601, Cb and Cr about 128.
        "YCbCr": (Image.new("YCbCr", (2, 2), (76, 85, 255)), red, 2),
    }[mode]
    container = "TIFF" if mode in ("CMYK", "YCbCr") else "PNG"
    data = encoded(image, container)
    assert Image.open(io.BytesIO(data)).mode == mode
    pixels = np.asarray(decode(data)).astype(int)
    np.testing.assert_allclose(
        pixels, np.broadcast_to(expected, (2, 2, 3)), 0, tolerance
    )


def _palette(*colors):
    image = Image.new("P", (2, 2), len(colors) - 1)
    image.putpalette([value for color in colors for value in color])
    return image


@pytest.mark.parametrize("shape", [(0, 5, 3), (5, 0, 3), (0, 0), (5, 0)])
def test_an_image_without_pixels_is_a_bad_example(shape, warnings):
    nothing = np.zeros(shape, np.uint8)
    with pytest.raises(ValueError, match="is empty"):
        decode(nothing)
    decoded = Decoded(Arrays(nothing, IMAGE), 1, "next")
    assert decoded[0]["id"] == 1
    assert len(warnings) == 1


def test_grey_and_sixteen_bit_become_three_equal_channels():
    gray = IMAGE[..., 0]
    wide = gray.astype(np.uint16) * 257  # 0..255 onto 0..65535
    for array in (gray, wide):
        image = np.asarray(decode(encoded(array, "PNG")))
        np.testing.assert_array_equal(image, np.repeat(gray[..., None], 3, -1))
    np.testing.assert_array_equal(np.asarray(decode(gray))[..., 2], gray)


def test_transparency_is_on_white():
    alpha = np.zeros((20, 30), np.uint8)
    alpha[:10] = 255
    rgba = Image.fromarray(np.dstack([IMAGE, alpha]))
    image = np.asarray(decode(encoded(rgba, "PNG")))
    np.testing.assert_array_equal(image[:10], IMAGE[:10])
    assert (image[10:] == 255).all()
    palette = Image.new("P", (4, 4), 1)
    palette.putpalette([0, 0, 0, 10, 20, 30])
    assert decode(encoded(palette, "PNG")).getpixel((0, 0)) == (10, 20, 30)
    transparent = encoded(palette, "PNG", transparency=1)
    assert decode(transparent).getpixel((0, 0)) == (255, 255, 255)


def test_cmyk_jpeg():
    cmyk = Image.new("CMYK", (16, 16), (255, 0, 0, 0))
    red, green, blue = decode(encoded(cmyk, "JPEG", quality=95)).getpixel((8, 8))
    assert red < 10
    assert min(green, blue) > 245


def test_an_image_too_large_is_refused(monkeypatch):
    monkeypatch.setattr(decode_lib, "MAX_PIXELS", 20 * 30 - 1)
    with pytest.raises(ValueError, match="30 x 20 pixels"):
        decode(encoded(IMAGE, "PNG"))


def test_float_pixels_have_no_known_range():
    with pytest.raises(ValueError, match="'F'"):
        decode(encoded(Image.new("F", (4, 4)), "TIFF"))


@pytest.mark.parametrize(("depth", "dtype"), [(4, "uint8"), (3, "float32")])
def test_a_wrong_array_is_the_sources_error_not_a_bad_example(depth, dtype):
    source = Arrays(np.zeros((4, 4, depth), dtype))
    with pytest.raises(DataError, match=f"given {dtype}"):
        Decoded(source, 100, "mask")[0]


def broken(tmp_path, kind="jpeg"):
    """A folder of six images; returns its source and the paths to break."""
    root = write_folder(tmp_path / "data", {"a": 3, "b": 3}, kind)
    paths = sorted(root.rglob(f"*.{kind}"))
    return ListSource([(str(p), int(p.parent.name == "b")) for p in paths], "ab"), paths


def truncate(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])


def corrupt(path):
    path.write_bytes(b"this is no image at all")


def empty(path):
    path.write_bytes(b"")


def remove(path):
    path.unlink()


DAMAGE = pytest.mark.parametrize("damage", [truncate, corrupt, empty, remove])
KINDS = pytest.mark.parametrize("kind", ["jpeg", "png"])


@KINDS
@DAMAGE
def test_training_takes_the_next_readable_example(tmp_path, kind, damage, warnings):
    source, paths = broken(tmp_path, kind)
    damage(paths[1])
    damage(paths[2])
    damage(paths[5])
    decoded = Decoded(source, 3, "next")
    assert len(decoded) == 6
    ids = [decoded[i]["id"] for i in range(6)] + [decoded[i]["id"] for i in range(6)]
    assert ids == [0, 3, 3, 3, 4, 0] * 2
    assert decoded[1]["label"] == 1  # the label goes with the image
    assert "mask" not in decoded[1]
    # Each once, although read again and again.
    assert len(warnings) == 3
    assert all(sum(str(paths[i]) in line for line in warnings) == 1 for i in (1, 2, 5))


@KINDS
@DAMAGE
def test_evaluation_masks_a_black_image(tmp_path, kind, damage, warnings):
    source, paths = broken(tmp_path, kind)
    damage(paths[0])
    damage(paths[4])
    decoded = Decoded(source, 2, "mask")
    examples = [decoded[i] for i in range(6)]
    assert [e["id"] for e in examples] == list(range(6))
    assert [e["label"] for e in examples] == [0, 0, 0, 1, 1, 1]
    assert [e["mask"] for e in examples] == [False, True, True, True, False, True]
    assert examples[0]["image"].size == (32, 24)  # as the readable ones
    assert examples[0]["image"].getextrema() == ((0, 0),) * 3
    assert len(warnings) == 2


@pytest.mark.parametrize("on_error", ["next", "mask"])
def test_past_the_limit_the_error_names_the_file(tmp_path, on_error, warnings):
    source, paths = broken(tmp_path)
    truncate(paths[0])
    corrupt(paths[2])
    decoded = Decoded(source, 1, on_error)
    decoded[0]
    with pytest.raises(DataError, match="max_bad_examples is 1") as error:
        decoded[2]
    assert str(paths[2]) in str(error.value)
    with pytest.raises(DataError, match="max_bad_examples is 0"):
        Decoded(source, 0, on_error)[0]


def test_no_readable_example(tmp_path, warnings):
    source, paths = broken(tmp_path)
    for path in paths:
        remove(path)
    with pytest.raises(DataError, match="none of the 6"):
        Decoded(source, 6, "next")[3]


def test_blank_has_the_keys_and_size_of_a_real_example(tmp_path, warnings):
    source, paths = broken(tmp_path)
    corrupt(paths[0])
    decoded = Decoded(source, 1, "mask")
    blank = decoded.blank()
    assert set(blank) == set(decoded[1])
    assert blank["image"].size == (32, 24)
    assert blank["id"] == -1
    assert blank["mask"] is False


def test_a_copy_for_a_worker_counts_for_itself(tmp_path, warnings):
    source, paths = broken(tmp_path)
    corrupt(paths[0])
    corrupt(paths[1])
    decoded = Decoded(source, 1, "mask")
    decoded[0]
    copy = pickle.loads(pickle.dumps(decoded))
    copy[1]  # the first of its own
    with pytest.raises(DataError):
        copy[0]


def test_bad_arguments(tmp_path):
    source = FolderSource(write_folder(tmp_path / "d", {"a": 2}), "train")
    with pytest.raises(ConfigError, match="did you mean 'next'"):
        Decoded(source, 0, "nxt")
    with pytest.raises(ConfigError, match="negative"):
        Decoded(source, -1, "next")
    with pytest.raises(DataError, match="no examples"):
        Decoded(ListSource([], []), 0, "next")


class Pairs(Arrays):
    """A source of (image, target)."""

    def __getitem__(self, index):
        image, target = self._images[index]
        return {"image": image, "target": target, "id": index, "name": f"n{index}"}


BROKEN = b"no image"


def test_targets_are_decoded_as_images_are():
    example = Decoded(Pairs((IMAGE, encoded(255 - IMAGE, "PNG"))), 0, "next")[0]
    assert example["target"].mode == "RGB"
    np.testing.assert_array_equal(np.asarray(example["image"]), IMAGE)
    np.testing.assert_array_equal(np.asarray(example["target"]), 255 - IMAGE)


@pytest.mark.parametrize("bad", [(BROKEN, IMAGE), (IMAGE, BROKEN)])
def test_a_pair_is_bad_when_one_of_it_is(bad, warnings):
    good = (IMAGE, 255 - IMAGE)
    assert Decoded(Pairs(good, bad), 1, "next")[1]["id"] == 0
    example = Decoded(Pairs(bad, good), 1, "mask")[0]
    assert example["mask"] is False
    for key in ("image", "target"):
        assert example[key].size == (30, 20)
        assert example[key].getextrema() == ((0, 0),) * 3
    assert ("the target of n" in warnings[0]) == (bad[1] is BROKEN)
    blank = Decoded(Pairs(good), 0, "mask").blank()
    assert set(blank) == {"image", "target", "id", "name", "mask"}


@pytest.mark.parametrize("on_error", ["next", "mask"])
def test_a_pair_of_different_sizes_ends_the_run(on_error, tmp_path):
    path = tmp_path / "target.png"
    path.write_bytes(encoded(IMAGE[:, :-1], "PNG"))
    source = Pairs((IMAGE, str(path)), (IMAGE, IMAGE))
    with pytest.raises(DataError) as error:
        Decoded(source, 100, on_error)[0]
    for part in ("n0 has 30 x 20", f"{path} has 29 x 20"):
        assert part in str(error.value)
