"""Cuts large images to overlapping tiles, so that training reads only what it needs.

A crop from a photograph of 16 megapixels takes its whole decoding. Tiles are PNG files
of 8-bit RGB, named by the row and column of their first pixel. Pairs are written as
`SPLIT/input/NAME` and `SPLIT/target/NAME`, whatever layout they had, with the names of
their splits; single images keep their folders.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterator, Sequence
from concurrent import futures
from pathlib import Path
from typing import Any

from absl import flags

from common import atomic, command
from common.config import write_json
from common.errors import ConfigError, DataError

_USAGE = """Cuts the images of a data set to tiles, for training.

usage:
  python -m common.data.tiles --input=DIR --output=DIR [--size=512] [--overlap=96]
      [--thresh=0] [--threads=N]

  --input    folder of pairs in any layout that config.data.source=paired reads, or of
             single images; name the folder of training images if others lie beside it
  --output   folder of the tiles; started again with the same flags, what is there
             already is skipped
  --size     longest side of a tile in pixels
  --overlap  pixels that neighbours share; the last tile ends at the border and shares
             more
  --thresh   a remainder of up to so many pixels at the border gets no tile of its own
  --threads  that decode and encode; as many as cores by default
"""
_FLAGS = flags.FlagValues()
_INPUT = flags.DEFINE_string("input", None, "Folder to read.", flag_values=_FLAGS)
_OUTPUT = flags.DEFINE_string("output", None, "Folder to write.", flag_values=_FLAGS)
_SIZE = flags.DEFINE_integer("size", 512, "Side.", 1, flag_values=_FLAGS)
# Public scripts cut GoPro and SIDD to 512 pixels; the overlap is our choice.
_OVERLAP = flags.DEFINE_integer("overlap", 96, "Pixels.", 0, flag_values=_FLAGS)
_THRESH = flags.DEFINE_integer("thresh", 0, "Pixels.", 0, flag_values=_FLAGS)
_THREADS = flags.DEFINE_integer("threads", None, "Threads.", 1, flag_values=_FLAGS)

_RECORD = "tiles.json"
# Of 0 to 9: fast, and nearly as small as the default of 6.
_COMPRESSION = 3


@dataclasses.dataclass(frozen=True)
class Grid:
    """How to cut.

    Attributes:
      size: longest side of a tile.
      overlap: pixels that neighbours share.
      thresh: remainders of up to so many pixels are left out.
    """

    size: int
    overlap: int
    thresh: int = 0

    def __post_init__(self):
        if not 0 <= self.overlap < self.size:
            raise ConfigError(
                f"--overlap={self.overlap} must be in [0, {self.size}), below --size"
            )

    def starts(self, side: int) -> list[int]:
        """Returns where tiles begin along one side of an image.

        The last one ends at the border, unless fewer than `thresh` pixels remain; a
        side shorter than a tile has one, which is shorter, too.
        """
        last = max(side - self.size, 0)
        begins = list(range(0, last + 1, self.size - self.overlap))
        if last - begins[-1] > self.thresh:
            begins.append(last)
        return begins

    def boxes(self, width: int, height: int) -> list[tuple[int, int, int, int]]:
        """Returns (left, top, right, bottom) of every tile, row by row."""
        return [
            (left, top, min(left + self.size, width), min(top + self.size, height))
            for top in self.starts(height)
            for left in self.starts(width)
        ]


@dataclasses.dataclass(frozen=True)
class Job:
    """An image or a pair to cut.

    Attributes:
      pictures: what to decode, by the keys of an example.
      stems: path of the tiles to be, without what names the tile, by the same keys.
      name: for messages.
    """

    pictures: dict[str, Any]
    stems: dict[str, Path]
    name: str

    def tile(self, key: str, box: Sequence[int]) -> Path:
        """Returns the path of one tile; `listing.TILE` knows these names."""
        stem = self.stems[key]
        return stem.with_name(f"{stem.name}_y{box[1]:05d}x{box[0]:05d}.png")

    @property
    def done(self) -> bool:
        """Whether the tile that is written last is there."""
        return self.tile("image", (0, 0)).exists()


def main(words: Sequence[str]) -> str:
    """Cuts what the flags name.

    Returns:
      What was done.

    Raises:
      ConfigError: a flag cannot be used.
      DataError: no images, a missing counterpart, or, after all others are cut, images
        that cannot be read.
    """
    given = _INPUT.value, _OUTPUT.value
    if words or not all(given):
        raise ConfigError(
            f"--input and --output are needed, and no other words; given {[*words]}; "
            "see --help"
        )
    grid = Grid(_SIZE.value, _OVERLAP.value, _THRESH.value)
    root, output = (Path(str(path)).expanduser() for path in given)
    _check_folders(root, output)
    what, jobs = find(str(root), output)
    _check_record(output, grid)
    todo = [job for job in jobs if not job.done]
    count, broken = run(todo, grid, _THREADS.value or os.cpu_count() or 1)
    summary = (
        f"{output}: {len(todo) - len(broken)} {what} cut to {count} tiles of up to "
        f"{grid.size} x {grid.size} pixels, {len(jobs) - len(todo)} were there already"
    )
    if broken:
        raise DataError(
            f"{summary}; {len(broken)} cannot be cut: {'; '.join(broken[:3])}"
            + ("; ..." if len(broken) > 3 else "")
        )
    return summary


def _check_folders(root: Path, output: Path) -> None:
    """Refuses folders inside each other: the sources would read both."""
    if not root.is_dir():
        raise DataError(f"no such folder: --input={root}")
    inner, outer = output.resolve(), root.resolve()
    if inner == outer or inner in outer.parents or outer in inner.parents:
        raise ConfigError(f"--output={output} and --input={root} lie inside each other")
    if not output.is_dir():
        if output.exists():
            raise ConfigError(f"--output={output} is not a folder")
    elif any(output.iterdir()) and not (output / _RECORD).exists():
        raise ConfigError(f"--output={output} holds files that are not tiles")


def _check_record(output: Path, grid: Grid) -> None:
    """Remembers how a folder was cut, so that a second run cannot mix two grids."""
    path, given = output / _RECORD, dataclasses.asdict(grid)
    try:
        if not path.exists():
            write_json(path, given)
        before = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"cannot write or read {path}: {error}") from error
    if before != given:
        raise ConfigError(f"{output} was cut with other flags: {before}, now {given}")


def find(root: str, output: Path) -> tuple[str, list[Job]]:
    """Lists what to cut: pairs or, where there are none, images.

    Raises:
      DataError: nothing there, a missing counterpart, or two images with tiles of one
        name.
    """
    from common.data.sources import listing, paired
    from common.data.sources.images import ImagesSource

    entries = paired.pairs(root, listing.tree(root))
    if entries:
        what, jobs = "pairs", [*_pair_jobs(root, entries, output)]
    else:
        what, jobs = "images", [*_image_jobs(root, ImagesSource.find(root), output)]
    names: dict[Path, str] = {}
    for job in jobs:
        other = names.setdefault(job.stems["image"], job.name)
        if other != job.name:
            raise DataError(f"{other} and {job.name} would have tiles of the same name")
    return what, jobs


def _pair_jobs(root: str, entries: Sequence[Any], output: Path) -> Iterator[Job]:
    """Names tiles by what tells the images of one split apart."""
    from common.data.sources import paired

    scopes: dict[str, list[str]] = {}
    for entry in entries:
        scopes.setdefault(entry.scope, []).append(os.path.dirname(_stem(entry.image)))
    common = {scope: os.path.commonpath(folders) for scope, folders in scopes.items()}
    for entry in entries:
        name = os.path.relpath(_stem(entry.image), common[entry.scope] or ".")
        yield Job(
            {
                key: paired.read(root, getattr(entry, key))
                for key in ("image", "target")
            },
            {
                "image": output / entry.scope / "input" / name,
                "target": output / entry.scope / "target" / name,
            },
            os.path.join(root, str(entry.image)),
        )


def _image_jobs(root: str, entries: Sequence[Any], output: Path) -> Iterator[Job]:
    for entry in entries:
        path = os.path.join(root, entry.image)
        yield Job({"image": path}, {"image": output / _stem(entry.image)}, path)


def _stem(picture: Any) -> str:
    from common.data.sources.indexes import Block

    if isinstance(picture, Block):
        return f"{os.path.splitext(picture.path)[0]}_{picture.index:04d}"
    return os.path.splitext(picture)[0]


def run(jobs: Sequence[Job], grid: Grid, threads: int) -> tuple[int, list[str]]:
    """Cuts in threads, with a progress bar.

    Returns:
      Number of tiles, and a line for every job whose images cannot be used.

    Raises:
      ConfigError: a tile cannot be written.
    """
    from tqdm import tqdm

    count, broken = 0, []
    with futures.ThreadPoolExecutor(threads) as pool:
        cuts = [pool.submit(cut, job, grid) for job in jobs]
        try:
            for cut_one in tqdm(
                futures.as_completed(cuts), total=len(cuts), unit="cut"
            ):
                try:
                    count += cut_one.result()
                except DataError as error:
                    broken.append(str(error))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return count, sorted(broken)


def cut(job: Job, grid: Grid) -> int:
    """Writes the tiles of one job and returns their number.

    The first tile of the image is written last and marks the job as done.

    Raises:
      DataError: an image cannot be read, or a pair differs in size.
      ConfigError: a tile cannot be written.
    """
    from common.data import decode

    pictures = {}
    for key, picture in job.pictures.items():
        try:
            pictures[key] = decode.decode(picture)
        # Pillow's readers raise nearly any exception on broken data.
        except Exception as error:
            raise DataError(f"the {key} of {job.name}: {error}") from error
    decode.check_pair({"name": job.name, **job.pictures}, pictures)
    boxes = grid.boxes(*pictures["image"].size)
    try:
        for key in ("target", "image"):
            for box in reversed(boxes if key in pictures else ()):
                with atomic.replacing(job.tile(key, box)) as path:
                    pictures[key].crop(box).save(path, compress_level=_COMPRESSION)
    except OSError as error:
        raise ConfigError(f"cannot write the tiles of {job.name}: {error}") from error
    return len(boxes) * len(pictures)


if __name__ == "__main__":
    command.run(main, _USAGE, _FLAGS)
