"""Pictures with votes: how many people gave which score, in any folder of files.

`votes.csv` in the folder of the data has a line for each picture: its path, relative to
the file, and its number of votes for each score from 1 on.

    image,1,2,3,4,5
    photos/a.jpg,0,2,11,24,3
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from absl import logging

from common.errors import DataError

TABLE = "votes.csv"
# Our choice: a share of held out pictures, as NIMA has it.
EVAL_PERCENT = 20
# How many of what is wrong a message names.
_NAMED = 5


class Rated(NamedTuple):
    """A picture and its votes.

    Attributes:
      key: that names it in the data, such as its number or its path.
      path: of the file.
      votes: int64 `[K]`, of the scores 1 to K.
    """

    key: str
    path: Path
    votes: np.ndarray


class VoteSource:
    """Pictures as paths, with `"scores"`: float32 `[K]`, the share of each score."""

    class_names = ()

    def __init__(self, rated: Sequence[Rated]):
        """Takes pictures in their final order.

        Raises:
          DataError: there are none, or their scores are not of one scale.
        """
        if not rated:
            raise DataError("no picture with votes")
        lengths = {len(picture.votes) for picture in rated}
        if len(lengths) > 1:
            raise DataError(f"votes of different scales: {sorted(lengths)} scores")
        self._rated = tuple(rated)
        self.num_scores = lengths.pop()

    def __len__(self) -> int:
        return len(self._rated)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Returns the path of a picture and what people gave it."""
        picture = self._rated[index]
        return {
            "image": str(picture.path),
            "scores": (picture.votes / picture.votes.sum()).astype(np.float32),
            "id": index,
            "name": str(picture.path),
        }


def read_table(folder: Path) -> list[Rated]:
    """Reads `votes.csv`.

    Raises:
      DataError: it is not there, or a line is wrong; the message names it.
    """
    path = folder / TABLE
    if not path.is_file():
        raise DataError(f"no votes: there is no {path} (image,1,2,...,K)")
    with path.open(encoding="utf-8-sig", newline="") as stream:
        rows = list(csv.reader(stream))
    header = [cell.strip() for cell in rows[0]] if rows else []
    scores = [str(score) for score in range(1, len(header))]
    if len(header) < 3 or header != ["image", *scores]:
        raise DataError(
            f"{path}: the first line is image,1,2,...,K, given {','.join(header)!r}"
        )
    found = []
    for number, row in enumerate(rows[1:], 2):
        if not row:
            continue
        if len(row) != len(header):
            raise DataError(
                f"{path}, line {number}: {len(row)} cells, {len(header)} are expected"
            )
        votes = parse_votes(row[1:], f"{path}, line {number}")
        found.append(Rated(row[0], folder / row[0], votes))
    check_keys(found, path)
    return found


def parse_votes(cells: Sequence[str], where: str) -> np.ndarray:
    """Returns the votes of a line.

    Raises:
      DataError: they are no numbers of votes, or nobody voted.
    """
    try:
        votes = np.array([int(cell) for cell in cells], np.int64)
    except ValueError as error:
        raise DataError(f"{where}: votes are whole numbers: {error}") from error
    if votes.min() < 0 or not votes.sum():
        raise DataError(f"{where}: votes {votes.tolist()} are negative, or there are 0")
    return votes


def check_keys(rated: Sequence[Rated], path: Path) -> None:
    """Refuses pictures that come twice.

    Raises:
      DataError: naming some.
    """
    seen: set[str] = set()
    twice = [p.key for p in rated if p.key in seen or seen.add(p.key)]
    if twice:
        raise DataError(f"{path}: more than one line for {_some(twice)}")


def split(rated: Sequence[Rated], wanted: str) -> list[Rated]:
    """Returns the pictures of "train" or "eval", told apart by a hash of their names.

    So the same pictures are held out on every machine, and stay so when others come.
    """
    return [
        picture
        for picture in rated
        if (_bucket(picture.key) < EVAL_PERCENT) == (wanted == "eval")
    ]


def _bucket(key: str) -> int:
    """Returns a number in [0, 100) that depends on the name alone."""
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big") % 100


def without_missing(rated: Sequence[Rated], unreadable: Path) -> list[Rated]:
    """Leaves out pictures whose file is not there or known to be broken, and counts.

    Args:
      rated: pictures.
      unreadable: a list of names, one per line, that `--mode=check` wrote; it need not
        be there.
    """
    listed = set(_lines(unreadable)) if unreadable.is_file() else set()
    missing = [p.key for p in rated if p.key not in listed and not p.path.is_file()]
    broken = [p.key for p in rated if p.key in listed]
    if missing:
        logging.warning(
            "%d of %d pictures are left out, there is no file: %s",
            *(len(missing), len(rated), _some(missing)),
        )
    if broken:
        logging.warning(
            "%d of %d pictures are left out, %s lists them: %s",
            *(len(broken), len(rated), unreadable, _some(broken)),
        )
    gone = {*missing, *broken}
    return [picture for picture in rated if picture.key not in gone]


def fingerprint(rated: Sequence[Rated]) -> str:
    """Returns 12 hexadecimal digits that tell which pictures these are."""
    keys = "\n".join(sorted(picture.key for picture in rated))
    return hashlib.sha256(keys.encode()).hexdigest()[:12]


def _lines(path: Path) -> Iterator[str]:
    with path.open(encoding="utf-8") as stream:
        yield from (line.strip() for line in stream)


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
