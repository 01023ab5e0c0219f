"""Other data sets in which people compared or scored versions of a picture.

What a metric for JPEG is tried on: BAPPS and PieAPP have preferences on pairs with many
kinds of distortion, TID2013 and KADID-10k mean scores, of which the JPEG part is read.
Of scores all pairs of one reference are made, the higher being preferred by everybody.
"""

from __future__ import annotations

import csv
import itertools
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from absl import logging

from common.config import unknown
from common.data.sources import listing
from common.errors import DataError
from iqa import pairs
from iqa.pairs import Pair, Version

# Number of JPEG among the kinds of distortion of TID2013 and of KADID-10k.
JPEG_KIND = 10
_BAPPS = ("ref", "p0", "p1", "judge")
_PIEAPP_VOTES = 40  # people asked about each pair
# Where its own splits lie.
_PIEAPP_SPLITS = ("train", "val", "test")
_TID_NAME = re.compile(r"(i\d\d)_(\d\d)_(\d)\.bmp", re.IGNORECASE)
_KADID_NAME = re.compile(r"(I\d\d)_(\d\d)_(\d\d)\.png")


def bapps(data_dir: str | None, split: str) -> list[Pair]:
    """Reads BAPPS, of "Unreasonable Effectiveness" (arXiv 1801.03924).

    Folders `ref`, `p0`, `p1` and `judge`, anywhere below `data_dir`; `judge` has for
    each picture the share of people who chose `p1`.

    Args:
      data_dir: its folder.
      split: a part of the path of those folders, such as "val/traditional" or "2afc".

    Raises:
      DataError: there are no such folders, or a file of one has no counterpart.
    """
    root = listing.read_root(
        data_dir, "bapps", "expected folders ref, p0, p1 and judge"
    )
    tree = listing.tree(root)
    homes = {name.rpartition("/")[0] for name in tree if name.endswith("judge")}
    homes = {home for home in homes if f"/{split.strip('/')}/" in f"/{home}/"}
    if not homes:
        found = [name for name in tree if name.endswith("judge")]
        raise DataError(f"{root}: no folder of {split} with judge; it has {found[:5]}")
    return [pair for home in sorted(homes) for pair in _bapps(root, home, tree)]


def _bapps(root: str, home: str, tree: Mapping[str, Sequence[str]]) -> Iterator[Pair]:
    folders = [f"{home}/{name}".lstrip("/") for name in _BAPPS]
    stems = [
        {os.path.splitext(file)[0]: file for file in tree.get(folder, ())}
        for folder in folders
    ]
    uneven = set.union(*map(set, stems)) - set.intersection(*map(set, stems))
    if uneven:
        raise DataError(
            f"{root}/{home}: {len(uneven)} names are not in all of "
            f"{', '.join(_BAPPS)}: {pairs.some(sorted(uneven))}"
        )
    for stem in sorted(stems[0]):
        paths = [
            os.path.join(root, folder, files[stem])
            for folder, files in zip(folders, stems, strict=True)
        ]
        reference, first, second, judge = paths
        one, other = (Version(path, path) for path in (first, second))
        yield Pair(f"{home}/{stem}", reference, one, other, _judgement(judge))


def _judgement(path: str) -> float:
    try:
        share = float(np.mean(np.load(path, allow_pickle=False)))
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path} is no judgement: {error}") from error
    if not 0 <= share <= 1:
        raise DataError(f"{path}: {share} is not in [0, 1]")
    return share


def pieapp(data_dir: str | None, split: str) -> list[Pair]:
    """Reads PieAPP (arXiv 1806.02067).

    `labels/<split>/ref_<n>_pairwise_labels.csv`: reference, A, B, the share of people
    who preferred A, and for training an estimate of it from all votes. Pairs that
    nobody was asked about are left out and counted. In the test set a reference can
    be one of the two.

    Args:
      data_dir: its folder.
      split: "train", "val" or "test".

    Raises:
      DataError: there are no labels, or a line is wrong.
    """
    root = Path(listing.read_root(data_dir, "pieapp", "expected labels/<split>/*.csv"))
    if split not in _PIEAPP_SPLITS:
        raise DataError(unknown("PieAPP split", split, _PIEAPP_SPLITS))
    files = sorted((root / "labels" / split).glob("*_pairwise_labels.csv"))
    if not files:
        raise DataError(f"no PieAPP labels: {root}/labels/{split} has no *_labels.csv")
    found: list[Pair] = []
    unlabelled = 0
    for path in files:
        for number, row in enumerate(_rows(path), 1):
            if number == 1 and not _is_number(row[-1]) and not _is_picture(row[0]):
                continue  # a header
            pair = _pieapp(root, split, path, number, row)
            unlabelled += pair is None
            found += [] if pair is None else [pair]
    if unlabelled:
        logging.info("PieAPP %s: %d pairs that nobody judged", split, unlabelled)
    return pairs.without_missing(found)


