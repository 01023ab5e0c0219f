"""CIQA: which of two JPEG files of a photograph people prefer (arXiv 2103.01114).

The labels are public (storage.googleapis.com/gresearch/ciqa/train.csv and test.csv):
two, in the test set four, quality factors of each photograph, and of each pair the
share of 32 people who preferred the second. The photographs are those of AVA:

    DIR/train.csv  DIR/test.csv  DIR/images/<ref_id>.jpg

The authors' README prints the column `jpg1` twice and gives totals that contradict each
other, so columns are taken as the header has them, and rows are counted.
"""

from __future__ import annotations

import collections
import csv
import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from absl import logging

from common.config import unknown
from common.errors import DataError
from iqa import pairs
from iqa.pairs import Pair, Version

COLUMNS = ("ref_id", "jpg1", "jpg2", "q1", "q2", "jpg2_pref")
FILES = {"train": "train.csv", "validation": "train.csv", "test": "test.csv"}
IMAGES = "images"
RATERS = 32
VALIDATION = 0.05  # share of the training photographs; our choice
TEST_QUALITIES = 4  # of each photograph in the test set, so 6 pairs
# Files may give shares with as few as three digits.
_ROUNDING = 0.02


@dataclasses.dataclass(frozen=True)
class Row:
    """A line of a label file.

    Attributes:
      ref_id: of the photograph in AVA.
      q1: quality factor of the first version.
      q2: of the second.
      preference: share of people who preferred the second.
    """

    ref_id: str
    q1: int
    q2: int
    preference: float


@dataclasses.dataclass(frozen=True)
class Labels:
    """A label file.

    Attributes:
      path: of the file.
      rows: in the order of the file.
      malformed: of each line that is no label, its number and why.
    """

    path: Path
    rows: tuple[Row, ...]
    malformed: tuple[str, ...]

    @property
    def uneven(self) -> int:
        """How many shares are no multiple of 1/32: other numbers of people voted."""
        votes = RATERS * np.array([row.preference for row in self.rows])
        return int(np.sum(np.abs(votes - np.rint(votes)) > _ROUNDING))

    @property
    def incomplete(self) -> list[str]:
        """Photographs that do not have four qualities and their six pairs."""
        found: dict[str, list[Row]] = collections.defaultdict(list)
        for row in self.rows:
            found[row.ref_id].append(row)
        pair_count = TEST_QUALITIES * (TEST_QUALITIES - 1) // 2
        return [
            key
            for key, rows in found.items()
            if len({frozenset((row.q1, row.q2)) for row in rows}) != pair_count
            or len(rows) != pair_count
            or len({q for row in rows for q in (row.q1, row.q2)}) != TEST_QUALITIES
        ]

    def lines(self) -> list[str]:
        """Returns what there is to say about the file."""
        keys = {row.ref_id for row in self.rows}
        found = [f"{self.path}: {len(self.rows)} pairs of {len(keys)} photographs"]
        if self.malformed:
            shown = pairs.some(self.malformed)
            found.append(f"{len(self.malformed)} lines are left out: {shown}")
        if self.uneven:
            found.append(f"{self.uneven} shares are no multiple of 1/{RATERS}")
        if self.path.name == FILES["test"] and self.incomplete:
            found.append(
                f"{len(self.incomplete)} photographs do not have four qualities and "
                f"six pairs: {pairs.some(self.incomplete)}"
            )
        return found


def read(path: Path) -> Labels:
    """Reads a label file; lines that are no labels are listed in the result.

    Raises:
      DataError: it is not there, lacks a column, or has no label.
    """
    if not path.is_file():
        raise DataError(
            f"no CIQA labels: there is no {path}; they are at "
            f"https://storage.googleapis.com/gresearch/ciqa/{path.name}"
        )
    rows, malformed = [], []
    with path.open(encoding="utf-8-sig", newline="") as stream:
        reader = csv.reader(stream)
        columns = _columns(next(reader, []), path)
        for cells in reader:
            if not any(cells):
                continue
            try:
                rows.append(_row(cells, columns))
            except ValueError as error:
                malformed.append(f"line {reader.line_num} ({error})")
    if not rows:
        raise DataError(f"{path} holds no label; {pairs.some(malformed)}")
    return Labels(path, tuple(rows), tuple(malformed))


