"""Readers of votes: what is wrong is named, what is missing is counted."""

import numpy as np
import pytest
from PIL import Image

from common import config as configs
from common.errors import DataError
from iqa import check, score_data, votes
from iqa.config import default_config

LINE = "{} {} 0 1 5 17 38 36 15 6 5 1 0 22 1396"


def write_ava(folder, ids=range(1, 41), missing=(), broken=()):
    (folder / "images").mkdir(parents=True)
    lines = [LINE.format(row, key) for row, key in enumerate(ids, 1)]
    (folder / "AVA.txt").write_text("\n".join(lines) + "\n")
    for key in ids:
        if key not in missing:
            Image.new("RGB", (20, 12), (key, 0, 0)).save(folder / f"images/{key}.jpg")
        if key in broken:
            (folder / f"images/{key}.jpg").write_bytes(b"no picture")
    return folder


def open_(folder, split, **fields):
    config = default_config()
    for name, value in fields.items():
        config.data[name] = value
    return score_data.open_source(config.data, split, str(folder))


def keys(source):
    return {picture.key for picture in source._rated}


def test_ava(tmp_path):
    folder = write_ava(tmp_path / "ava")
    train, held_out = (open_(folder, split) for split in ("train", "eval"))
    assert len(train) + len(held_out) == 40
    assert 3 <= len(held_out) <= 14
    assert not keys(train) & keys(held_out)
    example = train[0]
    assert example["scores"].dtype == np.float32
    np.testing.assert_allclose(
        example["scores"] * 124, [0, 1, 5, 17, 38, 36, 15, 6, 5, 1]
    )
    assert example["image"].endswith(f"images/{train._rated[0].key}.jpg")
    assert train.num_scores == 10


def test_the_same_pictures_are_held_out_when_others_come(tmp_path):
    few = keys(open_(write_ava(tmp_path / "few", range(1, 31)), "eval"))
    many = keys(open_(write_ava(tmp_path / "many", range(1, 61)), "eval"))
    assert few == {key for key in many if int(key) <= 30}


def test_missing_and_broken_pictures_are_counted(tmp_path, caplog):
    folder = write_ava(tmp_path / "ava", missing=(3, 7), broken=(9,))
    config = default_config()
    text = check.run(None, config, "", str(folder))
    assert "40 pictures with votes: 2 without a file, 1 cannot be read" in text
    assert (folder / "unreadable.txt").read_text() == "9\n"
    found = keys(open_(folder, "train")) | keys(open_(folder, "eval"))
    assert found == {str(key) for key in range(1, 41)} - {"3", "7", "9"}
    assert "there is no file: " in caplog.text
    assert "unreadable.txt lists them: 9" in caplog.text
    assert "fingerprint" not in caplog.text or "pictures" in caplog.text


def test_splits_of_files(tmp_path, caplog):
    folder = write_ava(tmp_path / "ava")
    (folder / "test.txt").write_text("4\n8\n15\n999\n")
    held_out = open_(folder, "eval", eval_split="test.txt")
    assert keys(held_out) == {"4", "8", "15"}
    assert "1 of 4 names" in caplog.text
    assert "such as 999" in caplog.text
    with pytest.raises(DataError, match="no such file of a split"):
        open_(folder, "eval", eval_split="tests.txt")


def test_fingerprint_is_of_the_set():
    def rated(names):
        return [votes.Rated(name, None, np.ones(2)) for name in names]

    one = votes.fingerprint(rated("abc"))
    assert votes.fingerprint(rated("cab")) == one
    assert votes.fingerprint(rated("abd")) != one


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("1 2 3", "line 2: 3 numbers, 15 expected"),
        (LINE.format(1, "x"), "line 2: 'x' is no picture's id"),
        (LINE.format(1, 2).replace("38", "many"), "line 2: votes are whole numbers"),
        (LINE.format(1, 2).replace("38", "-3"), "line 2: votes .* are negative"),
        ("1 2 0 0 0 0 0 0 0 0 0 0 1 2 3", "line 2: votes .* there are 0"),
        (LINE.format(1, 1), "more than one line for 1"),
    ],
)
def test_lines_of_ava_that_cannot_be(tmp_path, line, message):
    folder = write_ava(tmp_path / "ava", [1])
    with (folder / "AVA.txt").open("a") as stream:
        stream.write(line + "\n")
    with pytest.raises(DataError, match=message):
        open_(folder, "train")


def test_a_table_of_votes(tmp_path):
    for name in ("a b.png", "sub/c.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (9, 9)).save(tmp_path / name)
    text = "image,1,2,3\na b.png,0,1,3\nsub/c.png,5,0,0\n\n"
    (tmp_path / "votes.csv").write_text(text)
    rated = votes.read_table(tmp_path)
    assert [p.key for p in rated] == ["a b.png", "sub/c.png"]
    np.testing.assert_array_equal(rated[0].votes, [0, 1, 3])
    source = votes.VoteSource(rated)
    np.testing.assert_allclose(source[1]["scores"], [1, 0, 0])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the first line is"),
        (
            "image,mos\na.png,3\n",
            "the first line is image,1,2,...,K, given 'image,mos'",
        ),
        ("image,1,2\na.png,3\n", "line 2: 2 cells, 3 are expected"),
        ("image,1,2\na.png,3,1.5\n", "votes are whole numbers"),
        ("image,1,2\na.png,3,1\na.png,3,1\n", "more than one line for a.png"),
    ],
)
def test_tables_that_cannot_be(tmp_path, text, message):
    (tmp_path / "votes.csv").write_text(text)
    with pytest.raises(DataError, match=message.replace(".", r"\.")):
        votes.read_table(tmp_path)


def test_data_that_is_not_there(tmp_path):
    for source, message in (("ava", "AVA.txt"), ("votes", "votes.csv")):
        with pytest.raises(DataError, match=message):
            open_(tmp_path, "train", source=source)
    with pytest.raises(DataError, match="needs --data_dir"):
        score_data.read("ava", None)
    with pytest.raises(DataError, match="no such folder"):
        open_(tmp_path / "x", "train")
    with pytest.raises(configs.ConfigError, match="did you mean 'ava'"):
        open_(tmp_path, "train", source="avaa")
    folder = write_ava(tmp_path / "none", [1, 2], missing=(1, 2))
    with pytest.raises(DataError, match="no picture of the train split has a file"):
        open_(folder, "train")
