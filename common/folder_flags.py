"""The flags `--input` and `--output` of modes that work on image files.

They stand alone because a flag has one definition in a process. A module of flags that
uses them calls `flags.adopt_module_key_flags` on this one, and they count as its own.
"""

from absl import flags

INPUT = flags.DEFINE_string("input", None, "Image file, or a folder of them.")
OUTPUT = flags.DEFINE_string(
    "output", None, "Folder for the results, with the sub-folders of the input."
)
