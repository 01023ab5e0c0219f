"""The flags of `--mode=score`; light to import."""

from __future__ import annotations

import dataclasses

from absl import flags

from common import folder_flags
from common.errors import ConfigError

flags.adopt_module_key_flags(folder_flags)

# Each mode, and how it is called.
MODES = {
    "score": "--input=DIR_OR_FILE [--workdir=RUN] [--reference=DIR] [--output=DIR]"
}

_REFERENCE = flags.DEFINE_string(
    "reference",
    None,
    "What the images are compared with: a folder with files of the same names, or one "
    "image for all.",
)


@dataclasses.dataclass(frozen=True)
class ScoreOptions:
    """What the flags of `--mode=score` say."""

    input: str
    output: str
    reference: str | None = None


def score_options() -> ScoreOptions:
    """Returns what was given on the command line.

    Raises:
      ConfigError: there is nothing to score.
    """
    if not folder_flags.INPUT.value:
        raise ConfigError("--mode=score needs --input=DIR_OR_FILE")
    return ScoreOptions(
        folder_flags.INPUT.value,
        folder_flags.OUTPUT.value or "scores",
        _REFERENCE.value or None,
    )
