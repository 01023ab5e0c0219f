"""`--mode=apply`: folders of anything become JPEG files of given tables."""

import csv
import io
import json
import shutil

import cv2
import numpy as np
import pytest
from absl.testing import flagsaver
from PIL import Image, ImageCms

from common.data.sources.bundled import open_bundled
from common.errors import ConfigError, DataError
from common.metrics.image import ms_ssim, psnr
from common.restoration import pictures
from compression import apply, files, folder, jpeg, tables
from tests.common import launching

PAIR = np.stack([np.arange(1, 65), np.arange(64, 0, -1)]).reshape(2, 8, 8)
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


@pytest.fixture(scope="module")
def photo():
    with Image.open(open_bundled("photos", "eval")[0]["image"]) as image:
        cut = image.convert("RGB").crop((180, 60, 350, 225))
        return Image.fromarray(np.asarray(cut))  # without the file's own profile


@pytest.fixture
def home(tmp_path, photo):
    (tmp_path / "in/b").mkdir(parents=True)
    photo.save(tmp_path / "in/a.png", icc_profile=SRGB)
    photo.resize((33, 37)).save(tmp_path / "in/b/c.tif")
    tables.write_json(tmp_path / "tables.json", PAIR, subsampling="4:2:0")
    tables.write_qtables(tmp_path / "tables.txt", PAIR)
    return tmp_path


def run(home, workdir=None, **given):
    given = {"input": str(home / "in"), "output": str(home / "out")} | given
    with flagsaver.flagsaver(**given):
        return apply.run(workdir)


def rows(home):
    return list(csv.DictReader(io.StringIO((home / "out/files.csv").read_text())))


def test_a_folder_with_tables_from_a_file(home, photo, capsys):
    text = run(home, tables=str(home / "tables.json"))
    first, second = capsys.readouterr().out.splitlines()
    content = (home / "out/a.jpg").read_bytes()
    pixels = np.asarray(photo)
    assert content == files.encode(pixels, PAIR, "4:2:0", True, SRGB)
    with Image.open(home / "out/b/c.jpg") as image:
        assert image.size == (33, 37)
        assert image.quantization == {k: PAIR[k].ravel().tolist() for k in (0, 1)}
    assert {p.name for p in (home / "out").iterdir()} == {
        "a.jpg", "b", "files.md", "files.csv",
    }  # fmt: skip
    large, small = rows(home)
    size, decoded = len(content), files.decode(content)
    assert large == {
        "image": "a.jpg",
        "width": "170",
        "height": "165",
        "bytes": str(size),
        "bpp": f"{size * 8 / (170 * 165):.4f}",
        "psnr": f"{psnr(decoded, pixels):.4f}",
        "ms_ssim": f"{ms_ssim(decoded, pixels):.4f}",
    }
    assert (small["image"], small["ms_ssim"]) == ("b/c.jpg", "")
    assert first.startswith(
        f"{home}/in/a.png -> {home}/out/a.jpg: 170 x 165, {size} bytes, "
    )
    assert f" dB, {first.split(', ')[-1]}" in first
    assert second.startswith(f"{home}/in/b/c.tif -> {home}/out/b/c.jpg: 33 x 37, ")
    total = size + int(small["bytes"])
    bpp = total * 8 / (170 * 165 + 33 * 37)
    mean = (float(large["psnr"]) + float(small["psnr"])) / 2
    assert text == f"2 images: {total} bytes, {bpp:.4g} bpp, mean {mean:.2f} dB"


def test_annex_k_of_one_file(home, photo):
    """Options reach the file; older results are replaced."""
    (home / "out").mkdir()
    (home / "out/a.jpg").write_text("old")
    text = run(
        home,
        input=str(home / "in/a.png"),
        quality=30,
        subsampling="4:2:2",
        optimize_huffman=False,
    )
    content = (home / "out/a.jpg").read_bytes()
    expected = files.encode(
        np.asarray(photo), jpeg.quality_tables(30), "4:2:2", profile=SRGB
    )
    assert content == expected
    assert text.startswith(f"1 image: {len(content)} bytes, ")


