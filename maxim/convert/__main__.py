"""Converts a weight file: `python -m maxim.convert --help`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from common.checkpoint import conversion, matching

_USAGE = """Converts weights of MAXIM between names and files.

usage:
  python -m maxim.convert SOURCE DEST [--to=multiaxis|official]

  SOURCE  .npz or .safetensors with the names of the official code or of this
          project, which are recognised; a run's folder; or maxim:NAME to download
          a published checkpoint, e.g. maxim:Denoising/SIDD or maxim:deblurring
  DEST    .npz or .safetensors; its SHA-256 is written beside it
  --to    whose names DEST has: multiaxis (default), or official, which as .npz
          the official code reads. The optimiser's state is left out.
"""


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Runs the command with `argv`, `sys.argv` by default, and ends the process."""
    conversion.run(_convert, ("multiaxis", "official"), _USAGE, argv)


def _convert(source: str, names: str) -> Mapping[str, Any]:
    from maxim.convert import files
    from maxim.convert.names import to_official

    arrays = files.load(source)
    return matching.nest(to_official(arrays) if names == "official" else arrays)


if __name__ == "__main__":
    main()
