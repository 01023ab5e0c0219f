"""Writes the variables of a TensorFlow checkpoint as .npz, for `maxvit.convert`.

The only place that needs TensorFlow, on the machine of whoever has a checkpoint:

    python -m maxvit.convert.dump_tensorflow gs://gresearch/maxvit/... weights.npz
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from absl import flags

from common import atomic, command
from common.checkpoint import matching
from common.errors import ConfigError, DataError
from maxvit.convert.tensorflow import is_bookkeeping

_USAGE = """Writes the variables of a TensorFlow checkpoint (TF1 or TF2) as .npz.

usage:
  python -m maxvit.convert.dump_tensorflow CHECKPOINT DEST.npz

  CHECKPOINT  prefix of the checkpoint's files, e.g. model.ckpt-93750, or the
              folder that holds them
  DEST        .npz; names and values stay, slots of optimisers are left out

Needs TensorFlow: pip install tensorflow
"""


def main(words: Sequence[str]) -> str:
    """Dumps one checkpoint.

    Args:
      words: checkpoint and destination.

    Returns:
      What was written.

    Raises:
      ConfigError: the words cannot be used, or TensorFlow is missing.
      DataError: the checkpoint cannot be read.
    """
    if len(words) != 2:
        raise ConfigError(
            f"CHECKPOINT and DEST are needed, got {list(words)}; see --help"
        )
    checkpoint, dest = words[0], Path(words[1]).expanduser()
    if dest.suffix != ".npz":
        raise ConfigError(f"DEST {dest} must end in .npz")
    arrays: dict[str, Any] = dict(read(checkpoint))
    try:
        # A checksum of an older file would make the new one look broken.
        dest.with_name(f"{dest.name}.sha256").unlink(missing_ok=True)
        with atomic.replacing(dest) as temporary:
            np.savez(temporary, **arrays)
    except OSError as error:
        raise ConfigError(f"cannot write {dest}: {error}") from error
    return f"{dest}: {len(arrays)} arrays"


def read(checkpoint: str) -> dict[str, np.ndarray]:
    """Reads the numeric variables of a checkpoint, without those of its training.

    Args:
      checkpoint: prefix of its files, or their folder.

    Returns:
      Variable name to array.

    Raises:
      ConfigError: TensorFlow is not installed.
      DataError: there is no such checkpoint, or it holds no variables.
    """
    try:
        # Not an import statement: nothing of this project depends on it.
        tf: Any = importlib.import_module("tensorflow")
    except ImportError as error:
        raise ConfigError(
            f"TensorFlow is needed to read a checkpoint ({error}): pip install "
            "tensorflow; the rest of the project works without"
        ) from error
    try:
        reader = tf.train.load_checkpoint(checkpoint)
        names = [
            name
            for name in sorted(reader.get_variable_to_shape_map())
            if not is_bookkeeping(name)
        ]
        arrays = {name: np.asarray(reader.get_tensor(name)) for name in names}
    except Exception as error:  # TensorFlow raises many types.
        cause = next(iter(str(error).splitlines()), type(error).__name__)
        raise DataError(f"cannot read checkpoint {checkpoint}: {cause}") from error
    floats = {
        # float32 holds bfloat16 exactly, and .npz has no such type.
        name: array.astype(np.float32) if array.dtype.kind == "V" else array
        for name, array in arrays.items()
        # TF2 keeps text and counters among the variables.
        if matching.is_float(array.dtype)
    }
    if not floats:
        raise DataError(f"checkpoint {checkpoint} holds no variables")
    return floats


if __name__ == "__main__":
    command.run(main, _USAGE, flags.FlagValues())
