"""Pairs of images: what a model is given and what it should make of it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from common.data.sources import indexes, listing, pairing
from common.data.sources.images import ImagesSource
from common.data.sources.indexes import Block
from common.data.sources.layouts import LAYOUTS
from common.data.sources.listing import Entry
from common.errors import DataError


class PairedSource(ImagesSource):
    """Reads `DIR/<split>/input/*` with `DIR/<split>/target/*`, or a known layout.

    The layouts are those of `common.data.sources.layouts`; several may lie below one
    folder. Pairs with a common target stay together when a tenth is held out.
    """

    kind = "paired"
    expected = (
        "expected <split>/input/<image> and <split>/target/<image> of the same name"
    )

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Returns the input as `"image"`, and its `"target"`."""
        entry = self._entries[index]
        return {
            "image": read(self._root, entry.image),
            "target": read(self._root, entry.target),
            "id": index,
            "name": os.path.join(self._root, str(entry.image)),
        }

    @classmethod
    def find(cls, root: str) -> Sequence[Entry]:
        """Returns all pairs below a folder, of every split.

        Raises:
          DataError: there are none, or one lacks its counterpart.
        """
        files = listing.tree(root)
        found = pairs(root, files)
        if not found:
            titles = ", ".join(layout.title for layout in LAYOUTS)
            raise DataError(
                f"no pairs of images below {root} ({_where(files)}); {cls.expected}, "
                f"or the layout of: {titles}, RealBlur"
            )
        return found


def pairs(root: str, files: listing.Tree) -> list[Entry]:
    """Returns the pairs among the files below a folder; there may be none.

    Raises:
      DataError: an image lacks its counterpart.
    """
    listed = indexes.entries(root, files)
    taken = {path for entry in listed for path in (entry.image, entry.target)}
    return [*listed, *pairing.pairs(files, taken)]


def read(root: str, picture: str | Block) -> Any:
    """Returns what `common.data.decode` decodes: a path or an array."""
    if isinstance(picture, Block):
        return picture.read(root)
    return os.path.join(root, picture)


def _where(files: listing.Tree) -> str:
    folders = [
        name or "."
        for name, names in files.items()
        if any(map(listing.is_image, names))
    ]
    if not folders:
        return "no images at all"
    more = ", ..." if len(folders) > 5 else ""
    return f"images lie in {', '.join(folders[:5])}{more}"
