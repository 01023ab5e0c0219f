"""The command that converts weight files: `SOURCE DEST [--to=...]` of every package."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from absl import flags

from common import command
from common.checkpoint import matching, weights
from common.errors import ConfigError

_SUFFIXES = (".safetensors", ".npz")


def run(
    convert: Callable[[str, str], Mapping[str, Any]],
    names: Sequence[str],
    usage: str,
    argv: Sequence[str] | None = None,
) -> NoReturn:
    """Runs the command and ends the process, see `common.command.run`.

    Args:
      convert: from a source, as the user names it, and one of `names` to nested
        variables that have them.
      names: what `--to` takes, the default first.
      usage: text for `--help`.
      argv: program and arguments; `sys.argv` by default.
    """
    known = flags.FlagValues()
    to = flags.DEFINE_enum("to", names[0], names, "Whose names.", flag_values=known)

    def main(words: Sequence[str]) -> str:
        source, dest = _source_and_dest(words)
        return _write(dest, convert(source, to.value))

    command.run(main, usage, known, argv)


def _source_and_dest(words: Sequence[str]) -> tuple[str, Path]:
    """Checks both before a large file is read or fetched."""
    if len(words) != 2:
        raise ConfigError(f"SOURCE and DEST are needed, got {list(words)}; see --help")
    source, dest = words[0], Path(words[1]).expanduser()
    if dest.suffix not in _SUFFIXES:
        raise ConfigError(f"DEST {dest} must end in one of {', '.join(_SUFFIXES)}")
    return source, dest


def _write(dest: Path, variables: Mapping[str, Any]) -> str:
    try:
        digest = weights.save(dest, variables)
    except OSError as error:
        raise ConfigError(f"cannot write {dest}: {error}") from error
    count = len(dict(matching.leaves(variables)))
    return f"{dest}: {count} arrays, SHA-256 {digest}"
