"""Converts a weight file: `python -m maxvit.convert --help`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from common.checkpoint import conversion

_USAGE = """Converts weights of MaxViT between libraries.

usage:
  python -m maxvit.convert SOURCE DEST [--to=timm|multiaxis]

  SOURCE  .safetensors or .npz with the names of this project, of timm's
          maxvit_*_tf_* models or of the official TensorFlow code, which are
          recognised; a run's folder; or timm:NAME to download one that timm
          published, e.g. timm:maxvit_tiny_tf_224.in1k
  DEST    .safetensors or .npz; its SHA-256 is written beside it
  --to    whose names DEST has: multiaxis (default) or timm

A TensorFlow checkpoint is first turned into .npz where TensorFlow is installed:
  python -m maxvit.convert.dump_tensorflow CHECKPOINT DEST.npz
"""


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Runs the command with `argv`, `sys.argv` by default, and ends the process."""
    conversion.run(_convert, ("multiaxis", "timm"), _USAGE, argv)


def _convert(source: str, names: str) -> Mapping[str, Any]:
    from common.checkpoint import matching
    from maxvit.convert import files, timm

    arrays = files.load(source)
    matching.check_finite(source, arrays)
    variables = matching.nest(arrays)
    return timm.to_timm(variables) if names == "timm" else variables


if __name__ == "__main__":
    main()
