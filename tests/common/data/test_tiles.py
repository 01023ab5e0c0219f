"""The tool that cuts large images: what it writes is what the sources read."""

import io
import itertools
import json
import sys
import time

import numpy as np
import pytest
from PIL import Image

from common import command
from common.data import tiles
from common.data.decode import Decoded
from common.data.sources.images import ImagesSource
from common.data.sources.listing import TILE
from common.data.sources.paired import PairedSource
from common.errors import ConfigError
from tests.common.data.files import encoded, pixels


def cut(capsys, root, output, *options, size=16, overlap=4):
    """Runs the command; returns its exit code, what it said, and its errors."""
    words = [f"--input={root}", f"--output={output}", f"--size={size}"]
    words += [f"--overlap={overlap}", "--threads=2", *options]
    for name in ("thresh", "input", "output"):
        tiles._FLAGS[name].value = tiles._FLAGS[name].default
    with pytest.raises(SystemExit) as error:
        command.run(tiles.main, tiles._USAGE, tiles._FLAGS, ["tiles", *words])
    said = capsys.readouterr()
    return error.value.code, said.out, said.err


def write(path, height, width, seed, kind="PNG"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encoded(pixels(height, width, seed), kind))


def pairs(root, scope="train", sizes=((40, 30), (16, 50))):
    for seed, size in enumerate(sizes):
        for kind, offset in (("blur", 0), ("sharp", 50)):
            write(root / scope / f"scene{seed}" / kind / "01.png", *size, seed + offset)
    return root


def examples(source):
    decoded = Decoded(source, 0, "next")
    return [decoded[index] for index in range(len(decoded))]


def place(example):
    """Row and column of a tile's first pixel, from its name."""
    found = TILE.search(example["name"].removesuffix(".png"))[0]
    return tuple(map(int, found[2:].split("x")))


@pytest.mark.parametrize(("size", "overlap"), [(16, 4), (16, 0), (10, 9), (512, 96)])
def test_tiles_cover_a_side_and_end_at_its_border(size, overlap):
    for side in (*range(1, 40), 100, 513):
        starts = tiles.Grid(size, overlap).starts(side)
        assert starts == sorted(set(starts))
        covered = np.zeros(side, int)
        for start in starts:
            covered[start : start + size] += 1
        assert covered.min() >= 1
        assert starts[-1] == max(side - size, 0)
        assert all(b - a <= size - overlap for a, b in itertools.pairwise(starts))


@pytest.mark.parametrize(
    ("side", "thresh", "expected"),
    [(28, 0, [0, 12]), (30, 0, [0, 12, 14]), (30, 2, [0, 12]), (31, 2, [0, 12, 15])],
)
def test_small_remainders_are_left_out(side, thresh, expected):
    assert tiles.Grid(16, 4, thresh).starts(side) == expected


def test_tiles_of_pairs_are_read_and_put_together_again(tmp_path, capsys):
    root, output = pairs(tmp_path / "data"), tmp_path / "tiles"
    pairs(root, "test", [(20, 20)])
    code, said, _ = cut(capsys, root, output)
    assert code == 0
    assert "3 pairs cut to 34 tiles of up to 16 x 16 pixels, 0 were there" in said
    source = PairedSource(output, "train")
    assert len(source) == 3 * 3 + 4
    assert len(PairedSource(output, "eval")) == 2 * 2
    for seed, size in enumerate(((40, 30), (16, 50))):
        for key, offset in (("image", 0), ("target", 50)):
            whole = np.zeros((*size, 3), np.uint8)
            for example in examples(source):
                if f"scene{seed}/" in example["name"]:
                    tile = np.asarray(example[key])
                    top, left = place(example)
                    whole[top : top + 16, left : left + 16] = tile
            np.testing.assert_array_equal(whole, pixels(*size, seed + offset))
    first = "train/scene0/input/01_y00000x00000.png"
    assert (output / first).is_file()
    assert (output / first.replace("input", "target")).is_file()


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (
            [
                "Data/0001_001_S6_00100_00060_3200_L/NOISY_SRGB_010.PNG",
                "Data/0001_001_S6_00100_00060_3200_L/GT_SRGB_010.PNG",
            ],
            "Data/train/input/NOISY_SRGB_010",
        ),
        (
            ["ITS/hazy/1_1_0.9.png", "ITS/hazy/1_2_0.8.png", "ITS/clear/1.png"],
            "ITS/input/1_1_0.9",
        ),
        (
            [
                f"train/train_{kind}/00{i}/00.png"
                for kind in ("blur", "sharp")
                for i in range(2)
            ],
            "train/train_blur/input/000/00",
        ),
        (["input/1.png", "target/1.png"], "input/1"),
        (
            [
                "train/input/a/1.png",
                "train/target/a/1.png",
                "train/input/b/1.png",
                "train/target/b/1.png",
            ],
            "train/input/a/1",
        ),
    ],
)
def test_other_layouts(tmp_path, capsys, files, expected):
    for seed, name in enumerate(files):
        write(tmp_path / "data" / name, 16, 16, seed)
    assert cut(capsys, tmp_path / "data", tmp_path / "tiles")[0] == 0
    assert (tmp_path / "tiles" / f"{expected}_y00000x00000.png").is_file()
    given = PairedSource.find(str(tmp_path / "data"))
    found = PairedSource.find(str(tmp_path / "tiles"))
    assert len(found) == len(given)
    assert {entry.scope for entry in found} == {entry.scope for entry in given}


