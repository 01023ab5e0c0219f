"""One engine for every source: tables say what an array is called and how it lies.

A table maps a layer of the source to a layer of ours and its kind; the kind says what
the layer's arrays are called on both sides and how their axes are ordered. Whatever a
table does not name is an error, and so is what it names and the weights lack.
"""

import dataclasses
import math
import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from common.checkpoint import matching
from common.errors import ConfigError


class Leaf(NamedTuple):
    """How one array of a source layer becomes one of ours.

    Axes are letters. One that ours lacks has length 1; those in brackets are one axis
    of ours. Arrays that go to the same place are joined along their last axis, in
    the order of the table.
    """

    collection: str
    name: str
    theirs: str
    ours: str


# Names are counted up to the largest number, so a hostile one must not be endless.
_NUMBER = r"(\d{1,2})"

Kind = dict[str, Leaf]
Table = dict[str, tuple[str, Kind]]
Names = dict[str, tuple[str, Leaf]]  # their name -> our name and how to get there


def vector(name: str, collection: str = "params") -> Leaf:
    """An array of one axis."""
    return Leaf(collection, name, "o", "o")


@dataclasses.dataclass(frozen=True)
class Format:
    """How a library names and lays out a MaxViT.

    Attributes:
      title: of its models, for messages.
      separator: between a layer's name and its array's.
      block: prefix of a block, with the fields `stage` and `block`, from 0.
      ends: layers outside of blocks.
      layers: layers of every block.
      shortcut: layers of a block whose width changes.
    """

    title: str
    separator: str
    block: str
    ends: Table
    layers: Table
    shortcut: Table

    def prefix(self, stage: int, block: int) -> str:
        """Returns what the names of a block's arrays begin with."""
        return self.block.format(stage=stage, block=block)

    @property
    def pattern(self) -> str:
        """A regular expression of block prefixes; its groups are the two numbers."""
        return re.sub(r"\\\{.*?\\\}", lambda _: _NUMBER, re.escape(self.block))

    def rows(self, table: Table, theirs: str = "", ours: str = "") -> Names:
        """Returns the arrays of a table under both prefixes."""
        return {
            f"{theirs}{layer}{self.separator}{array}": (
                f"{leaf.collection}/{ours}{our_layer}/{leaf.name}",
                leaf,
            )
            for layer, (our_layer, kind) in table.items()
            for array, leaf in kind.items()
        }


def read(form: Format, source: Mapping[str, Any]) -> dict[str, Any]:
    """Converts a source's arrays.

    Args:
      form: of the source.
      source: its names to arrays. Stages and blocks are counted from the names.

    Returns:
      `{"params", "batch_stats"}`, nested, float32.

    Raises:
      ConfigError: a name is unknown or missing, or an array has the wrong axes, is
        not of floating point or not finite.
    """
    arrays = {name: np.asarray(array) for name, array in source.items()}
    depths = _depths(form, arrays)
    names = _names(form, depths, _projected_theirs(form, depths, arrays))
    _check_same(form.title, arrays, names)
    matching.check_finite(form.title, arrays)
    parts: dict[str, list[np.ndarray]] = {}
    for theirs, (ours, leaf) in names.items():
        parts.setdefault(ours, []).append(_to_ours(theirs, arrays[theirs], leaf))
    return matching.nest({name: _join(found) for name, found in parts.items()})


