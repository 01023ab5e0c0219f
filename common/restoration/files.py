"""Which images of a folder are worked on, and where each result goes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from absl import logging

from common.data.sources.folder import EXTENSIONS
from common.errors import ConfigError, DataError
from common.restoration.pictures import SUFFIXES

# The official layout of pairs; results are made of the first alone.
_PAIRED = ("input", "target")


class Job(NamedTuple):
    """One image to work on."""

    source: Path
    result: Path


def plan(
    source: str,
    output: str,
    format: str = "png",
    *,
    pairs: bool = True,
    advice: str = ", or try --format=same",
) -> list[Job]:
    """Lists the images to work on, without opening any.

    Args:
      source: an image, or a folder whose images are taken with those of its
        sub-folders.
      output: folder of the results, which keep the names and sub-folders of their
        images. Results of an earlier time in it are no images of `source`.
      format: "png", "jpg" or "webp", or "same" as the image; PNG where that is one
        that is only read.
      pairs: of a folder with sub-folders `input` and `target`, as MAXIM's official
        script wants it, only `input` is taken, and nothing is written to `target`.
      advice: what else than renaming helps when two images have one result.

    Returns:
      Images and results, sorted by the name of the image.

    Raises:
      DataError: there is no image; it says what was searched.
      ConfigError: two images have one result, a result would replace an image, or
        `output` is no folder.
    """
    root, folder = Path(source).expanduser(), Path(output).expanduser()
    if folder.suffix.lower() in EXTENSIONS or (folder.exists() and not folder.is_dir()):
        raise ConfigError(f"--output={output} must be a folder, not a file")
    if root.is_dir():
        root = _of_pairs(root) if pairs else root
        images = _images(root, folder)
    elif root.is_file():
        root, images = root.parent, [root]
    else:
        raise DataError(f"--input={source}: no such file or folder")
    targets = root.with_name(_PAIRED[1])
    if pairs and root.name == _PAIRED[0] and _same(targets, folder):
        raise ConfigError(f"--output={output} holds the targets of {root.parent}")
    jobs = [
        Job(image, folder / image.relative_to(root).with_suffix(_suffix(image, format)))
        for image in images
    ]
    _check_results(jobs, advice)
    return jobs


def check_writable(output: str) -> None:
    """Makes the folder of the results, before the work on them.

    Raises:
      ConfigError: it cannot be made or written; it says why.
    """
    folder = Path(output).expanduser()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = error.strerror
    else:
        if os.access(folder, os.W_OK | os.X_OK):
            return
        reason = "permission denied"
    raise ConfigError(f"--output={output} cannot be written: {reason}")


def _of_pairs(root: Path) -> Path:
    if not all((root / name).is_dir() for name in _PAIRED):
        return root
    logging.info("%s holds pairs: the images are those of %s", root, _PAIRED[0])
    return root / _PAIRED[0]


def _images(root: Path, output: Path) -> list[Path]:
    """Returns the images below a folder, but none of the results."""
    found: list[Path] = []
    for parent, folders, names in os.walk(root):
        here = Path(parent)
        folders[:] = [x for x in folders if x[0] != "." and not _same(here / x, output)]
        images = (x for x in names if Path(x).suffix.lower() in EXTENSIONS)
        found += [here / name for name in images if name[0] != "."]
    if not found:
        kinds = " ".join(sorted(EXTENSIONS))
        raise DataError(f"--input={root}: no image ({kinds}) in it or below")
    return sorted(found)


def _suffix(image: Path, format: str) -> str:
    if format != "same":
        return f".{format}"
    return image.suffix if image.suffix.lower() in SUFFIXES else ".png"


def _check_results(jobs: list[Job], advice: str) -> None:
    """Refuses what would destroy an image or a result."""
    made_of: dict[Path, Path] = {}
    for source, result in jobs:
        if result in made_of:
            raise ConfigError(
                f"{made_of[result]} and {source} would both become {result}; rename "
                f"one{advice}"
            )
        made_of[result] = source
    # A link to nothing is no image; reading it will say so.
    images = {_identity(source): source for source, _ in jobs if source.exists()}
    for result, source in made_of.items():
        if not result.exists():
            continue
        # Beside its image stand other images, not older results.
        beside = result if _same(source.parent, result.parent) else None
        if image := images.get(_identity(result), beside):
            raise ConfigError(
                f"{result} would replace the image {image}; give another --output"
            )


def _identity(path: Path) -> tuple[int, int]:
    """Tells files apart whatever their names and links."""
    status = path.stat()
    return status.st_dev, status.st_ino


def _same(first: Path, second: Path) -> bool:
    return first.exists() and second.exists() and first.samefile(second)
