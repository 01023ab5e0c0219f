"""Tables and their two kinds of files."""

import json

import jax.numpy as jnp
import numpy as np
import pytest

from common.errors import ConfigError, DataError
from compression import color, rate, tables
from compression.names import RATE_MODELS, SUBSAMPLINGS

# No two entries of a table are equal, so that any other order is seen.
PAIR = np.stack([np.arange(1, 65).reshape(8, 8), np.arange(255, 191, -1).reshape(8, 8)])


def test_names_are_those_of_the_heavy_modules():
    assert tuple(color.SUBSAMPLINGS) == SUBSAMPLINGS
    assert tuple(rate.NAMES) == RATE_MODELS


@pytest.mark.parametrize(
    "given",
    [
        PAIR,
        PAIR.astype(np.uint8),
        PAIR.astype(np.float32),
        jnp.asarray(PAIR, jnp.float32),
        PAIR.tolist(),
        PAIR.reshape(2, 64).tolist(),
    ],
    ids=lambda value: type(value).__name__,
)
def test_all_that_are_tables(given):
    checked = tables.check(given)
    assert checked.dtype == np.int32
    np.testing.assert_array_equal(checked, PAIR)
    checked[:] = 0  # a copy
    np.testing.assert_array_equal(np.reshape(given, PAIR.shape), PAIR)


@pytest.mark.parametrize("given", [PAIR[0], PAIR[0].ravel().tolist()])
def test_one_table_serves_both(given):
    np.testing.assert_array_equal(tables.check(given), PAIR[[0, 0]])


