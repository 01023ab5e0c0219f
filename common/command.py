"""Small command lines beside the launcher: help, and mistakes as one line."""

import sys
from collections.abc import Callable, Sequence
from typing import NoReturn

from absl import flags

from common.errors import ConfigError

_HELP = {"--help", "-h", "-help", "--helpfull", "--helpshort"}


def run(
    main: Callable[[Sequence[str]], str],
    usage: str,
    known: flags.FlagValues,
    argv: Sequence[str] | None = None,
) -> NoReturn:
    """Runs a command and ends the process: 0 done, 2 for what the user can mend.

    Args:
      main: from the words beside the flags to a line of result.
      usage: text for `--help`.
      known: the command's flags, parsed here.
      argv: program and arguments; `sys.argv` by default.
    """
    argv = sys.argv if argv is None else argv
    if _HELP & set(argv[1:]):
        sys.stdout.write(usage)
        sys.exit(0)
    try:
        result = main(known(argv)[1:])
    except (ConfigError, flags.Error) as error:
        sys.stderr.write(f"error: {' '.join(str(error).split())}\n")
        sys.exit(2)
    sys.stdout.write(result + "\n")
    sys.exit(0)
