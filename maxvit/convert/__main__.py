"""Converts a weight file: `python -m maxvit.convert --help`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from absl import flags

from common.errors import ConfigError
from maxvit.convert import command

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
_SUFFIXES = (".safetensors", ".npz")
_FLAGS = flags.FlagValues()
_TO = flags.DEFINE_enum(
    "to", "multiaxis", ["multiaxis", "timm"], "Whose names.", flag_values=_FLAGS
)


def main(words: Sequence[str]) -> str:
    """Converts one file.

    Args:
      words: source and destination.

    Returns:
      What was written.

    Raises:
      ConfigError: the words, the source or the destination cannot be used.
    """
    if len(words) != 2:
        raise ConfigError(f"SOURCE and DEST are needed, got {list(words)}; see --help")
    source, dest = words[0], Path(words[1]).expanduser()
    # Before a large file is read or fetched.
    if dest.suffix not in _SUFFIXES:
        raise ConfigError(f"DEST {dest} must end in one of {', '.join(_SUFFIXES)}")

    from common.checkpoint import matching, weights
    from maxvit.convert import files, timm

    arrays = files.load(source)
    matching.check_finite(source, arrays)
    variables = matching.nest(arrays)
    if _TO.value == "timm":
        variables = timm.to_timm(variables)
    try:
        digest = weights.save(dest, variables)
    except OSError as error:
        raise ConfigError(f"cannot write {dest}: {error}") from error
    count = len(dict(matching.leaves(variables)))
    return f"{dest}: {count} arrays, SHA-256 {digest}"


if __name__ == "__main__":
    command.run(main, _USAGE, _FLAGS)
