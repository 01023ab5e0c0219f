"""Flags that one of two modes of a package reads."""

from absl import flags

from common import folder_flags

flags.adopt_module_key_flags(folder_flags)
MODES = {"paint": "--input=DIR --toy_colour=NAME", "count": "", "sweep": ""}
COLOUR = flags.DEFINE_string("toy_colour", "red", "What to paint with.")


def paint(workdir):
    return f"{folder_flags.INPUT.value} {COLOUR.value} {workdir}"


def count(workdir):
    return "none"


def sweep(task, config, workdir, data_dir):
    kind = type(task).__name__
    return f"{kind} {config.total_steps} {workdir} {data_dir} {COLOUR.value}"
