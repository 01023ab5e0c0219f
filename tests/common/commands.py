"""Checks that every small command line must pass."""

import subprocess
import sys

import pytest

from tests.common import launching


def run(main, capsys, *words):
    """Runs a command in this process: code, stdout, stderr."""
    with pytest.raises(SystemExit) as ended:
        main(["program", *map(str, words)])
    return (ended.value.code, *capsys.readouterr())


def check_refusals(main, capsys, cases):
    """Every mistake is one line on stderr; cases are words and a part of the line."""
    for words, message in cases:
        code, out, err = run(main, capsys, *words)
        assert (code, out) == (2, ""), words
        assert err.startswith("error: ")
        assert message in err
        assert err.count("\n") == 1


def check_help(module, heavy, text):
    """Help comes at once: nothing heavy is imported for it."""
    code = (
        f"import sys, runpy; sys.argv = [{module!r}, '--help']\n"
        f"try: runpy.run_module({module!r}, run_name='__main__')\n"
        "except SystemExit as end: assert end.code == 0\n"
        f"assert not {heavy!r} & set(sys.modules)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=launching.ROOT, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    assert text in result.stdout
