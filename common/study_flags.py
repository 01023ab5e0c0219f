"""The flag `--repeats` of modes that run an experiment several times.

It stands alone because a flag has one definition in a process, as `folder_flags`.
"""

from absl import flags

REPEATS = flags.DEFINE_integer("repeats", 5, "Runs of each, with seeds from 0.")
