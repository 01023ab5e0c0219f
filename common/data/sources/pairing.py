"""Finds the pairs of images below a folder by the patterns of the known layouts."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator, Sequence, Set
from typing import Any

from common.data.sources.layouts import LAYOUTS, Layout
from common.data.sources.listing import (
    EVAL_SPLITS,
    TRAIN_SPLITS,
    Entry,
    Tree,
    is_image,
)
from common.errors import DataError

_SHOWN = 3


def pairs(files: Tree, listed: Set[Any] = frozenset()) -> list[Entry]:
    """Returns every pair that a layout finds, by scope and name.

    A file that fits several layouts is taken by the first that has a target for it.

    Args:
      files: folders and names; the paths of the result are relative to the same root.
      listed: paths that are part of a pair already.

    Raises:
      DataError: an input has no target although its layout's folder of targets is
        there or other inputs have one, or it has two.
    """
    targets = _Targets(files)
    found: dict[str, Entry] = {}
    missing: dict[str, str] = {}
    for layout in LAYOUTS:
        skip = found.keys() | listed
        part, absent = _of_layout(layout, files, targets, skip)
        missing = absent | missing
        found |= {entry.image: entry for entry in _hold_out(layout, part)}
    used = found.keys() | {entry.target for entry in found.values()}
    left = {path: place for path, place in missing.items() if path not in used}
    if left:
        raise DataError(_missing_line(left, len(found)))
    _check_targets(files, used | listed)
    return sorted(found.values())


def _check_targets(files: Tree, used: Collection[Any]) -> None:
    """Refuses targets without an input, where names promise one for each.

    In other layouts one folder of targets serves several of inputs, or half a set is
    there on purpose.
    """
    folders = [name for name in files if name.rpartition("/")[2] == "target"]
    paths = [_join(f, name) for f in folders for name in filter(is_image, files[f])]
    stems = {os.path.splitext(str(picture))[0] for picture in used}
    alone = [path for path in paths if os.path.splitext(path)[0] not in stems]
    if alone:
        more = ", ..." if len(alone) > _SHOWN else ""
        raise DataError(
            f"{len(alone)} images have no input: {', '.join(alone[:_SHOWN])}{more}"
        )


def _of_layout(
    layout: Layout, files: Tree, targets: _Targets, skip: Collection[str]
) -> tuple[list[Entry], dict[str, str]]:
    """Returns the pairs of one layout, and inputs without one: where it should be."""
    found: list[Entry] = []
    absent: list[tuple[str, str, bool]] = []
    for path, groups in _inputs(layout, files):
        if path in skip:
            continue
        target, expected, has_folder = targets.find(layout, groups, path)
        if target is None:
            absent.append((path, expected, has_folder))
        else:
            scope = layout.scope.format(**groups).strip("/")
            found.append(Entry(scope, path, target))
    in_use = bool(found) and not layout.any_folder
    return found, {path: place for path, place, known in absent if known or in_use}


def _inputs(layout: Layout, files: Tree) -> Iterator[tuple[str, dict[str, str]]]:
    """Yields path and named groups of every image that fits the patterns."""
    folder_pattern, name_pattern = re.compile(layout.folder), re.compile(layout.name)
    for folder, names in files.items():
        outer = folder_pattern.fullmatch(folder)
        if not outer:
            continue
        for name in filter(is_image, names):
            inner = name_pattern.fullmatch(os.path.splitext(name)[0])
            if inner:
                groups = outer.groupdict("") | inner.groupdict("")
                yield _join(folder, name), groups


class _Targets:
    """Looks up images by folder and name without the suffix."""

    def __init__(self, files: Tree):
        self._files = files
        self._stems: dict[str, dict[str, list[str]]] = {}

    def find(
        self, layout: Layout, groups: dict[str, str], path: str
    ) -> tuple[str | None, str, bool]:
        """Returns the target of an input, where it should be, and if there is a folder.

        Raises:
          DataError: several files could be the target.
        """
        places = [place.format(**groups).strip("/") for place in layout.targets]
        present = [p for p in places if p.rpartition("/")[0] in self._files]
        for place in present:
            folder, _, stem = place.rpartition("/")
            names = self._in(folder).get(stem, [])
            if names:
                return _join(folder, _only(names, path)), place, True
        return None, (present or places)[0], bool(present)

    def _in(self, folder: str) -> dict[str, list[str]]:
        if folder not in self._stems:
            stems: dict[str, list[str]] = {}
            for name in filter(is_image, self._files[folder]):
                stems.setdefault(os.path.splitext(name)[0], []).append(name)
            self._stems[folder] = stems
        return self._stems[folder]


def _only(names: Sequence[str], path: str) -> str:
    """Returns the one of several names that ends like the input."""
    if len(names) == 1:
        return names[0]
    suffix = os.path.splitext(path)[1]
    same = [name for name in names if os.path.splitext(name)[1] == suffix]
    if len(same) != 1:
        raise DataError(f"{path} has several targets: {', '.join(names)}")
    return same[0]


def _hold_out(layout: Layout, part: list[Entry]) -> list[Entry]:
    """Names the splits of a layout that divides by names, where folders do not."""
    held_out = layout.last_for_test
    # Fewer than it holds out are not this set but others named alike.
    if not held_out or len(part) <= held_out or any(map(_has_split, part)):
        return part
    part = sorted(part)
    first = len(part) - held_out
    names = ("train" if index < first else "validation" for index in range(len(part)))
    return [
        entry._replace(scope=f"{entry.scope}/{name}".strip("/"))
        for entry, name in zip(part, names, strict=True)
    ]


def _has_split(entry: Entry) -> bool:
    return not {*TRAIN_SPLITS, *EVAL_SPLITS}.isdisjoint(entry.scope.split("/"))


def _join(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name


def _missing_line(missing: dict[str, str], found: int) -> str:
    shown = list(missing.items())[:_SHOWN]
    first = ", ".join(f"{path} (expected {place}.*)" for path, place in shown)
    more = ", ..." if len(missing) > _SHOWN else ""
    return (
        f"{len(missing)} images have no target, {found} have one; without one: "
        f"{first}{more}"
    )
