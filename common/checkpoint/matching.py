"""Putting named arrays into the structure of a model, with a strict account."""

import difflib
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from common.errors import ConfigError

_SHOWN = 5


@dataclass(frozen=True)
class Report:
    """What `match` found; every field maps a name to text on file and model."""

    missing: dict[str, str] = field(default_factory=dict)
    """In the target but not in the file."""
    unused: dict[str, str] = field(default_factory=dict)
    """In the file but not in the target."""
    mismatched: dict[str, str] = field(default_factory=dict)
    """In both, with another shape or another kind of number."""
    replaced: dict[str, str] = field(default_factory=dict)
    """Left as in the target, as `reinitialize` asks."""
    dropped: dict[str, str] = field(default_factory=dict)
    """In the file but not in the target, and of no interest as `reinitialize` says."""

    def raise_if_any(self, hint: str = "") -> None:
        """Raises ConfigError when the file and the target do not fit together.

        Args:
          hint: what to do about it, appended to the message.
        """
        if self.missing or self.unused or self.mismatched:
            raise ConfigError(f"the weights do not fit the model: {self}{hint}")

    def misfit(self) -> str:
        """Returns the one layer, or group of them, whose shapes differ, else ""."""
        if self.missing or self.unused or not self.mismatched:
            return ""
        paths = [name.split("/")[:-1] for name in self.mismatched]
        common = [
            parts[0]
            for parts in zip(*paths, strict=False)
            if all(part == parts[0] for part in parts)
        ]
        # A whole collection is another model, not a part to replace.
        return "/".join(common) if len(common) > 1 else ""

    def lines(self) -> Iterator[str]:
        """Yields one line for each name, of each kind the first few."""
        for kind, entries in vars(self).items():
            shown = list(entries.items())[:_SHOWN]
            yield from (f"{kind} {name}: {text}" for name, text in shown)
            if len(entries) > _SHOWN:
                yield f"and {len(entries) - _SHOWN} more {kind}"

    def __str__(self) -> str:
        return "; ".join(self.lines()) or "every name and shape fits"


def match(
    target: Mapping[str, Any],
    loaded: Mapping[str, np.ndarray],
    *,
    reinitialize: Sequence[str] = (),
) -> tuple[dict[str, Any], Report]:
    """Puts loaded arrays into the structure of a model's variables.

    Args:
      target: Nested mappings of arrays or `jax.ShapeDtypeStruct`.
      loaded: Flat names to arrays, as `load` returns them.
      reinitialize: Regular expressions, searched in names, of what is not taken from
          the file, whether it fits or not, such as a classifier; these leaves stay
          as given in `target`, abstract ones included.

    Returns:
      Variables with the structure and dtypes of `target` and NumPy leaves from
      `loaded`, and the report. A leaf that does not fit stays as in `target`; call
      `Report.raise_if_any` before using the variables.

    Raises:
      ConfigError: A regular expression is invalid or fits no name of the target.
    """
    names = dict(leaves(target))
    anew = _matcher("reinitialize", reinitialize, names)
    report = Report()
    for name, array in loaded.items():
        if name not in names:
            group = report.dropped if anew(name) else report.unused
            group[name] = f"file {_describe(array)}"
    filled = {}
    for name, leaf in names.items():
        array = loaded.get(name)
        both = f"file {_describe(array)}, model {_describe(leaf)}"
        fits = array is not None and _same_kind(array.dtype, leaf.dtype)
        if anew(name):
            report.replaced[name] = both
        elif array is None:
            report.missing[name] = f"model {_describe(leaf)}"
        elif fits and array.shape == tuple(leaf.shape):
            filled[name] = array.astype(leaf.dtype, copy=False)
        else:
            report.mismatched[name] = both
    return fill(target, filled), report


def check_finite(where: str, arrays: Mapping[str, np.ndarray]) -> None:
    """Refuses weights that would make every output NaN.

    Raises:
      ConfigError: `where` and the first array with a value that is not finite.
    """
    for name, array in arrays.items():
        if is_float(array.dtype) and not np.isfinite(array).all():
            count = int(array.size - np.isfinite(array).sum())
            raise ConfigError(
                f"{where}: {name} {_describe(array)} has values that are not finite "
                f"({count} of {array.size})"
            )


def nest(flat: Mapping[str, Any]) -> dict[str, Any]:
    """Returns nested dicts of flat names: undoes `leaves`.

    Raises:
      ConfigError: a name is both an array and a part of other names.
    """
    tree: dict[str, Any] = {}
    for name, leaf in flat.items():
        *parents, last = name.split("/")
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
            if not isinstance(node, dict):
                raise ConfigError(f"{name}: a part of this name is an array too")
        if last in node:
            raise ConfigError(f"{name}: a part of other names is an array too")
        node[last] = leaf
    return tree


def leaves(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yields names, the keys joined by "/", and leaves of nested mappings.

    Raises:
      ConfigError: A key is not text, or holds a "/".
    """
    for key, value in tree.items():
        if not isinstance(key, str) or "/" in key:
            raise ConfigError(f"key {key!r} under {prefix!r} is not text without '/'")
        if isinstance(value, Mapping):
            yield from leaves(value, f"{prefix}{key}/")
        else:
            yield prefix + key, value


def fill(
    tree: Mapping[str, Any], arrays: Mapping[str, Any], prefix: str = ""
) -> dict[str, Any]:
    """Returns a tree with the leaves replaced that flat names have arrays for."""
    return {
        key: fill(value, arrays, f"{prefix}{key}/")
        if isinstance(value, Mapping)
        else arrays.get(prefix + key, value)
        for key, value in tree.items()
    }


def _matcher(
    option: str, patterns: Sequence[str], names: Collection[str]
) -> Callable[[str], bool]:
    """A test for names that some pattern fits; every pattern must fit one."""
    compiled = []
    for pattern in patterns:
        try:
            expression = re.compile(pattern)
        except re.error as error:
            raise ConfigError(f"{option} {pattern!r} is invalid: {error}") from error
        if not any(map(expression.search, names)):
            # Parts count too: "haed" is close to "head" but not to a whole name.
            parts = {part for name in names for part in name.split("/")} | set(names)
            close = difflib.get_close_matches(pattern, sorted(parts), n=3, cutoff=0.4)
            hint = f"closest: {', '.join(close)}" if close else "nothing comes close"
            raise ConfigError(f"{option} {pattern!r} fits no name; {hint}")
        compiled.append(expression)
    return lambda name: any(expression.search(name) for expression in compiled)


def is_float(dtype: np.dtype) -> bool:
    """Whether numbers are of floating point."""
    # bfloat16 comes from an extension, so NumPy does not call it a float.
    return np.dtype(dtype).kind in "fV"


def _same_kind(a: np.dtype, b: np.dtype) -> bool:
    """Whether casting keeps the meaning: a float never becomes an index."""

    def kind(dtype: np.dtype) -> str:
        if dtype.kind in "iu":
            return "integer"
        return "float" if is_float(dtype) else dtype.kind

    return kind(np.dtype(a)) == kind(np.dtype(b))


def _describe(leaf: Any) -> str:
    if leaf is None:
        return "nothing"
    return f"{np.dtype(leaf.dtype).name}[{','.join(map(str, leaf.shape))}]"
