"""Files below a folder, and which of them are the training and evaluation split.

An entry belongs to a scope: the folders above it that are no part of its name, such as
`train` or `test/Rain100H`, or nothing. A split is chosen by the name of a scope.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from absl import logging

from common.config import unknown
from common.data.sources.folder import EVAL_FRACTION, EXTENSIONS
from common.errors import DataError

# Where the config names no other, these are tried in turn: what the layouts in
# `common.data.sources.layouts` call their splits.
TRAIN_SPLITS = ("train", "our485", "train_blur_jpeg", "train_blur")
EVAL_SPLITS = (
    *("validation", "val", "valid", "test"),
    *("eval15", "val_blur_jpeg", "val_blur", "test_a"),
)
EVERYTHING = "."
# What `common.data.tiles` adds to a name: tile of which row and column of pixels.
TILE = re.compile(r"_y\d{5,}x\d{5,}$")

# Folders, joined by "/" and relative to a root that is "", to their sorted files.
Tree = dict[str, list[str]]


class Entry(NamedTuple):
    """An image, or a pair.

    Attributes:
      scope: folders joined by "/", or "".
      image: path, or what else a source knows how to read.
      target: of a pair.
    """

    scope: str
    image: Any
    target: Any = None


def read_root(data_dir: str | os.PathLike[str] | None, source: str, layout: str) -> str:
    """Returns the folder of the data.

    Raises:
      DataError: not given, or not there.
    """
    if not data_dir:
        raise DataError(f"the {source} source needs --data_dir; {layout}")
    root = Path(data_dir).expanduser()
    if not root.is_dir():
        raise DataError(f"no such folder: {root}; {layout}")
    return str(root)


def tree(root: str) -> Tree:
    """Lists every file below `root`; names that begin with a dot are skipped.

    Links to folders are followed, since large data often lies elsewhere, but not back
    into a folder that one is inside of.
    """
    found: Tree = {}
    _walk(root, "", (), found)
    return found


def _walk(path: str, name: str, above: tuple[str, ...], found: Tree) -> None:
    real = os.path.realpath(path)
    if real in above:
        return
    try:
        with os.scandir(path) as opened:
            entries = sorted(opened, key=lambda entry: entry.name)
    except PermissionError:
        logging.warning("%s is skipped: permission denied", path)
        return
    entries = [entry for entry in entries if entry.name[0] != "."]
    found[name] = [entry.name for entry in entries if entry.is_file()]
    for entry in entries:
        if entry.is_dir():
            inner = f"{name}/{entry.name}" if name else entry.name
            _walk(entry.path, inner, (*above, real), found)


def is_image(name: str) -> bool:
    """Whether a file's name has the suffix of an image."""
    return os.path.splitext(name)[1].lower() in EXTENSIONS


def choose(
    entries: Sequence[Entry],
    split: str,
    *,
    train_split: str,
    eval_split: str,
    split_seed: int,
    root: str,
) -> list[Entry]:
    """Returns the entries of one split, in their order.

    A split's name is a part of the scope: `test` and `Rain100H` and `test/Rain100H` all
    choose `test/Rain100H`; `.` chooses everything. Without a name for its splits, the
    data is divided.

    Args:
      entries: all there are, at least one.
      split: `"train"` or `"eval"`.
      train_split: name of the training split.
      eval_split: name of the evaluation split.
      split_seed: seed of the division, where there are no splits.
      root: for messages.

    Raises:
      DataError: one of the splits is there and the wanted one is not.
    """
    names = {
        "train": _candidates(train_split, TRAIN_SPLITS),
        "eval": _candidates(eval_split, EVAL_SPLITS),
    }
    parts = {key: _first(entries, tried) for key, tried in names.items()}
    if parts[split]:
        _warn_overlap(parts)
        logging.info("%s: %d for the %s split", root, len(parts[split]), split)
        return parts[split]
    scopes = {entry.scope for entry in entries}
    usual = train_split == TRAIN_SPLITS[0] and eval_split == EVAL_SPLITS[0]
    if not any(parts.values()) and usual:
        return _divide(entries, split, split_seed, root)
    wanted = train_split if split == "train" else eval_split
    raise DataError(
        f"{root}: {unknown(f'{split} split', wanted, _shown(scopes))}; "
        f"config.data.{split}_split names one, {EVERYTHING!r} is everything"
    )


def _candidates(name: str, usual: tuple[str, ...]) -> tuple[str, ...]:
    return usual if name == usual[0] else (name,)


def _first(entries: Sequence[Entry], names: Sequence[str]) -> list[Entry]:
    """Returns what the first name with any entries chooses."""
    for name in names:
        wanted = name.strip("/")
        part = [
            entry
            for entry in entries
            if name == EVERYTHING or f"/{wanted}/" in f"/{entry.scope}/"
        ]
        if part:
            return part
    return []


def _warn_overlap(parts: dict[str, list[Entry]]) -> None:
    both = set(parts["train"]) & set(parts["eval"])
    if both:
        logging.warning("%d examples are in both splits, train and eval", len(both))


def _shown(scopes: set[str]) -> list[str]:
    """Returns a few names of scopes: their upper folders when they are many."""
    names = sorted(scope or EVERYTHING for scope in scopes)
    return names if len(names) <= 12 else sorted({n.split("/")[0] for n in names})


def _divide(
    entries: Sequence[Entry], split: str, split_seed: int, root: str
) -> list[Entry]:
    """Holds out a fixed tenth of the photographs.

    Pairs that share a target, and the tiles of one image, stay on one side: otherwise
    evaluation would see what training saw.
    """
    origins = [_origin(entry) for entry in entries]
    different = sorted(set(origins))
    if len(different) < 2:
        raise DataError(
            f"{root} holds one photograph and no split folders: it cannot be divided"
        )
    count = max(round(EVAL_FRACTION * len(different)), 1)
    order = np.random.default_rng(split_seed).permutation(len(different))
    held_out = {different[index] for index in order[:count]}
    wanted = split == "eval"
    chosen = [
        entry
        for entry, origin in zip(entries, origins, strict=True)
        if (origin in held_out) == wanted
    ]
    logging.info(
        "%s has no split folders: %d images are the %s split (%.0f %% is for "
        "evaluation, seed %d)",
        root,
        len(chosen),
        split,
        100 * EVAL_FRACTION,
        split_seed,
    )
    return chosen


def _origin(entry: Entry) -> str:
    """Names the photograph an entry was made from."""
    picture = entry.image if entry.target is None else entry.target
    return TILE.sub("", os.path.splitext(str(picture))[0])
