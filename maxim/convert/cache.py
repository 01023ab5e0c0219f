"""Published checkpoints on this machine: fetched once, kept without optimiser state."""

from __future__ import annotations

import secrets
from pathlib import Path

import numpy as np
from absl import logging

from common import download
from common.checkpoint import matching, weights
from common.errors import ConfigError
from maxim import models
from maxim.convert import names, variants
from maxim.published import Checkpoint


def load(checkpoint: Checkpoint) -> dict[str, np.ndarray]:
    """Reads a published checkpoint, which is downloaded unless it is there.

    Kept is `weights.safetensors` with the parameters alone, a quarter of the file. A
    `checkpoint.npz` that somebody put into the folder is taken, and left, as it is.

    Args:
      checkpoint: a published one.

    Returns:
      Flat names of ours to float32 arrays, all that its variant has.

    Raises:
      ConfigError: the file is not what was published, or nothing can be written.
      DataError: the file is not to be had.
    """
    folder = download.cache_folder() / "maxim" / checkpoint.name
    kept, official = folder / "weights.safetensors", folder / "checkpoint.npz"
    if kept.is_file():
        return _read(kept)
    if official.is_file():
        return _convert(checkpoint, official, kept)
    # A name of its own: several processes may come here at the same time.
    fetched = folder / f".{secrets.token_hex(4)}.npz"
    try:
        download.fetch(checkpoint.url, fetched, by_hand=official)
        return _convert(checkpoint, fetched, kept)
    finally:
        fetched.unlink(missing_ok=True)


def _read(path: Path) -> dict[str, np.ndarray]:
    try:
        return names.to_ours(str(path), weights.load(path))
    except ConfigError as error:
        hint = f"delete {path} to have it fetched again"
        raise ConfigError(f"{error}; {hint}") from error


def _convert(
    checkpoint: Checkpoint, official: Path, kept: Path
) -> dict[str, np.ndarray]:
    """Reads and checks an official file, and keeps its parameters."""
    try:
        arrays = weights.load(official, select=names.select)
        arrays = names.to_ours(str(official), arrays)
        model = models.create(checkpoint.variant, num_supervision_scales=3)
        variants.fit(str(official), arrays, model)
    except ConfigError as error:
        raise ConfigError(
            f"this is not the file of {checkpoint.url}: {error}"
        ) from error
    try:
        weights.save(kept, matching.nest(arrays))
        logging.info("%s: %d arrays kept in %s", checkpoint.name, len(arrays), kept)
    except OSError as error:
        # They are here; next time costs another conversion.
        logging.warning("cannot keep %s: %s", kept, error)
    return arrays