def test_matlab_blocks(tmp_path, capsys):
    from scipy import io as matlab

    root = tmp_path / "data"
    root.mkdir()
    blocks = np.random.default_rng(0).integers(0, 256, (2, 2, 8, 8, 3), np.uint8)
    for name, values in (("Noisy", blocks), ("Gt", 255 - blocks)):
        name = f"Validation{name}BlocksSrgb"
        matlab.savemat(root / f"{name}.mat", {name: values})
    assert cut(capsys, root, tmp_path / "tiles")[0] == 0
    found = examples(PairedSource(tmp_path / "tiles", "eval"))
    assert len(found) == 4
    np.testing.assert_array_equal(found[3]["image"], blocks[1, 1])
    np.testing.assert_array_equal(found[3]["target"], 255 - blocks[1, 1])


def test_single_images_keep_their_folders(tmp_path, capsys):
    write(tmp_path / "data" / "train" / "a" / "1.jpg", 20, 20, 0, "JPEG")
    write(tmp_path / "data" / "train" / "2.png", 10, 12, 1)
    code, said, _ = cut(capsys, tmp_path / "data", tmp_path / "tiles")
    assert (code, "2 images cut to 5 tiles" in said) == (0, True)
    found = examples(ImagesSource(tmp_path / "tiles", "train", train_split="a"))
    assert [place(example) for example in found] == [(0, 0), (0, 4), (4, 0), (4, 4)]
    data = (tmp_path / "data" / "train" / "a" / "1.jpg").read_bytes()
    whole = np.asarray(Image.open(io.BytesIO(data)))
    np.testing.assert_array_equal(found[2]["image"], whole[4:, :16])


def test_a_second_run_goes_on_where_the_first_stopped(tmp_path, capsys):
    root, output = pairs(tmp_path / "data"), tmp_path / "tiles"
    assert cut(capsys, root, output)[0] == 0
    kept = output / "train/scene0/input/01_y00000x00000.png"
    before = kept.stat().st_mtime_ns
    # Killed amid the second pair: its first tile, which is the last, is not there.
    lost = output / "train/scene1/input/01_y00000x00000.png"
    lost.unlink()
    (output / "train/scene1/input/01_y00000x00012.png").write_bytes(b"half")
    code, said, _ = cut(capsys, root, output)
    assert (code, "1 pairs cut to 8 tiles" in said) == (0, True)
    assert "1 were there already" in said
    assert kept.stat().st_mtime_ns == before
    assert len(examples(PairedSource(output, "train"))) == 13
    code, _, said = cut(capsys, root, output, size=20)
    assert (code, "was cut with other flags: {'overlap': 4, 'size': 16" in said) == (
        2,
        True,
    )


