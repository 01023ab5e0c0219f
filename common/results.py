"""Results of ours that somebody measured and wrote into a CSV file of a package."""

from __future__ import annotations

import csv
import dataclasses
import typing
from pathlib import Path
from typing import TypeVar

from common.errors import ConfigError, DataError

Result = TypeVar("Result")


def read(path: Path, kind: type[Result]) -> list[Result]:
    """Reads results.

    Args:
      path: CSV with the fields of `kind` as its header.
      kind: a dataclass of text and numbers, which raises `ConfigError` when it is
        built from values that no result has.

    Raises:
      DataError: naming the line that is not a result.
    """
    names = [field.name for field in dataclasses.fields(kind)]  # type: ignore[arg-type]
    types = [typing.get_type_hints(kind)[name] for name in names]
    with path.open(encoding="utf-8", newline="") as file:
        rows = csv.reader(file)
        if next(rows, None) != names:
            raise DataError(f"{path}: the first line must be {','.join(names)}")
        return [_result(kind, types, row, f"{path}:{rows.line_num}") for row in rows]


def _result(
    kind: type[Result], types: list[type], row: list[str], place: str
) -> Result:
    try:
        values = [convert(text) for convert, text in zip(types, row, strict=True)]
        return kind(*values)
    except ConfigError as error:
        raise DataError(f"{place}: {error}") from error
    except ValueError as error:
        raise DataError(f"{place} is not a result: {','.join(row)}") from error


def check_command(command: str) -> None:
    """Refuses a result without the command that printed it.

    Raises:
      ConfigError: it is empty.
    """
    if not command.strip():
        raise ConfigError("command is empty; it is what makes a number ours")
