"""A pair of quantisation tables, and the files it is kept in.

Tables are in natural order: row is vertical frequency, column is horizontal frequency.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from absl import logging

from common import atomic
from common.config import unknown
from common.errors import ConfigError, DataError
from compression.names import SUBSAMPLINGS

NAMES = ("luma", "chroma")
_VERSION = 1
# More than any file of tables has; what is larger is not read.
_LARGEST = 2**20
# libjpeg has as many; `cjpeg` alone uses one of them for Y, and one for Cb and Cr.
_MOST = 4
_SHAPES = "[2, 8, 8] or [2, 64], or [8, 8] or [64] for a table that serves both"


def check(tables: np.ndarray | Sequence[Any]) -> np.ndarray:
    """Returns tables as one array, if a baseline JPEG file can hold them.

    Args:
      tables: an array or nested lists of whole numbers: `[2, 8, 8]` or `[2, 64]` for
        luma and chroma, or one table, `[8, 8]` or `[64]`, that serves both.

    Returns:
      int32 `[2, 8, 8]`, a copy.

    Raises:
      ConfigError: another shape, or an entry that is not a whole number in [1, 255];
        the first such is named.
    """
    values = _numbers(tables)
    if values.shape not in ((2, 8, 8), (2, 64), (8, 8), (64,)):
        raise ConfigError(
            f"quantisation tables have shape {list(values.shape)}; expected {_SHAPES}"
        )
    values = np.broadcast_to(values.reshape(-1, 8, 8), (2, 8, 8))
    # Written so that NaN is bad.
    bad = ~((values >= 1) & (values <= 255) & (values == np.floor(values)))
    if bad.any():
        table, row, column = (int(i) for i in np.argwhere(bad)[0])
        raise ConfigError(
            f"{NAMES[table]}[{row}, {column}] is {values[table, row, column]:.15g}; an "
            "entry of a quantisation table is a whole number in [1, 255]"
        )
    return values.astype(np.int32)


def _numbers(tables: np.ndarray | Sequence[Any]) -> np.ndarray:
    try:
        values = np.asarray(tables)
    except ValueError as error:  # lists of unequal lengths
        raise ConfigError(
            f"quantisation tables have no shape; expected {_SHAPES}"
        ) from error
    if values.dtype.kind not in "iuf":
        raise ConfigError(
            f"quantisation tables hold {values.dtype}, not only numbers; expected "
            "whole numbers in [1, 255]"
        )
    return values.astype(np.float64)


def write_json(
    path: str | os.PathLike[str], tables: np.ndarray | Sequence[Any], **about: Any
) -> None:
    """Writes tables as JSON, a row of a table on each line.

    Args:
      path: of the file, which appears whole or not at all.
      tables: as for `check`.
      **about: what else is to be known: `subsampling`, of the files they are for, and
        what made them. JSON has no infinity: what is not finite becomes null.

    Raises:
      ConfigError: not tables.
    """
    fields = {"version": _VERSION, **about}
    lines = [f"  {json.dumps(k)}: {json.dumps(_plain(v))}" for k, v in fields.items()]
    for name, table in zip(NAMES, check(tables), strict=True):
        rows = ",\n".join(f"    [{_row(row, ', ')}]" for row in table)
        lines.append(f'  "{name}": [\n{rows}\n  ]')
    _write(path, "{\n" + ",\n".join(lines) + "\n}\n")


def write_qtables(
    path: str | os.PathLike[str], tables: np.ndarray | Sequence[Any]
) -> None:
    """Writes tables as text for `cjpeg -qtables`, in the natural order it wants.

    Args:
      path: of the file, which appears whole or not at all.
      tables: as for `check`.

    Raises:
      ConfigError: not tables.
    """
    parts = [
        "# cjpeg -qtables FILE -sample S -optimize; without -quality, which scales\n"
        "# the tables. S is 1x1 for 4:4:4, 2x1 for 4:2:2, 2x2 for 4:2:0.\n"
    ]
    for name, table in zip(NAMES, check(tables), strict=True):
        rows = "\n".join(_row(row, " ") for row in table)
        parts.append(f"\n# {name}\n{rows}\n")
    _write(path, "".join(parts))


def read(path: str | os.PathLike[str]) -> np.ndarray:
    """Reads tables from JSON of `write_json` or from a text file for `cjpeg -qtables`.

    Of a text file with more than two tables the first two are taken, as `cjpeg` does.
    One table serves both.

    Returns:
      int32 `[2, 8, 8]`.

    Raises:
      DataError: the file is missing or holds something else; the message says what.
    """
    return _read(path)[0]


def subsampling_of(path: str | os.PathLike[str]) -> str | None:
    """Returns for which subsampling tables were made, if their file says so.

    Raises:
      DataError: as `read`.
    """
    return _read(path)[1]


def _read(path: str | os.PathLike[str]) -> tuple[np.ndarray, str | None]:
    try:
        text = _text(path)
        if text.lstrip().startswith("{"):
            return _from_json(text)
        return _from_qtables(text), None
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error
    # Decoding raises ValueError, which ConfigError is, too; deep nesting the other.
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} holds no quantisation tables: {error}") from error


def _text(path: str | os.PathLike[str]) -> str:
    with Path(path).expanduser().open("rb") as file:
        content = file.read(_LARGEST + 1)
    if len(content) > _LARGEST:
        raise DataError(f"it is larger than {_LARGEST} bytes")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError("it is no text") from error


def _from_json(text: str) -> tuple[np.ndarray, str | None]:
    saved = json.loads(text)
    missing = [name for name in ("version", *NAMES) if name not in saved]
    if missing:
        raise DataError(f"no {missing[0]!r} in it")
    if saved["version"] != _VERSION:
        raise DataError(f"its version is {saved['version']!r}, expected {_VERSION}")
    subsampling = saved.get("subsampling")
    if subsampling is not None and subsampling not in SUBSAMPLINGS:
        raise DataError(unknown("subsampling", str(subsampling), SUBSAMPLINGS))
    return check([saved[name] for name in NAMES]), subsampling


def _from_qtables(text: str) -> np.ndarray:
    """Reads numbers and comments as `read_quant_tables` of libjpeg's rdswitch.c."""
    numbers: list[int] = []
    for place, line in enumerate(text.splitlines(), start=1):
        for word in line.partition("#")[0].split():
            # Longer ones are out of range, and Python may refuse to convert them.
            if not (word.isascii() and word.isdigit() and len(word) < 10):
                raise DataError(f"line {place}: {word[:20]!r} is no whole number")
            numbers.append(int(word))
    count, rest = divmod(len(numbers), 64)
    if rest or not 1 <= count <= _MOST:
        raise DataError(
            f"{len(numbers)} numbers in it; one to {_MOST} tables of 64 are expected"
        )
    if count > 2:
        logging.warning("the first two of %d tables are taken, as cjpeg does", count)
    return check(np.reshape(numbers, (count, 64))[[0, min(count, 2) - 1]])


def _row(row: np.ndarray, separator: str) -> str:
    return separator.join(f"{entry:3d}" for entry in row)


def _plain(value: Any) -> Any:
    """Returns what JSON can hold of a number, also of one on a device, and of text."""
    value = value.item() if hasattr(value, "item") else value
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _write(path: str | os.PathLike[str], text: str) -> None:
    with atomic.replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