def write(form: Format, variables: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Converts our variables to a source's names and layouts: undoes `read`.

    Raises:
      ConfigError: the variables are not of a plain MaxViT, or not finite.
    """
    arrays = {name: np.asarray(leaf) for name, leaf in matching.leaves(variables)}
    depths = _count(f"params/stage{_NUMBER}/block{_NUMBER}/", arrays, first_stage=1)
    projected = {
        (stage, block)
        for stage, depth in enumerate(depths)
        for block in range(depth)
        if f"params/stage{stage + 1}/block{block}/mbconv/shortcut_conv/kernel" in arrays
    }
    names = _names(form, depths, projected)
    _check_same(
        f"our side of {form.title}", arrays, [ours for ours, _ in names.values()]
    )
    matching.check_finite("the variables", arrays)
    return {
        theirs: _to_theirs(ours, arrays[ours], leaf)
        for theirs, (ours, leaf) in names.items()
    }


def _names(
    form: Format, depths: Iterable[int], projected: Collection[tuple[int, int]]
) -> Names:
    """Returns all names of a model of these depths."""
    names = form.rows(form.ends)
    for stage, depth in enumerate(depths):
        for block in range(depth):
            both = form.prefix(stage, block), f"stage{stage + 1}/block{block}/"
            names |= form.rows(form.layers, *both)
            if (stage, block) in projected:
                names |= form.rows(form.shortcut, *both)
    return names


def _depths(form: Format, source: Mapping[str, np.ndarray]) -> list[int]:
    """Returns the number of blocks in each stage."""
    depths = _count(form.pattern, source)
    if not depths:
        raise ConfigError(
            f"no weights of MaxViT blocks: expected the names of {form.title} such as "
            f"{next(iter(form.rows(form.layers, form.prefix(0, 0))))!r}, got "
            f"{_some(source) or 'nothing'}"
        )
    return depths


def _count(pattern: str, names: Iterable[str], first_stage: int = 0) -> list[int]:
    """Counts the blocks of each stage; one with a hole counts to its last block."""
    depths: dict[int, int] = {}
    for name in names:
        if match := re.match(pattern, name):
            stage, block = int(match[1]) - first_stage, int(match[2])
            depths[stage] = max(depths.get(stage, 0), block + 1)
    return [depths.get(stage, 1) for stage in range(max(depths, default=-1) + 1)]


def _projected_theirs(
    form: Format, depths: Iterable[int], source: Mapping[str, np.ndarray]
) -> set[tuple[int, int]]:
    """The blocks that change the width, and so project their shortcut."""
    their_names = {ours: theirs for theirs, (ours, _) in form.rows(form.layers).items()}
    before = their_names["params/mbconv/pre_norm/scale"]
    after = their_names["params/mbconv/shrink_conv/bias"]

    def differs(prefix: str) -> bool:
        a, b = source.get(prefix + before), source.get(prefix + after)
        return a is not None and b is not None and a.shape != b.shape

    return {
        (stage, block)
        for stage, depth in enumerate(depths)
        for block in range(depth)
        if differs(form.prefix(stage, block))
    }


def _check_same(title: str, source: Iterable[str], expected: Iterable[str]) -> None:
    source, expected = dict.fromkeys(source), dict.fromkeys(expected)
    missing = [name for name in expected if name not in source]
    extra = [name for name in source if name not in expected]
    if missing or extra:
        parts = [
            f"{len(names)} {what} ({_some(names)})"
            for what, names in (("missing", missing), ("unknown", extra))
            if names
        ]
        raise ConfigError(f"the weights do not fit {title}: {', '.join(parts)}")


def _to_ours(name: str, array: np.ndarray, leaf: Leaf) -> np.ndarray:
    sizes = dict(zip(leaf.theirs, array.shape, strict=False))
    dropped = [axis for axis in leaf.theirs if axis not in leaf.ours]
    if array.ndim != len(leaf.theirs) or any(sizes[axis] != 1 for axis in dropped):
        raise ConfigError(
            f"{name} has shape {array.shape}; expected axes {tuple(leaf.theirs)}"
            + (f" with {dropped} of length 1" if dropped else "")
        )
    if not matching.is_float(array.dtype):
        raise ConfigError(f"{name} holds {array.dtype}, expected floating point")
    groups = re.findall(r"\((\w+)\)|(\w)", leaf.ours)
    axes = [many or one for many, one in groups]
    order = [leaf.theirs.index(axis) for axis in "".join(axes) + "".join(dropped)]
    shape = [math.prod(sizes[axis] for axis in group) for group in axes]
    array = array.astype(np.float32).transpose(order).reshape(shape)
    return np.ascontiguousarray(array)


def _to_theirs(name: str, array: np.ndarray, leaf: Leaf) -> np.ndarray:
    if array.ndim != len(leaf.ours):
        raise ConfigError(f"{name} has shape {array.shape}; expected {leaf.ours!r}")
    dropped = "".join(axis for axis in leaf.theirs if axis not in leaf.ours)
    axes = leaf.ours + dropped
    array = array.reshape(array.shape + (1,) * len(dropped))
    order = [axes.index(axis) for axis in leaf.theirs]
    return np.ascontiguousarray(array.transpose(order), np.float32)


def _join(parts: list[np.ndarray]) -> np.ndarray:
    return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=-1)


def _some(names: Iterable[str]) -> str:
    shown = list(names)
    return ", ".join(shown[:4]) + (", ..." if len(shown) > 4 else "")
