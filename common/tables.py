"""Tables for people and for programs: the same cells as Markdown and as CSV."""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from common import atomic

Table = Sequence[Sequence[str]]
"""Rows of cells, the header first; an empty cell is a value nobody knows."""


def write(tables: Mapping[str, Table], workdir: str | None) -> str:
    """Returns tables as text, first all as Markdown, then all as CSV.

    Args:
      tables: name to table.
      workdir: where `NAME.md` and `NAME.csv` are written too, if anywhere.
    """
    texts = {f"{name}.md": markdown(table) for name, table in tables.items()}
    texts |= {f"{name}.csv": as_csv(table) for name, table in tables.items()}
    if workdir is not None:
        for name, text in texts.items():
            with atomic.replacing(Path(workdir) / name) as temporary:
                temporary.write_text(text, encoding="utf-8")
    return "\n".join(texts.values()).rstrip()


def markdown(table: Table) -> str:
    """Returns a table for a README, aligned to the right."""
    cells = [[_grouped(cell) for cell in row] for row in table]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [
        "| " + " | ".join(c.rjust(w) for c, w in zip(row, widths, strict=True)) + " |"
        for row in cells
    ]
    rule = "|" + "|".join("-" * (width + 1) + ":" for width in widths) + "|"
    return "\n".join([lines[0], rule, *lines[1:]]) + "\n"


def spread(values: Sequence[float], digits: int, signed: bool = False) -> str:
    """Returns mean and standard deviation of runs; of one run its value alone."""
    array = np.asarray(values, np.float64)
    sign = "+" if signed else ""
    text = f"{array.mean():{sign}.{digits}f}"
    return text + (f" ± {array.std(ddof=1):.{digits}f}" if len(array) > 1 else "")


def _grouped(cell: str) -> str:
    """Separates thousands of whole numbers; an empty cell is a dash."""
    return f"{int(cell):,}" if cell.isdecimal() else cell or "-"


def as_csv(table: Table) -> str:
    """Returns the table as CSV; what is not known stays empty."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(table)
    return text.getvalue()