def test_an_interrupted_pair_is_not_marked_as_done(tmp_path, monkeypatch):
    root = pairs(tmp_path / "data", sizes=[(20, 20)])
    _, (job,) = tiles.find(str(root), tmp_path / "tiles")
    grid, saved = tiles.Grid(16, 4), []
    save = Image.Image.save

    def failing(image, path, **options):
        saved.append(path)
        if len(saved) == 8:
            raise OSError("disk full")
        save(image, path, **options)

    monkeypatch.setattr(Image.Image, "save", failing)
    with pytest.raises(ConfigError, match=r"cannot write the tiles of .*: disk full"):
        tiles.cut(job, grid)
    assert not job.done
    assert len(list((tmp_path / "tiles").rglob("*.png"))) == 7
    monkeypatch.undo()
    assert tiles.cut(job, grid) == 8
    assert job.done


def test_a_full_disk_stops_all_threads(tmp_path, monkeypatch):
    root = pairs(tmp_path / "data", sizes=[(20, 20)] * 30)
    _, jobs = tiles.find(str(root), tmp_path / "tiles")
    begun = []

    def failing(job, grid):
        begun.append(job)
        time.sleep(0.01)
        raise ConfigError("disk full")

    monkeypatch.setattr(tiles, "cut", failing)
    with pytest.raises(ConfigError, match="disk full"):
        tiles.run(jobs, tiles.Grid(16, 4), 1)
    assert len(begun) < 20


def test_bad_pairs_are_reported_after_the_others_are_cut(tmp_path, capsys):
    root, output = pairs(tmp_path / "data", sizes=[(20, 20)] * 3), tmp_path / "tiles"
    broken = root / "train" / "scene0" / "sharp" / "01.png"
    broken.write_bytes(broken.read_bytes()[:99])
    write(root / "train" / "scene1" / "sharp" / "01.png", 20, 19, 0)
    code, said, errors = cut(capsys, root, output)
    line = errors.splitlines()[-1]
    assert (code, said) == (2, "")
    assert "1 pairs cut to 8 tiles" in line
    assert "2 cannot be cut" in line
    assert "scene1/sharp/01.png has 19 x 20 pixels" in line
    assert "the target of " in line
    assert len(list(output.rglob("*.png"))) == 8


def test_the_input_is_never_written_to(tmp_path, capsys):
    root = pairs(tmp_path / "data")
    (tmp_path / "link").symlink_to(root)
    for output in (root, root / "tiles", tmp_path, tmp_path / "link"):
        code, _, said = cut(capsys, root, output)
        assert (code, "lie inside each other" in said) == (2, True)
    assert len(list(tmp_path.rglob("*.*"))) == 4
    other = pairs(tmp_path / "other")
    code, _, said = cut(capsys, root, other)
    assert (code, "holds files that are not tiles" in said) == (2, True)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--overlap=16"], "--overlap=16 must be in [0, 16)"),
        (["--size=0"], "size"),
        (["--input="], "--input and --output are needed"),
        (["--input=/nowhere"], "no such folder: --input=/nowhere"),
        (["word"], "given ['word']; see --help"),
    ],
)
def test_bad_flags(tmp_path, capsys, options, message):
    pairs(tmp_path / "data")
    code, _, said = cut(capsys, tmp_path / "data", tmp_path / "tiles", *options)
    assert (code, message in said) == (2, True)
    assert not (tmp_path / "tiles").exists()


def test_what_cannot_be_cut(tmp_path, capsys):
    root = tmp_path / "data"
    root.mkdir()
    code, _, said = cut(capsys, root, tmp_path / "tiles")
    assert (code, "no image" in said) == (2, True)
    write(root / "a" / "1.png", 8, 8, 0)
    write(root / "a" / "1.bmp", 8, 8, 0, "BMP")
    code, _, said = cut(capsys, root, tmp_path / "tiles")
    assert (code, "tiles of the same name" in said) == (2, True)
    assert not (tmp_path / "tiles").exists()


def test_the_record_is_a_plain_file(tmp_path, capsys):
    output = tmp_path / "tiles"
    cut(capsys, pairs(tmp_path / "data"), output, "--thresh=3")
    record = json.loads((output / "tiles.json").read_text())
    assert record == {"size": 16, "overlap": 4, "thresh": 3}


def test_the_command_imports_no_framework(capsys):
    assert "jax" not in vars(tiles)
    with pytest.raises(SystemExit) as error:
        command.run(tiles.main, tiles._USAGE, tiles._FLAGS, ["tiles", "--help"])
    assert error.value.code == 0
    assert "python -m common.data.tiles" in capsys.readouterr().out
    assert sys.modules["common.data.tiles"] is tiles
