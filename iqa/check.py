"""`--mode=check`: decodes every picture once, and lists those that cannot be read."""

from __future__ import annotations

import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import ml_collections
from tqdm import tqdm

from common import atomic
from common.data import decode
from common.errors import ConfigError
from common.task import Task
from iqa import score_data
from iqa.votes import Rated

_SOURCES = ("ava", "votes")


def run(
    task: Task, config: ml_collections.ConfigDict, workdir: str, data_dir: str | None
) -> str:
    """Writes `unreadable.txt` beside the votes; runs leave out what it lists.

    Raises:
      ConfigError: the config's data has no files.
      DataError: there is no such data.
    """
    del task, workdir
    if config.data.source not in _SOURCES:
        raise ConfigError(
            f"--mode=check is for config.data.source={' or '.join(_SOURCES)}, not "
            f"{config.data.source}"
        )
    rated, folder = score_data.read(config.data.source, data_dir)
    there = [picture for picture in rated if picture.path.is_file()]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        good = tqdm(
            pool.map(lambda picture: _readable(picture.path), there),
            total=len(there),
            unit="image",
            disable=not sys.stderr.isatty(),
        )
        bad = [p for p, fine in zip(there, good, strict=True) if not fine]
    _write(folder / score_data.UNREADABLE, bad)
    return (
        f"{len(rated)} pictures with votes: {len(rated) - len(there)} without a file, "
        f"{len(bad)} cannot be read; listed in {folder / score_data.UNREADABLE}"
    )


def _readable(path: Path) -> bool:
    try:
        decode.decode(str(path))
    except Exception:  # Pillow raises many types for broken files.
        return False
    return True


def _write(path: Path, pictures: list[Rated]) -> None:
    with atomic.replacing(path) as temporary:
        text = "".join(f"{picture.key}\n" for picture in pictures)
        temporary.write_text(text, encoding="utf-8")
