"""Release weights: flat named arrays in one `.safetensors` or `.npz` file.

Orbax checkpoints are for resuming; this is the format that people download, so a file
is treated as hostile until it has been checked. Nothing here can run code from a file:
there is no pickle, and names are never used as paths.
"""

import hashlib
import math
import os
import re
import zipfile
import zlib
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from common import atomic
from common.checkpoint.matching import leaves
from common.errors import ConfigError, DataError

# The largest MaxViT has 475 million parameters: 1.9 GB in float32.
_MAX_BYTES = 8 * 2**30
# From all names in a file to those that are wanted.
Select = Callable[[Collection[str]], Iterable[str]]
_BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
_DTYPES = frozenset(
    np.dtype(name)
    for name in (
        "bool int8 int16 int32 int64 uint8 uint16 uint32 uint64 float16 float32 float64"
    ).split()
) | {_BFLOAT16}


def save(
    path: str | os.PathLike[str],
    variables: Mapping[str, Any],
) -> str:
    """Writes weights, and their checksum beside them in `<path>.sha256`.

    Args:
      path: A `.safetensors` or `.npz` file; replaced atomically.
      variables: Nested mappings of arrays such as `{"params": ...}`; the names in
          the file are the keys joined by "/". npz knows no bfloat16: there it is
          stored as float32, which is exact and which `match` casts back.

    Returns:
      The SHA-256 of the file, in hexadecimal.

    Raises:
      ConfigError: The suffix, a name or a dtype cannot be stored.
    """
    path = Path(path)
    write = _handler(path, {".safetensors": _write_safetensors, ".npz": _write_npz})
    arrays = {name: _to_array(name, leaf) for name, leaf in leaves(variables)}
    for name in arrays:
        _check_name(path, name)
    side = _side_file(path)
    # Without its checksum a file is only unverified; with an old one it is refused.
    side.unlink(missing_ok=True)
    with atomic.replacing(path) as temporary:
        write(temporary, arrays)
        digest = _sha256(temporary)
    with atomic.replacing(side) as temporary:
        temporary.write_text(f"{digest}  {path.name}\n", encoding="utf-8")
    return digest


def load(
    path: str | os.PathLike[str],
    sha256: str | None = None,
    select: Select = tuple,
) -> dict[str, np.ndarray]:
    """Reads and checks a weight file.

    Args:
      path: A `.safetensors` or `.npz` file.
      sha256: Expected SHA-256 in hexadecimal; when None, the one in
          `<path>.sha256` counts where that file exists.
      select: Picks from all names in the file those to read. What the others hold,
          such as the state of an optimiser, is not looked at.

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
        arrays = read(path, select)
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


def _write_safetensors(path: Path, arrays: dict[str, np.ndarray]) -> None:
    from safetensors import numpy as safetensors

    safetensors.save_file(arrays, path)


def _read_safetensors(path: Path, select: Select) -> dict[str, np.ndarray]:
    import safetensors

    # Nothing in this format is compressed.
    _check_size(path, path.stat().st_size)
    with safetensors.safe_open(path, framework="numpy") as file:
        arrays = {name: file.get_tensor(name) for name in select(file.keys())}
    for name, array in arrays.items():
        _check_dtype(name, array.dtype)
    return arrays


def _write_npz(path: Path, arrays: dict[str, np.ndarray]) -> None:
    entries = {
        name: array.astype(np.float32) if array.dtype == _BFLOAT16 else array
        for name, array in arrays.items()
    }
    # Not `np.savez(**entries)`: a weight may be called "file".
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        for name, array in entries.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                np.lib.format.write_array(file, array, allow_pickle=False)


def _read_npz(path: Path, select: Select) -> dict[str, np.ndarray]:
    with zipfile.ZipFile(path) as archive:
        entries = _entries(path, archive)
        names = tuple(select(entries))
        _check_arrays(path, archive, [entries[name] for name in names])
    with np.load(path, allow_pickle=False) as archive:
        return {name: archive[name] for name in names}


def _entries(path: Path, archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """Returns the entries by the names of their arrays, which are checked."""
    entries = {}
    for entry in archive.infolist():
        # `filename` is cut at a NUL and has its backslashes turned on Windows.
        file = entry.orig_filename
        _check_name(path, file)
        name = file.removesuffix(".npy")
        if name == file or name in entries:
            raise ConfigError(f"{path}: entry {file!r} is no array or comes twice")
        entries[name] = entry
    return entries


def _check_arrays(
    path: Path, archive: zipfile.ZipFile, entries: Collection[zipfile.ZipInfo]
) -> None:
    """Checks sizes and array headers before any array is read."""
    _check_size(path, sum(entry.file_size for entry in entries))
    for entry in entries:
        name = entry.orig_filename
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
