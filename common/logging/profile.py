"""A device trace of a few steps of a run."""

import os
import re
from pathlib import Path
from typing import Any

from absl import logging

from common.errors import ConfigError


class Profiler:
    """Traces the steps from `a` to `b` into `workdir/profile`."""

    def __init__(self, workdir: str | os.PathLike[str], steps: str | None):
        """Reads which steps to trace; starts nothing yet.

        Args:
          workdir: Folder of the run.
          steps: "a:b" traces steps a to b, both included; None traces nothing.

        Raises:
          ConfigError: `steps` is not of that form.
        """
        self._folder = Path(workdir).resolve() / "profile"
        self._range = None if steps is None else _parse(steps)
        self._tracing = False

    def step(self, step: int, state: Any = None) -> None:
        """Call before each step: starts the trace at a, stops it once b is over.

        Args:
          step: Number of the step about to run, the first is 1.
          state: Arrays that the steps before compute; waited for at both ends, so
            that the trace holds these steps and no others.
        """
        if self._range is None:
            return
        stop = self._tracing and step > self._range[1]
        start = not self._tracing and self._range[0] <= step <= self._range[1]
        if stop or start:
            import jax

            jax.block_until_ready(state)
            (self._stop if stop else self._start)()

    def close(self) -> None:
        """Ends a trace that is still open, so that it can be read."""
        if self._tracing:
            self._stop()

    def _start(self) -> None:
        import jax

        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            jax.profiler.start_trace(str(self._folder))
        except (OSError, RuntimeError) as error:
            self._give_up("started", error)
            return
        self._tracing = True

    def _stop(self) -> None:
        import jax

        self._tracing = False
        try:
            jax.profiler.stop_trace()
        except (OSError, RuntimeError) as error:
            self._give_up("written", error)
            return
        self._range = None
        logging.info(
            "Trace written. Open it with `xprof --logdir %s` or `tensorboard --logdir "
            "%s` (package xprof).",
            self._folder,
            self._folder,
        )

    def _give_up(self, what: str, error: Exception) -> None:
        """A trace is an extra: without it the run goes on."""
        self._range = None
        logging.warning("The trace could not be %s: %s", what, error)


def _parse(steps: str) -> tuple[int, int]:
    match = re.fullmatch(r"\s*(\d+)\s*:\s*(\d+)\s*", steps)
    if match is None or int(match[1]) > int(match[2]):
        raise ConfigError(
            f"profile steps are {steps!r}, allowed: 'a:b' with whole numbers "
            "0 <= a <= b, such as '10:15'"
        )
    return int(match[1]), int(match[2])