@pytest.mark.parametrize(
    ("source", "given", "expected", "warned"),
    [
        ("tables.txt", None, "4:4:4", False),
        ("tables.json", None, "4:2:0", False),
        ("tables.json", "4:2:0", "4:2:0", False),
        ("tables.json", "4:4:4", "4:4:4", True),
    ],
)
def test_chroma_as_the_tables_were_made_for(
    home, photo, source, given, expected, warned, caplog
):
    run(home, tables=str(home / source), subsampling=given)
    content = files.encode(np.asarray(photo), PAIR, expected, True, SRGB)
    assert (home / "out/a.jpg").read_bytes() == content
    assert ("json was made for 4:2:0, not 4:4:4" in caplog.text) == warned
    assert ("was made for" in caplog.text) == warned


def test_what_pictures_become(tmp_path, photo):
    """Depth, grey, CMYK, palette, transparency, orientation, tiny sizes."""
    home = tmp_path
    (home / "in").mkdir()
    rgb = photo.crop((40, 40, 72, 80))
    colour, grey = np.asarray(rgb), np.asarray(rgb.convert("L"))
    expected = {}

    def add(name, image, pixels, **options):
        image.save(home / "in" / name, **options)
        expected[name] = np.asarray(pixels)

    add("grey.png", rgb.convert("L"), grey)
    add("cmyk.tif", rgb.convert("CMYK"), rgb.convert("CMYK").convert("RGB"))
    add("palette.gif", rgb.quantize(16), rgb.quantize(16).convert("RGB"))
    add("one.png", rgb.crop((3, 3, 4, 4)), colour[3:4, 3:4])
    add("small.bmp", rgb.crop((0, 0, 5, 3)), colour[:3, :5])
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter
    add("turned.png", rgb, np.rot90(colour, -1), exif=exif)
    clear = rgb.convert("RGBA")
    clear.putalpha(Image.new("L", rgb.size, 0))
    add("clear.png", clear, np.full_like(colour, 255))
    half = Image.merge("LA", [rgb.convert("L"), Image.new("L", rgb.size, 128)])
    white = Image.alpha_composite(
        Image.new("RGBA", rgb.size, "white"), half.convert("RGBA")
    )
    add("half.png", half, white.convert("L"))
    deep = colour.astype(np.uint16) * 257 + np.uint16(100)  # less than half a level
    assert cv2.imwrite(str(home / "in/deep.png"), deep[..., ::-1])
    expected["deep.png"] = np.minimum(colour, 255)

    run(home, quality=90)
    for name, pixels in expected.items():
        path = (home / "out" / name).with_suffix(".jpg")
        content = files.encode(pixels, jpeg.quality_tables(90), "4:4:4", True)
        assert path.read_bytes() == content, name


