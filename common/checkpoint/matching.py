"""Putting named arrays into the structure of a model, with a strict account."""

import difflib
import math
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from common.errors import ConfigError

_SHOWN = 5


@dataclass(frozen=True)
class Report:
    """What `match` found; every field maps a name to "dtype[shape]" text."""

    missing: dict[str, str] = field(default_factory=dict)
    """In the target but not in the file."""
    unused: dict[str, str] = field(default_factory=dict)
    """In the file but not in the target."""
    mismatched: dict[str, str] = field(default_factory=dict)
    """In both, with another shape or another kind of number."""
    reshaped: dict[str, str] = field(default_factory=dict)
    """Reshaped, as `allow_reshape` permits."""
    kept: dict[str, str] = field(default_factory=dict)
    """Missing or mismatched and left as in the target, as `ignore` permits."""

    def raise_if_any(self) -> None:
        """Raises ConfigError when the file and the target do not fit together."""
        if self.missing or self.unused or self.mismatched:
            raise ConfigError(f"the weights do not fit the model: {self}")

    def __str__(self) -> str:
        parts = []
        for kind, entries in vars(self).items():
            if entries:
                shown = [f"{name} {text}" for name, text in entries.items()][:_SHOWN]
                if len(entries) > _SHOWN:
                    shown.append(f"and {len(entries) - _SHOWN} more")
                parts.append(f"{len(entries)} {kind}: {', '.join(shown)}")
        return "; ".join(parts) or "every name and shape fits"


def match(
    target: Mapping[str, Any],
    loaded: Mapping[str, np.ndarray],
    *,
    allow_reshape: Sequence[str] = (),
    ignore: Sequence[str] = (),
) -> tuple[dict[str, Any], Report]:
    """Puts loaded arrays into the structure of a model's variables.

    Args:
      target: Nested mappings of arrays or `jax.ShapeDtypeStruct`.
      loaded: Flat names to arrays, as `load` returns them.
      allow_reshape: Regular expressions, searched in target names, of arrays that
          may be reshaped when they have as many elements.
      ignore: Regular expressions, searched in target names, that may be missing or
          have another shape, such as a new classifier; these leaves stay as given
          in `target`, abstract ones included.

    Returns:
      Variables with the structure and dtypes of `target` and NumPy leaves from
      `loaded`, and the report. A leaf that does not fit stays as in `target`; call
      `Report.raise_if_any` before using the variables.

    Raises:
      ConfigError: A regular expression is invalid or fits no name of the target.
    """
    names = dict(leaves(target))
    may_reshape = _matcher("allow_reshape", allow_reshape, names)
    may_differ = _matcher("ignore", ignore, names)
    report = Report()
    report.unused.update(
        (name, _describe(array)) for name, array in loaded.items() if name not in names
    )
    filled = {}
    for name, leaf in names.items():
        array = loaded.get(name)
        fits = array is not None and _same_kind(array.dtype, leaf.dtype)
        if array is None:
            (report.kept if may_differ(name) else report.missing)[name] = _describe(
                leaf
            )
        elif fits and array.shape == tuple(leaf.shape):
            filled[name] = array.astype(leaf.dtype, copy=False)
        elif fits and array.size == math.prod(leaf.shape) and may_reshape(name):
            filled[name] = array.reshape(leaf.shape).astype(leaf.dtype, copy=False)
            report.reshaped[name] = f"{_describe(array)} to {_describe(leaf)}"
        else:
            group = report.kept if may_differ(name) else report.mismatched
            group[name] = f"{_describe(leaf)}, the file has {_describe(array)}"
    return _rebuild(target, filled), report


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


def _rebuild(
    tree: Mapping[str, Any], filled: Mapping[str, Any], prefix: str = ""
) -> dict[str, Any]:
    return {
        key: _rebuild(value, filled, f"{prefix}{key}/")
        if isinstance(value, Mapping)
        else filled.get(prefix + key, value)
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


def _same_kind(a: np.dtype, b: np.dtype) -> bool:
    """Whether casting keeps the meaning: a float never becomes an index."""

    def kind(dtype: np.dtype) -> str:
        if dtype.kind in "iu":
            return "integer"
        # bfloat16 comes from an extension, so NumPy does not call it a float.
        return "float" if dtype.kind in "fV" else dtype.kind

    return kind(np.dtype(a)) == kind(np.dtype(b))


def _describe(leaf: Any) -> str:
    return f"{np.dtype(leaf.dtype).name}{list(leaf.shape)}"