def _pieapp(
    root: Path, split: str, path: Path, number: int, row: Sequence[str]
) -> Pair | None:
    """Returns the pair of a line; None where nobody was asked."""
    if len(row) < 4:
        raise DataError(f"{path}, line {number}: {len(row)} cells, 4 or 5 expected")
    if not row[3]:
        return None
    if not _is_number(row[3]) or not 0 <= float(row[3]) <= 1:
        raise DataError(f"{path}, line {number}: {row[3]!r} is no share in [0, 1]")
    reference, *names = row[:3]
    key, clean = Path(reference).stem, root / "reference_images" / split
    distorted = root / "distorted_images" / split / key
    first, second = (
        Version(name, str((clean if name == reference else distorted) / name))
        for name in names
    )
    share = 1 - float(row[3])
    return Pair(key, str(clean / reference), first, second, share, _PIEAPP_VOTES)


def tid2013(data_dir: str | None) -> list[Pair]:
    """Reads the JPEG part of TID2013: 25 references with five versions.

    `mos_with_names.txt` has a mean score and a name, such as `i01_10_1.bmp`, per line;
    pictures are in `reference_images` and `distorted_images`, in capitals or not.

    Raises:
      DataError: there is no such file, or a line is wrong.
    """
    root = listing.read_root(data_dir, "tid2013", "expected mos_with_names.txt")
    path = Path(root) / "mos_with_names.txt"
    scores: dict[str, list[tuple[str, float]]] = {}
    for number, line in enumerate(_lines(path), 1):
        cells = line.split()
        match = _TID_NAME.fullmatch(cells[-1])
        if len(cells) != 2 or match is None or not _is_number(cells[0]):
            raise DataError(f"{path}, line {number}: {line!r} is no score and name")
        if int(match[2]) == JPEG_KIND:
            key = match[1].upper()
            scores.setdefault(key, []).append((cells[1], float(cells[0])))
    references, distorted = (
        _by_name(Path(root) / folder)
        for folder in ("reference_images", "distorted_images")
    )
    return _of_opinions(
        scores,
        lambda key: references.get(f"{key}.bmp".lower(), f"{root}/{key}.BMP"),
        lambda name: distorted.get(name.lower(), f"{root}/{name}"),
        path,
    )


def kadid10k(data_dir: str | None) -> list[Pair]:
    """Reads the JPEG part of KADID-10k: 81 references with five versions.

    `dmos.csv` has the columns dist_img, ref_img and dmos, a mean from 1 to 5 of which
    5 is the best; pictures are in `images`.

    Raises:
      DataError: there is no such file, or a line is wrong.
    """
    root = listing.read_root(data_dir, "kadid10k", "expected dmos.csv and images/")
    path = Path(root) / "dmos.csv"
    header, *rows = (line.split(",") for line in _lines(path))
    if header[:3] != ["dist_img", "ref_img", "dmos"]:
        raise DataError(f"{path}: the columns are {','.join(header)}")
    scores: dict[str, list[tuple[str, float]]] = {}
    for number, row in enumerate(rows, 2):
        match = _KADID_NAME.fullmatch(row[0])
        if len(row) < 3 or match is None or not _is_number(row[2]):
            raise DataError(f"{path}, line {number}: {','.join(row)} is no score")
        if int(match[2]) == JPEG_KIND:
            scores.setdefault(row[1], []).append((row[0], float(row[2])))
    images = Path(root) / "images"
    return _of_opinions(
        scores, lambda key: str(images / key), lambda name: str(images / name), path
    )


def _of_opinions(
    scores: Mapping[str, Sequence[tuple[str, float]]],
    reference: Callable[[str], str],
    distorted: Callable[[str], str],
    path: Path,
) -> list[Pair]:
    """Makes all pairs of the versions of each reference."""
    if not scores:
        raise DataError(f"{path} has no picture of JPEG, kind {JPEG_KIND}")
    found = []
    for key, rated in scores.items():
        for one, other in itertools.combinations(rated, 2):
            first, second = (
                Version(name, distorted(name), opinion=score)
                for name, score in (one, other)
            )
            share = float(np.sign(other[1] - one[1]) + 1) / 2
            found.append(Pair(key, reference(key), first, second, share))
    return pairs.without_missing(found)


def _by_name(folder: Path) -> dict[str, str]:
    """Returns the files of a folder by their names in small letters."""
    if not folder.is_dir():
        return {}
    return {path.name.lower(): str(path) for path in folder.iterdir()}


def _lines(path: Path) -> list[str]:
    if not path.is_file():
        raise DataError(f"there is no {path}")
    text = path.read_text(encoding="utf-8-sig", errors="replace")
    return [line.strip() for line in text.splitlines() if line.strip()]


def _rows(path: Path) -> list[list[str]]:
    rows = csv.reader(_lines(path))
    return [[cell.strip() for cell in row] for row in rows]


def _is_number(text: str) -> bool:
    try:
        return bool(np.isfinite(float(text)))
    except ValueError:
        return False


def _is_picture(text: str) -> bool:
    return listing.is_image(text)
