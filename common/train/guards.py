"""Guards of a run: the signal that asks it to stop, and the end of a diverged one."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

import jax
import numpy as np
from absl import logging

from common.errors import Diverged


class StopRequested(Exception):
    """Raised out of an evaluation when the run was asked to stop."""


class StopSignal:
    """Asks the loop to save and stop after SIGTERM or the first Ctrl-C.

    With one process a Python handler notes the signal. With several, JAX' coordination
    service catches SIGTERM on any of them and names a step at which all stop together;
    it needs every process to ask equally often, which the loop and the evaluation do.
    """

    def __init__(self):
        self._noted = False
        self._polls = 0
        self._previous: dict[int, object] = {}

    def __enter__(self) -> StopSignal:
        # Signals can only be handled by the main thread; a notebook may use others.
        if threading.current_thread() is threading.main_thread():
            caught = [signal.SIGINT]
            if jax.process_count() == 1:
                caught.append(signal.SIGTERM)
            for number in caught:
                self._previous[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)  # pyrefly: ignore[bad-argument-type]

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self._noted and number == signal.SIGINT:
            raise KeyboardInterrupt
        self._noted = True
        name = signal.Signals(number).name
        logging.warning("%s: saving and stopping at the next step", name)
        if jax.process_count() > 1:  # let the coordination service tell the others
            signal.raise_signal(signal.SIGTERM)

    def requested(self) -> bool:
        """Whether to stop now; the same answer on every process."""
        if jax.process_count() == 1:
            return self._noted
        from jax.experimental import multihost_utils

        self._polls += 1
        return multihost_utils.reached_preemption_sync_point(self._polls)


def name_nans(compiled: Callable[..., Any], plain: Callable[..., Any]):
    """Returns a step that stops at the operation that makes the first NaN.

    Args:
      compiled: the step to run, `(state, batch) -> (state, metrics)`, without donation.
      plain: the same, not compiled; run operation by operation after a bad step.
    """

    def step(state: Any, batch: Any) -> Any:
        new, metrics = compiled(state, batch)
        if not np.isfinite([metrics["loss"], metrics["grad_norm"]]).all():
            with jax.disable_jit(), jax.debug_nans(True), jax.debug_infs(True):
                plain(state, batch)
        return new, metrics

    return step


def check_finite(metrics: dict[str, float], step: int, limit: int) -> None:
    """Ends a diverged run, on every process at the same step.

    Args:
      metrics: of one training step, on the host.
      step: its number.
      limit: `config.max_nonfinite_steps`.

    Raises:
      Diverged: too many steps in a row had a loss or gradient that is not finite.
    """
    if metrics["diverged"]:
        raise Diverged(
            f"step {step}: {limit} steps in a row had a loss or gradient that is not "
            "finite; the last checkpoint is from before them (try a lower "
            "config.schedule.peak, a longer warm-up, clip_norm, or --debug_nans to "
            "find the first such value)"
        )
