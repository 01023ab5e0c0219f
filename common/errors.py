"""Exceptions that carry a meaning for the person who launched a run.

`common.launch` turns each of them into one line on stderr and an exit code.
"""


class ConfigError(ValueError):
    """A flag, config field or weight file that cannot work; exit code 2.

    The message is one line that names what was given and what is allowed.
    """


class DataError(ConfigError):
    """Data that is missing or unreadable; the message names what was searched."""


class Preempted(Exception):
    """The run was asked to stop and has saved its state; exit code 75."""


class Diverged(Exception):
    """Too many non-finite steps in a row; exit code 76."""