def _columns(header: Sequence[str], path: Path) -> dict[str, int]:
    """Finds the columns, in any order, the second `jpg1` being `jpg2`."""
    names = [cell.strip() for cell in header]
    if "jpg2" not in names and names.count("jpg1") == 2:
        names[names.index("jpg1", names.index("jpg1") + 1)] = "jpg2"
    for name in COLUMNS:
        if names.count(name) != 1:
            problem = unknown("column", name, [n for n in names if n])
            raise DataError(f"{path}: one column {name} is needed; {problem}")
    return {name: names.index(name) for name in COLUMNS}


def _row(cells: Sequence[str], columns: Mapping[str, int]) -> Row:
    """Reads a line.

    Raises:
      ValueError: it is no label; the message says why.
    """
    if len(cells) <= max(columns.values()):
        raise ValueError(f"{len(cells)} cells")
    given = {name: cells[place].strip() for name, place in columns.items()}
    qualities = []
    for number in (1, 2):
        text = given[f"q{number}"]
        if not text.isdecimal() or not 1 <= int(text) <= 100:
            raise ValueError(f"q{number}={text!r} is no quality from 1 to 100")
        wanted = f"{given['ref_id']}/{int(text)}"
        if given[f"jpg{number}"] != wanted:
            raise ValueError(f"jpg{number}={given[f'jpg{number}']!r} is not {wanted}")
        qualities.append(int(text))
    if not given["ref_id"]:
        raise ValueError("no ref_id")
    text = given["jpg2_pref"]
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise ValueError(f"jpg2_pref={text!r} is not in [0, 1]")
    q1, q2 = qualities
    return Row(given["ref_id"], q1, q2, share)


def open_pairs(data_dir: str | None, split: str, split_seed: int) -> list[Pair]:
    """Returns the pairs of a split whose photograph is there.

    Args:
      data_dir: folder of the labels and of `images`.
      split: "train", "validation", which is a part of the training photographs, or
        "test".
      split_seed: of the choice of that part.

    Raises:
      DataError: no labels, no photographs, or no such split.
    """
    if split not in FILES:
        raise DataError(unknown("CIQA split", split, FILES))
    home = _folder(data_dir)
    labels = read(home / FILES[split])
    for number, line in enumerate(labels.lines()):
        (logging.warning if number else logging.info)("%s", line)
    rows = labels.rows
    if split != "test":
        held_out = validation_keys(rows, split_seed)
        rows = [r for r in rows if (r.ref_id in held_out) == (split == "validation")]
    made = [_pair(row, home) for row in rows]
    return pairs.without_missing(made)


def validation_keys(rows: Sequence[Row], seed: int) -> set[str]:
    """Returns the photographs that are held out: no pair of them is trained on."""
    keys = sorted({row.ref_id for row in rows})
    count = max(round(VALIDATION * len(keys)), 1) if len(keys) > 1 else 0
    order = np.random.default_rng(seed).permutation(len(keys))
    return {keys[index] for index in order[:count]}


def references(data_dir: str | None) -> dict[str, tuple[str, list[int]]]:
    """Returns path and qualities of every photograph that a label file names.

    Raises:
      DataError: there is no label file.
    """
    home = _folder(data_dir)
    files = [home / name for name in ("train.csv", "test.csv")]
    found: dict[str, set[int]] = {}
    for path in [path for path in files if path.is_file()] or files[:1]:
        labels = read(path)
        for line in labels.lines():
            logging.info("%s", line)
        for row in labels.rows:
            found.setdefault(row.ref_id, set()).update((row.q1, row.q2))
    return {key: (_path(home, key), sorted(found[key])) for key in sorted(found)}


def _folder(data_dir: str | None) -> Path:
    if not data_dir:
        raise DataError("the ciqa source needs --data_dir with train.csv and images/")
    folder = Path(data_dir).expanduser()
    if not folder.is_dir():
        raise DataError(f"no such folder: {folder}")
    return folder


def _pair(row: Row, home: Path) -> Pair:
    first, second = (Version(f"{row.ref_id}/{q}", quality=q) for q in (row.q1, row.q2))
    path = _path(home, row.ref_id)
    return Pair(row.ref_id, path, first, second, row.preference, RATERS)


def _path(home: Path, key: str) -> str:
    return str(home / IMAGES / f"{key}.jpg")
