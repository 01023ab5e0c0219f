"""`config.data.source` of tasks that learn scores."""

from __future__ import annotations

from pathlib import Path

import ml_collections
from absl import logging

from common import config as configs
from common.data.sources import Source
from common.errors import ConfigError, DataError
from iqa import ava, rated_photos, votes
from iqa.votes import Rated, VoteSource

SOURCES = ("ava", "votes", "rated_photos", "fake")
UNREADABLE = "unreadable.txt"
# Names of splits in the shared defaults, which stand for a split by hash here.
_BY_HASH = {"train": "train", "eval": "validation"}


def open_source(
    data: ml_collections.ConfigDict, split: str, data_dir: str | None
) -> Source:
    """Opens pictures with scores.

    Args:
      data: the `data` section: `source` is one of `SOURCES`; `train_split` and
        `eval_split` may name files of ids or paths, one per line.
      split: "train" or "eval".
      data_dir: of "ava" and "votes".

    Raises:
      ConfigError: unknown source.
      DataError: the data is missing or wrong.
    """
    match data.source:
        case "ava" | "votes":
            return VoteSource(_chosen(data, split, data_dir))
        case "rated_photos":
            return rated_photos.RatedPhotos(split, data.split_seed)
        case "fake":
            return rated_photos.FakeRated(split, data.image_size)
    raise ConfigError(configs.unknown("data source", str(data.source), SOURCES))


def read(source: str, data_dir: str | None) -> tuple[list[Rated], Path]:
    """Reads all pictures of "ava" or "votes", and returns their folder, too.

    Raises:
      DataError: there are none.
    """
    if not data_dir:
        raise DataError(f"the {source} source needs --data_dir")
    folder = Path(data_dir).expanduser()
    if not folder.is_dir():
        raise DataError(f"no such folder: {folder}")
    reader = ava.read if source == "ava" else votes.read_table
    return reader(folder), folder


def _chosen(
    data: ml_collections.ConfigDict, split: str, data_dir: str | None
) -> list[Rated]:
    """Returns the pictures of a split that have a file."""
    rated, folder = read(data.source, data_dir)
    name = data.train_split if split == "train" else data.eval_split
    if name == _BY_HASH[split]:
        chosen, how = votes.split(rated, split), "split by hash"
    else:
        chosen, how = _listed(rated, folder / name), f"split of {folder / name}"
    there = votes.without_missing(chosen, folder / UNREADABLE)
    logging.info(
        "%s: %d of %d pictures, fingerprint %s",
        *(how, len(there), len(rated), votes.fingerprint(there)),
    )
    if not there:
        raise DataError(f"{folder}: no picture of the {split} split has a file")
    return there


def _listed(rated: list[Rated], path: Path) -> list[Rated]:
    """Returns the pictures that a file of names lists, in the data's order."""
    if not path.is_file():
        raise DataError(f"no such file of a split: {path}")
    names = {line.strip() for line in path.read_text(encoding="utf-8").splitlines()}
    names.discard("")
    chosen = [picture for picture in rated if picture.key in names]
    unknown = names - {picture.key for picture in chosen}
    if unknown:
        logging.warning(
            "%d of %d names in %s have no votes and are left out, such as %s",
            *(len(unknown), len(names), path, min(unknown)),
        )
    return chosen
