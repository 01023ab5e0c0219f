"""Release weights: flat named arrays in one `.safetensors` or `.npz` file.

Orbax checkpoints are for resuming; this is the format that people download, so a file
is treated as hostile until it has been checked. Nothing here can run code from a file:
there is no pickle, and names are never used as paths.
"""

import difflib
import hashlib
import json
import math
import os
import re
import zipfile
import zlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from common import atomic
from common.errors import ConfigError, DataError

# The largest MaxViT has 475 million parameters: 1.9 GB in float32.
_MAX_BYTES = 8 * 2**30
_BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
_DTYPES = frozenset(
    np.dtype(name)
    for name in (
        "bool int8 int16 int32 int64 uint8 uint16 uint32 uint64 float16 float32 float64"
    ).split()
) | {_BFLOAT16}
_METADATA = "__metadata__"
_SHOWN = 5


def save(
    path: str | os.PathLike[str],
    variables: Mapping[str, Any],
    metadata: Mapping[str, str] | None = None,
) -> str:
    """Writes weights, and their checksum beside them in `<path>.sha256`.

    Args:
        path: A `.safetensors` or `.npz` file; replaced atomically.
        variables: Nested mappings of arrays such as `{"params": ...}`; the names in
            the file are the keys joined by "/". npz knows no bfloat16: there it is
            stored as float32, which is exact and which `match` casts back.
        metadata: Text to store with the weights, such as the source commit.

    Returns:
        The SHA-256 of the file, in hexadecimal.

    Raises:
        ConfigError: The suffix, a name, a dtype or the metadata cannot be stored.
    """
    path = Path(path)
    write = _handler(path, {".safetensors": _write_safetensors, ".npz": _write_npz})
    arrays = {name: _to_array(name, leaf) for name, leaf in _leaves(variables)}
    for name in arrays:
        _check_name(path, name)
    if _METADATA in arrays:
        raise ConfigError(f"{path}: the name {_METADATA!r} is taken by the format")
    text = dict(metadata or {})
    if not all(isinstance(part, str) for pair in text.items() for part in pair):
        raise ConfigError(f"{path}: metadata must map text to text, got {text!r}")
    side = _side_file(path)
    # Without its checksum a file is only unverified; with an old one it is refused.
    side.unlink(missing_ok=True)
    with atomic.replacing(path) as temporary:
        write(temporary, arrays, text)
        digest = _sha256(temporary)
    with atomic.replacing(side) as temporary:
        temporary.write_text(f"{digest}  {path.name}\n", encoding="utf-8")
    return digest


def load(
    path: str | os.PathLike[str], sha256: str | None = None
) -> dict[str, np.ndarray]:
    """Reads and checks a weight file.

    Args:
        path: A `.safetensors` or `.npz` file.
        sha256: Expected SHA-256 in hexadecimal; when None, the one in
            `<path>.sha256` counts where that file exists.

    Returns:
        Name, with "/" between its parts, to array.

    Raises:
        DataError: There is no such file.
        ConfigError: The suffix is unknown, the checksum differs, or the content is
            broken, too large or not plain numbers.
    """
    path = Path(path)
    read = _handler(path, {".safetensors": _read_safetensors, ".npz": _read_npz})
    if not path.is_file():
        raise DataError(f"no weight file {path} (looked in {path.absolute().parent})")
    expected = _expected_digest(path, sha256)
    if expected is not None and (actual := _sha256(path)) != expected:
        raise ConfigError(
            f"{path}: SHA-256 is {actual}, expected {expected}; download it again"
        )
    try:
        arrays = read(path)
    except (ConfigError, MemoryError):
        raise
    except Exception as error:
        # The parsers raise a dozen types on a cut-off file; each means the same.
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ConfigError(f"{path} is truncated or broken: {reason}") from error
    for name in arrays:
        _check_name(path, name)
    return arrays


def find(path: str | os.PathLike[str]) -> Path:
    """Finds the weight file that a user means.

    Args:
        path: A weight file, or the folder of a finished run, which holds
            `weights.safetensors` or `weights.npz`.

    Returns:
        The path of the file.

    Raises:
        DataError: Nothing is there.
    """
    path = Path(path)
    searched = [path]
    if path.is_dir():
        searched = [path / "weights.safetensors", path / "weights.npz"]
    for file in searched:
        if file.is_file():
            return file
    raise DataError(f"no weights: searched {', '.join(map(str, searched))}")


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
    names = dict(_leaves(target))
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


