"""Compiled programs that stay on disk, for the next time the same is asked."""

from __future__ import annotations

import hashlib
import os
import platform
from pathlib import Path

import jax
from absl import logging

from common.download import cache_folder


def use() -> None:
    """Makes JAX keep programs below the cache folder; to be called before it compiles.

    A folder that the environment or the program has already chosen stays. Compiling
    MAXIM's S-3 took 9.8 s on two cores, finding it there 2.8 s.
    """
    if jax.config.values["jax_compilation_cache_dir"]:
        return
    folder = cache_folder() / "xla" / _machine()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        writable = os.access(folder, os.W_OK | os.X_OK)
    except OSError:
        writable = False
    if not writable:
        logging.info("%s cannot be written: compiled programs are not kept", folder)
        return
    jax.config.update("jax_compilation_cache_dir", str(folder))


def _machine() -> str:
    """Names the kind of processor: programs for one may crash on another.

    Machines of several kinds often share a home.
    """
    kind = platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:  # not Linux: one machine, as a rule
        lines = []
    features = next((x for x in lines if x.startswith(("flags", "Features"))), "")
    return f"{kind}-{hashlib.sha256(features.encode()).hexdigest()[:12]}"
