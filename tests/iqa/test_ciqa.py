"""CIQA's label files: columns as found, lines that are no labels, splits."""

import itertools
import re

import pytest

from common.errors import DataError
from iqa import ciqa

HEADER = "ref_id,jpg1,jpg2,q1,q2,jpg2_pref"
README_HEADER = "ref_id,jpg1,jpg1,q1,q2,jpg2_pref"


def line(ref, q1, q2, share):
    return f"{ref},{ref}/{q1},{ref}/{q2},{q1},{q2},{share}"


def write(path, *lines, header=HEADER):
    path.write_text("\n".join([header, *lines]) + "\n")
    return path


def references(folder, *keys):
    (folder / "images").mkdir(exist_ok=True)
    for key in keys:
        (folder / "images" / f"{key}.jpg").write_bytes(b"not read here")


@pytest.mark.parametrize("header", [HEADER, README_HEADER])
def test_rows_as_the_header_has_them(tmp_path, header):
    path = write(tmp_path / "train.csv", line("17", 30, 80, 0.96875), header=header)
    labels = ciqa.read(path)
    assert labels.rows == (ciqa.Row("17", 30, 80, 0.96875),)
    assert labels.malformed == ()
    assert labels.uneven == 0


def test_columns_in_any_order_and_further_ones(tmp_path):
    path = tmp_path / "train.csv"
    path.write_text(
        "\ufeff,jpg2_pref,q2,q1, jpg2,jpg1,ref_id\n0,0.25,80,30,9/80,9/30,9\n\n"
    )
    assert ciqa.read(path).rows == (ciqa.Row("9", 30, 80, 0.25),)


def test_a_missing_column_is_named(tmp_path):
    path = write(tmp_path / "train.csv", header="ref_id,jpg1,jpg2,q1,q2,jpg2_prefs")
    with pytest.raises(DataError, match=r"one column jpg2_pref is needed.*jpg2_prefs"):
        ciqa.read(path)


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        (line("17", 30, 80, 1.2), r"jpg2_pref='1.2' is not in \[0, 1\]"),
        (line("17", 30, 80, "nan"), "jpg2_pref='nan'"),
        (line("17", 30, 80, "x"), "jpg2_pref='x'"),
        (line("17", 0, 80, 0.5), "q1='0' is no quality from 1 to 100"),
        (line("17", 30, 101, 0.5), "q2='101'"),
        ("17,17/30,17/81,30,80,0.5", "jpg2='17/81' is not 17/80"),
        ("17,18/30,17/80,30,80,0.5", "jpg1='18/30' is not 17/30"),
        ("17,17/30", "2 cells"),
        (",/30,/80,30,80,0.5", "no ref_id"),
    ],
)
def test_what_is_no_label_is_counted_and_named(tmp_path, bad, why):
    good = line("17", 30, 80, 0.5)
    labels = ciqa.read(write(tmp_path / "train.csv", good, bad, good))
    assert len(labels.rows) == 2
    (named,) = labels.malformed
    assert named.startswith("line 3 (")
    assert re.search(why, named)
    assert "1 lines are left out: line 3" in labels.lines()[1]
    with pytest.raises(DataError, match=f"holds no label; line 2 .*{why}"):
        ciqa.read(write(tmp_path / "bad.csv", bad))


def test_shares_of_other_numbers_of_people_are_counted(tmp_path):
    shares = [0.0, 1.0, 0.03125, 0.031, 0.969, 1 / 3]
    rows = [line(str(k), 30, 80, share) for k, share in enumerate(shares)]
    labels = ciqa.read(write(tmp_path / "train.csv", *rows))
    assert labels.uneven == 1
    assert any("1 shares are no multiple of 1/32" in text for text in labels.lines())


def test_the_test_set_has_six_pairs_of_four_qualities(tmp_path):
    whole = [line("1", *qs, 0.5) for qs in itertools.combinations((10, 40, 70, 90), 2)]
    five = [line("2", *qs, 0.5) for qs in itertools.combinations((10, 40, 70, 90), 2)]
    twice = [*five[:5], five[0].replace("2/10,2/40,10,40", "2/40,2/10,40,10")]
    labels = ciqa.read(write(tmp_path / "test.csv", *whole, *twice))
    assert labels.incomplete == ["2"]
    assert "1 photographs do not have four qualities" in labels.lines()[-1]


def test_validation_photographs_are_not_trained_on(tmp_path):
    rows = [
        line(str(k), 30, q, share)
        for k in range(40)
        for q, share in ((80, 0.9), (50, 0.75))
    ]
    write(tmp_path / "train.csv", *rows)
    references(tmp_path, *map(str, range(40)))
    train, held_out = (
        ciqa.open_pairs(str(tmp_path), split, 0) for split in ("train", "validation")
    )
    keys = [{pair.key for pair in part} for part in (train, held_out)]
    assert not keys[0] & keys[1]
    assert (len(train), len(held_out)) == (76, 4)
    assert keys[1] != {p.key for p in ciqa.open_pairs(str(tmp_path), "validation", 1)}
    pair = held_out[0]
    assert pair.reference == str(tmp_path / "images" / f"{pair.key}.jpg")
    assert (pair.first.quality, pair.second.quality, pair.votes) == (30, 80, 32)
    assert pair.preference == 0.9


def test_missing_photographs_are_counted(tmp_path, caplog):
    rows = [line(str(k), 30, 80, 0.5) for k in range(3)]
    write(tmp_path / "test.csv", *rows)
    with pytest.raises(DataError, match=r"none of 3 pairs has its files.*0.jpg"):
        ciqa.open_pairs(str(tmp_path), "test", 0)
    references(tmp_path, "0", "2")
    with caplog.at_level("WARNING", logger="absl"):
        kept = ciqa.open_pairs(str(tmp_path), "test", 0)
    assert [pair.key for pair in kept] == ["0", "2"]
    assert "1 of 3 pairs are left out, 1 files are not there" in caplog.text
    assert "1.jpg" in caplog.text


@pytest.mark.parametrize(
    ("data_dir", "split", "message"),
    [
        (None, "train", "needs --data_dir"),
        ("nowhere", "train", "no such folder: nowhere"),
        (".", "tests", "unknown CIQA split 'tests'; did you mean 'test'"),
        (".", "test", r"there is no test.csv.*gresearch/ciqa/test.csv"),
    ],
)
def test_what_is_not_there(tmp_path, monkeypatch, data_dir, split, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=message):
        ciqa.open_pairs(data_dir, split, 0)


def test_references_of_both_files(tmp_path):
    write(tmp_path / "train.csv", line("5", 30, 80, 0.5))
    write(tmp_path / "test.csv", line("7", 10, 20, 0.5), line("7", 20, 90, 0.5))
    found = ciqa.references(str(tmp_path))
    assert {key: qualities for key, (_, qualities) in found.items()} == {
        "5": [30, 80],
        "7": [10, 20, 90],
    }