def _leaves(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if not isinstance(key, str) or "/" in key:
            raise ConfigError(f"key {key!r} under {prefix!r} is not text without '/'")
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{key}/")
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


def _handler(path: Path, handlers: dict[str, Callable[..., Any]]) -> Callable[..., Any]:
    if path.suffix not in handlers:
        raise ConfigError(
            f"weight file {path} has suffix {path.suffix!r}, allowed: "
            f"{', '.join(handlers)}"
        )
    return handlers[path.suffix]


def _to_array(name: str, leaf: Any) -> np.ndarray:
    # safetensors copies raw memory, so the array must be contiguous and native.
    array = np.asarray(leaf, order="C")
    _check_dtype(name, array.dtype)
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def _check_dtype(name: str, dtype: np.dtype) -> None:
    if dtype.newbyteorder("=") not in _DTYPES:
        allowed = ", ".join(sorted(dtype.name for dtype in _DTYPES))
        raise ConfigError(f"{name!r} has dtype {dtype}, allowed: {allowed}")


def _check_name(path: Path, name: str) -> None:
    """Refuses names that someone else's tool could take for a path elsewhere."""
    if {"", ".", ".."} & set(name.split("/")) or "\\" in name or "\0" in name:
        raise ConfigError(f"{path}: unsafe entry name {name!r}")


def _check_size(path: Path, size: int) -> None:
    if size > _MAX_BYTES:
        raise ConfigError(
            f"{path}: {size} bytes of arrays, more than the limit of {_MAX_BYTES}"
        )


def _side_file(path: Path) -> Path:
    return path.with_name(path.name + ".sha256")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _expected_digest(path: Path, sha256: str | None) -> str | None:
    """The checksum the caller or the side file asks for, None when neither does."""
    source = "sha256"
    if sha256 is None:
        side = _side_file(path)
        if not side.is_file():
            return None
        source = str(side)
        sha256 = side.read_text(encoding="utf-8", errors="replace")[:64]
    digest = sha256.strip().lower()
    if not re.fullmatch(r"[0-9a-f]{64}", digest):
        raise ConfigError(f"{source} is {sha256!r}, not 64 hexadecimal digits")
    return digest


def _write_safetensors(
    path: Path, arrays: dict[str, np.ndarray], metadata: dict[str, str]
) -> None:
    from safetensors import numpy as safetensors

    safetensors.save_file(arrays, path, metadata=metadata or None)


def _read_safetensors(path: Path) -> dict[str, np.ndarray]:
    import safetensors

    # Nothing in this format is compressed.
    _check_size(path, path.stat().st_size)
    with safetensors.safe_open(path, framework="numpy") as file:
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    for name, array in arrays.items():
        _check_dtype(name, array.dtype)
    return arrays


def _write_npz(
    path: Path, arrays: dict[str, np.ndarray], metadata: dict[str, str]
) -> None:
    entries = {
        name: array.astype(np.float32) if array.dtype == _BFLOAT16 else array
        for name, array in arrays.items()
    }
    if metadata:
        entries[_METADATA] = np.frombuffer(json.dumps(metadata).encode(), np.uint8)
    # Not `np.savez(**entries)`: a weight may be called "file".
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        for name, array in entries.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                np.lib.format.write_array(file, array, allow_pickle=False)


def _read_npz(path: Path) -> dict[str, np.ndarray]:
    with zipfile.ZipFile(path) as archive:
        _check_entries(path, archive)
    with np.load(path, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files if name != _METADATA}


def _check_entries(path: Path, archive: zipfile.ZipFile) -> None:
    """Checks names, sizes and array headers before any array is read."""
    entries = archive.infolist()
    _check_size(path, sum(entry.file_size for entry in entries))
    seen = set()
    for entry in entries:
        # `filename` is cut at a NUL and has its backslashes turned on Windows.
        name = entry.orig_filename
        _check_name(path, name)
        if not name.endswith(".npy") or name in seen:
            raise ConfigError(f"{path}: entry {name!r} is no array or comes twice")
        seen.add(name)
        try:
            _check_header(path, archive, entry)
        except (zipfile.BadZipFile, zlib.error, EOFError) as error:
            raise ConfigError(f"{path}: entry {name!r} is broken: {error}") from error


def _check_header(path: Path, archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> None:
    """The array a header announces must be plain and exactly fill its entry."""
    readers = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    with archive.open(entry) as file:
        version = np.lib.format.read_magic(file)
        if version not in readers:
            raise ConfigError(f"{path}: {entry.filename!r} has npy version {version}")
        shape, _, dtype = readers[version](file)
        _check_dtype(entry.filename, dtype)
        if file.tell() + math.prod(shape) * dtype.itemsize != entry.file_size:
            raise ConfigError(
                f"{path}: {entry.filename!r} announces {dtype}{list(shape)} but holds "
                f"{entry.file_size} bytes"
            )