def test_bad_ones_are_skipped_and_counted(home, photo, capsys, caplog, monkeypatch):
    monkeypatch.setitem(pictures.LONGEST, ".jpg", 200)
    (home / "in/aa.png").write_text("no image")
    photo.save(home / "in/cut.png")
    cut = (home / "in/cut.png").read_bytes()
    (home / "in/cut.png").write_bytes(cut[: len(cut) // 2])
    photo.crop((0, 0, 1, 1)).resize((201, 1)).save(home / "in/long.png")
    with pytest.raises(DataError, match=r"3 of 5 images were not encoded: .*aa\.png, "):
        run(home, quality=50)
    assert f"{home}/in/aa.png: cannot be read: no image of a known kind" in caplog.text
    assert f"{home}/in/cut.png: cannot be read: " in caplog.text
    assert "201 pixels per side are too many for JPEG (200)" in caplog.text
    assert len(capsys.readouterr().out.splitlines()) == 2
    assert [row["image"] for row in rows(home)] == ["a.jpg", "b/c.jpg"]
    left = sorted(p.name for p in (home / "out").rglob("*") if p.is_file())
    assert left == ["a.jpg", "c.jpg", "files.csv", "files.md"]


def test_too_long_is_found_before_the_work():
    with pytest.raises(DataError, match="65501 pixels per side are too many for JPEG"):
        folder.photo(pictures.Picture(np.zeros((1, 65501, 3), np.float32)))


def test_a_file_that_cannot_be_written_is_skipped(home, caplog):
    (home / "out/a.jpg").mkdir(parents=True)  # where a file should go
    with pytest.raises(DataError, match="1 of 2 images were not encoded"):
        run(home, quality=50)
    assert [row["image"] for row in rows(home)] == ["b/c.jpg"]


def test_no_image_can_be_read(home):
    shutil.rmtree(home / "in/b")
    (home / "in/a.png").write_text("no image")
    with pytest.raises(DataError, match="1 of 1 images were not encoded"):
        run(home, quality=50)
    assert not list((home / "out").iterdir())


def test_pairs_are_nothing_special_here(home):
    (home / "in/b").rename(home / "in/input")
    (home / "in/target").mkdir()
    shutil.copy(home / "in/a.png", home / "in/target/t.png")
    run(home, quality=50)
    assert len(rows(home)) == 3


def damage(path):
    path.write_text(path.read_text().replace("64", "256"))


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"quality": 0}, ConfigError, "quality=0 must be a whole number from 1 to 100"),
        ({"quality": 101}, ConfigError, "quality=101 must be"),
        ({"tables": "{home}/none"}, DataError, "none cannot be read: No such file"),
        ({"tables": "{home}/in"}, DataError, "in cannot be read: Is a directory"),
        ({"tables": "{home}/in/a.png"}, DataError, "a.png holds no quantisation tab"),
        ({"tables": "{home}/bad.json"}, DataError, "luma[7, 7] is 256; an entry of"),
        ({"tables": "{home}/bad.txt"}, DataError, "luma[7, 7] is 256; an entry of"),
        ({"input": "{home}/none"}, DataError, "none: no such file or folder"),
        ({"input": "{home}/empty"}, DataError, "empty: no image (.bmp "),
        ({"output": "{home}/in/a.png"}, ConfigError, "must be a folder, not a file"),
        ({"output": "/dev/null/x"}, ConfigError, "cannot be written: Not a directory"),
        ({"input": "{home}/jpg", "output": "{home}/jpg"}, ConfigError, "would replace"),
        ({"input": "{home}/two"}, ConfigError, "would both become"),
        ({"workdir": "{home}/run"}, ConfigError, "--mode=apply takes no --workdir"),
    ],
    ids=str,
)
def test_mistakes_are_found_before_the_work(home, given, error, message, monkeypatch):
    for name in ("tables.json", "tables.txt"):
        shutil.copy(home / name, home / name.replace("tables", "bad"))
        damage(home / name.replace("tables", "bad"))
    (home / "empty").mkdir()
    for name in ("jpg/x.jpg", "two/x.gif", "two/x.bmp"):
        (home / name).parent.mkdir(exist_ok=True)
        shutil.copy(home / "in/a.png", home / name)
    monkeypatch.setattr(pictures, "read", lambda path: pytest.fail("read"))
    given = {
        k: v.format(home=home) if isinstance(v, str) else v for k, v in given.items()
    }
    if not {"tables", "quality"} & set(given):
        given["quality"] = 50
    with pytest.raises(error) as told:
        run(home, **given)
    assert message in str(told.value)
    assert "--format" not in str(told.value)


def test_nothing_lost_is_infinite(home):
    """Black is coded as it is."""
    Image.new("RGB", (8, 8)).save(home / "in/black.png")
    assert run(home, quality=50).endswith(", mean inf dB")
    assert rows(home)[2]["psnr"] == "inf"


def test_from_the_command_line(home):
    """A broken image among good ones: exit code 2, the rest is there."""
    (home / "in/aa.png").write_text("no image")
    args = [f"--input={home}/in", f"--output={home}/out", f"--tables={home}/tables.txt"]
    code, out, err = launching.run("--mode=apply", *args, module="compression.main")
    assert code == 2, err
    assert len(out.splitlines()) == 2
    last = err.splitlines()[-1]
    assert last == f"error: 1 of 3 images were not encoded: {home}/in/aa.png"
    assert "Traceback" not in err
    assert json.loads((home / "tables.json").read_text())["subsampling"] == "4:2:0"
    assert [row["image"] for row in rows(home)] == ["a.jpg", "b/c.jpg"]