@pytest.mark.parametrize("value", [0, 256, -3, 1.5, np.nan, np.inf, 1e300])
def test_a_bad_entry_is_named(value):
    given = PAIR.astype(np.float64)
    given[1, 2, 7] = value
    with pytest.raises(ConfigError, match=r"chroma\[2, 7\] is .*in \[1, 255\]") as told:
        tables.check(given)
    assert f"is {value:.15g};" in str(told.value)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (np.ones((3, 8, 8)), r"shape \[3, 8, 8\]; expected \[2, 8, 8\]"),
        (np.ones((2, 8, 7)), r"shape \[2, 8, 7\]"),
        ([], r"shape \[0\]"),
        (7, r"shape \[\]"),
        ([[1] * 64, [1] * 63], "no shape"),
        ([["1"] * 64] * 2, "hold <U1, not only numbers"),
        ([[True] * 64] * 2, "hold bool"),
        ([[None] * 64] * 2, "hold object"),
        ([[10**30] * 64] * 2, "hold object"),
        (PAIR * 1j, "hold complex"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_what_is_no_table(given, message):
    with pytest.raises(ConfigError, match=message):
        tables.check(given)


def test_json_is_for_people_and_comes_back(tmp_path):
    path = tmp_path / "new" / "tables.json"
    tables.write_json(
        path,
        PAIR,
        subsampling="4:2:0",
        rate_weight=jnp.float32(20),
        psnr=np.inf,
        images=["a.png", "b.png"],
    )
    lines = path.read_text().splitlines()
    assert "    [  1,   2,   3,   4,   5,   6,   7,   8]," in lines
    assert len(lines) == 2 + 5 + 2 * 10
    saved = json.loads(path.read_text())
    assert saved["version"] == 1
    assert (saved["rate_weight"], saved["psnr"]) == (20, None)
    assert saved["images"] == ["a.png", "b.png"]
    np.testing.assert_array_equal(tables.read(path), PAIR)
    assert tables.subsampling_of(path) == "4:2:0"


def test_text_is_what_cjpeg_reads_and_comes_back(tmp_path):
    """Row by row, as cjpeg wants it; a header of comments."""
    path = tmp_path / "tables.txt"
    tables.write_qtables(path, PAIR)
    lines = [line for line in path.read_text().splitlines() if line]
    numbers = [line.split() for line in lines if not line.startswith("#")]
    np.testing.assert_array_equal(np.array(numbers, int).reshape(2, 8, 8), PAIR)
    np.testing.assert_array_equal(tables.read(path), PAIR)
    assert tables.subsampling_of(path) is None


@pytest.mark.parametrize("write", [tables.write_json, tables.write_qtables])
def test_what_is_no_table_is_not_written(tmp_path, write):
    (tmp_path / "tables").write_text("as it was")
    with pytest.raises(ConfigError, match=r"luma\[0, 0\] is 0;"):
        write(tmp_path / "tables", PAIR * 0)
    assert [p.read_text() for p in tmp_path.iterdir()] == ["as it was"]


def numbers(*counts):
    """Returns tables whose entries are 1, 2, ... each, with comments among them."""
    return "".join(
        f"# {k} 300 x\n" + f" {k}" * (count - 2) + f"# 300\n\t{k}\r\n{k}"
        for k, count in enumerate(counts, start=1)
    )


@pytest.mark.parametrize(
    ("count", "expected"), [(1, (1, 1)), (2, (1, 2)), (3, (1, 2)), (4, (1, 2))]
)
def test_text_of_others(tmp_path, count, expected, caplog):
    path = tmp_path / "q.txt"
    path.write_bytes(b"\xef\xbb\xbf" + numbers(*[64] * count).encode())
    read = tables.read(path)
    assert [np.unique(table).tolist() for table in read] == [[k] for k in expected]
    assert ("the first two of" in caplog.text) == (count > 2)


OURS = {"version": 1, "luma": PAIR[0].tolist(), "chroma": PAIR[1].tolist()}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "0 numbers in it; one to 4 tables of 64 are expected"),
        ("# only a comment\n", "0 numbers"),
        ("1 " * 63, "63 numbers"),
        ("1 " * 65, "65 numbers"),
        ("1 " * 64 * 5, "320 numbers"),
        ("1 2\n3 four 5", "line 2: 'four' is no whole number"),
        ("1 -2", "line 1: '-2' is no whole number"),
        ("1 2.0", r"'2\.0' is no whole number"),
        ("\u0661 " * 64, "is no whole number"),
        ("9" * 5000, "'99999999999999999999' is no whole number"),
        ("1 " * 70 + "300 " + "1 " * 57, r"chroma\[0, 6\] is 300;"),
        ("0 " * 64, r"luma\[0, 0\] is 0;"),
        (b"\xff\xd8\xff\xe0\x00\x10JFIF", "it is no text"),
        (b"1 " * 2**20, "larger than"),
        ("{", "Expecting property name"),
        ("{}", "no 'version' in it"),
        ('{"a":' + "[" * 100_000, "holds no quantisation tables"),
        ({**OURS, "version": 2}, "its version is 2, expected 1"),
        ({"version": 1, "luma": OURS["luma"]}, "no 'chroma' in it"),
        ({**OURS, "subsampling": "4:2:1"}, "unknown subsampling '4:2:1'; did you mean"),
        ({**OURS, "subsampling": [4]}, "unknown subsampling"),
        ({**OURS, "luma": 7}, "no shape"),
        ({**OURS, "luma": 7, "chroma": 7}, r"shape \[2\]"),
        ({**OURS, "luma": [1] * 8, "chroma": [1] * 8}, r"shape \[2, 8\]"),
        ({**OURS, "luma": OURS["luma"][:7]}, "no shape"),
        ({**OURS, "chroma": [[np.nan] * 8] * 8}, r"chroma\[0, 0\] is nan"),
        ({**OURS, "chroma": [["x"] * 8] * 8}, "not only numbers"),
        ({**OURS, "chroma": None}, "no shape"),
    ],
    ids=lambda value: str(value)[:40],
)
@pytest.mark.parametrize("reader", [tables.read, tables.subsampling_of])
def test_files_that_hold_no_tables(tmp_path, content, message, reader):
    path = tmp_path / "tables"
    if isinstance(content, dict):
        content = json.dumps(content)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DataError, match=message) as told:
        reader(path)
    assert str(told.value).startswith(f"{path} ")
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("name", "reason"), [("none", "No such file"), (".", "Is a directory")]
)
def test_files_that_are_none(tmp_path, name, reason):
    with pytest.raises(DataError, match=f"cannot be read: {reason}"):
        tables.read(tmp_path / name)
