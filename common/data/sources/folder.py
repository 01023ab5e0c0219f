"""Image folders: one folder per class, with or without split folders above."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from absl import logging

from common.errors import DataError

EXTENSIONS = frozenset(
    (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".ppm")
)
# Our choice, for folders that come without an evaluation split.
EVAL_FRACTION = 0.1


class ListSource:
    """Image files with labels; an example's id is its position in the list."""

    def __init__(
        self, files: Sequence[tuple[str, int]], class_names: Sequence[str]
    ) -> None:
        """Takes pairs (path, label) in their final order."""
        self._files = tuple(files)
        self.class_names = tuple(class_names)

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Returns the path of one image and its label; the file is not opened."""
        path, label = self._files[index]
        return {"image": path, "label": label, "id": index, "name": path}


class FolderSource(ListSource):
    """Reads `DIR/<split>/<class>/**/<image>` or, without splits, `DIR/<class>/...`.

    Classes and files are sorted by name. Without split folders a fixed tenth of
    every class becomes the evaluation split. Evaluation images are labelled with
    the training split's classes, all of which need not occur. Names that begin with
    a dot are skipped, and links to folders are not followed below a class folder, so
    a walk always ends.
    """

    def __init__(
        self,
        data_dir: str | os.PathLike[str] | None,
        split: str,
        *,
        train_split: str = "train",
        eval_split: str = "validation",
        split_seed: int = 0,
    ):
        """Lists the files.

        Args:
          data_dir: the folder.
          split: `"train"` or `"eval"`.
          train_split: name of the folder of training images.
          eval_split: name of the folder of evaluation images.
          split_seed: seed of the split made when there are no split folders.

        Raises:
          DataError: missing or empty folder, no class folder, or an evaluation
            class that training does not have.
        """
        layout = f"expected {train_split}/<class>/<image> or <class>/<image> inside it"
        if not data_dir:
            raise DataError(f"the folder source needs --data_dir; {layout}")
        root = Path(data_dir).expanduser()
        if not root.is_dir():
            raise DataError(f"no such folder: {root}; {layout}")
        folders = {"train": root / train_split, "eval": root / eval_split}
        if any(folder.is_dir() for folder in folders.values()):
            files, names = _read_split(folders, split, layout)
        else:
            files, names = _divide(root, split, split_seed, layout)
        super().__init__(files, names)


def _read_split(
    folders: dict[str, Path], split: str, layout: str
) -> tuple[list[tuple[str, int]], list[str]]:
    for folder in (folders["train"], folders[split]):
        if not folder.is_dir():
            found = ", ".join(_subfolders(folder.parent))
            raise DataError(
                f"no such folder: {folder} (found: {found}; "
                f"config.data.{split}_split names another); {layout}"
            )
    names = _class_names(folders["train"], layout)
    extra = set(_class_names(folders[split], layout)) - set(names)
    if extra:
        raise DataError(
            f"classes in {folders[split]} that are not in {folders['train']}: "
            + ", ".join(sorted(extra))
        )
    files = []
    for label, name in enumerate(names):
        files += [(path, label) for path in _images(folders[split] / name)]
    return _not_empty(files, folders[split], layout), names


def _divide(
    root: Path, split: str, split_seed: int, layout: str
) -> tuple[list[tuple[str, int]], list[str]]:
    """Splits each class by itself, so that every class keeps its share."""
    names = _class_names(root, layout)
    files: list[tuple[str, int]] = []
    for label, name in enumerate(names):
        paths = _images(root / name)
        # A class of one image stays in training.
        count = max(round(EVAL_FRACTION * len(paths)), 1) if len(paths) > 1 else 0
        rng = np.random.default_rng((split_seed, label))
        held_out = set(rng.permutation(len(paths))[:count].tolist())
        wanted = split == "eval"
        files += [
            (path, label)
            for index, path in enumerate(paths)
            if (index in held_out) == wanted
        ]
    logging.info(
        "%s has no split folders: %d images are the %s split (%.0f %% of every class "
        "is for evaluation, seed %d)",
        root,
        len(files),
        split,
        100 * EVAL_FRACTION,
        split_seed,
    )
    return _not_empty(files, root, layout), names


def _class_names(folder: Path, layout: str) -> list[str]:
    names = _subfolders(folder)
    if not names:
        raise DataError(f"no class folder in {folder}; {layout}")
    return names


def _subfolders(folder: Path) -> list[str]:
    if not folder.is_dir():
        return []
    entries = folder.iterdir()
    return sorted(e.name for e in entries if e.is_dir() and e.name[0] != ".")


def _images(folder: Path) -> list[str]:
    """Returns the sorted paths of the images below `folder`."""
    found = []
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if name[0] != "."]
        found += [
            os.path.join(parent, name)
            for name in names
            if name[0] != "." and os.path.splitext(name)[1].lower() in EXTENSIONS
        ]
    return sorted(found)


def _not_empty(
    files: list[tuple[str, int]], folder: Path, layout: str
) -> list[tuple[str, int]]:
    if not files:
        kinds = " ".join(sorted(EXTENSIONS))
        raise DataError(f"no image ({kinds}) in the classes of {folder}; {layout}")
    return files
