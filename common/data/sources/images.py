"""Photographs without labels, from which a degradation makes pairs."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from common.data.sources import listing
from common.data.sources.folder import EXTENSIONS
from common.data.sources.listing import Entry
from common.errors import DataError


class ImagesSource:
    """Reads every image below `DIR/<split>`.

    Splits are chosen as in `listing.choose`: without split folders a fixed tenth of the
    images is for evaluation.
    """

    kind = "images"
    expected = "expected <split>/**/<image>, or images anywhere inside it"
    class_names: tuple[str, ...] = ()

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
          train_split: name of the training split: folders, joined by "/".
          eval_split: name of the evaluation split, such as `"test/Rain100H"`.
          split_seed: seed of the split made when there are no split folders.

        Raises:
          DataError: nothing there, a missing counterpart, or no such split.
        """
        self._root = listing.read_root(data_dir, self.kind, self.expected)
        self._entries = listing.choose(
            self.find(self._root),
            split,
            train_split=train_split,
            eval_split=eval_split,
            split_seed=split_seed,
            root=self._root,
        )

    def __len__(self) -> int:
        return len(self._entries)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Returns the path of one image; the file is not opened."""
        path = os.path.join(self._root, self._entries[index].image)
        return {"image": path, "id": index, "name": path}

    @classmethod
    def find(cls, root: str) -> Sequence[Entry]:
        """Returns all images below a folder; their scope is where they lie.

        Raises:
          DataError: there are none.
        """
        found = [
            Entry(folder, f"{folder}/{name}".lstrip("/"))
            for folder, names in sorted(listing.tree(root).items())
            for name in filter(listing.is_image, names)
        ]
        if not found:
            kinds = " ".join(sorted(EXTENSIONS))
            raise DataError(f"no image ({kinds}) below {root}; {cls.expected}")
        return found
