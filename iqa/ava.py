"""AVA: 255,000 photographs with about 200 votes each, on scores from 1 to 10.

`--data_dir` holds `AVA.txt` and `images/<id>.jpg` (Murray et al., CVPR 2012). A line of
`AVA.txt` is 15 numbers: row, id, votes for 1 to 10, two semantic tags, challenge.

There is no one split that everybody uses, and results of different ones cannot be
compared. `config.data.train_split` and `eval_split` name files of ids, one per line and
relative to the folder; without them a fifth is held out by a hash of the id. Which
pictures a split holds is logged as a fingerprint, and reported with the results.
"""

from __future__ import annotations

from pathlib import Path

from common.errors import DataError
from iqa import votes
from iqa.votes import Rated

TABLE, IMAGES = "AVA.txt", "images"
_COLUMNS, _ID, _VOTES = 15, 1, slice(2, 12)


def read(folder: Path) -> list[Rated]:
    """Reads `AVA.txt`.

    Raises:
      DataError: it is not there, or a line is wrong; the message names it.
    """
    path = folder / TABLE
    if not path.is_file():
        raise DataError(f"no AVA: there is no {path}; expected {TABLE} and {IMAGES}/")
    found = []
    with path.open(encoding="ascii", errors="replace") as stream:
        for number, line in enumerate(stream, 1):
            cells = line.split()
            if not cells:
                continue
            if len(cells) != _COLUMNS:
                raise DataError(
                    f"{path}, line {number}: {len(cells)} numbers, {_COLUMNS} expected"
                )
            key = cells[_ID]
            if not key.isdecimal():
                raise DataError(f"{path}, line {number}: {key!r} is no picture's id")
            counts = votes.parse_votes(cells[_VOTES], f"{path}, line {number}")
            found.append(Rated(key, folder / IMAGES / f"{key}.jpg", counts))
    votes.check_keys(found, path)
    return found
