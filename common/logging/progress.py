"""How far a run is and when it ends: a bar on a terminal, plain lines in a log."""

import contextlib
import sys
import time
from collections.abc import Generator
from typing import Any, TextIO

# A person looks at a bar; redrawing it more often only costs time.
_BAR_SECONDS = 0.5


class Progress:
    """Reports loss, speed and remaining time.

    Speed counts neither the first step (compilation) nor the time inside `pause`.
    The device is never touched: losses come as floats from the caller.
    """

    def __init__(
        self,
        total_steps: int,
        start_step: int,
        batch_size: int,
        *,
        stream: TextIO | None = None,
        every_seconds: float = 10,
        active: bool = True,
    ):
        """Starts the clock of the first step.

        Args:
          total_steps: Step at which the run ends.
          start_step: Steps already done by an earlier run.
          batch_size: Images per step over all processes.
          stream: Where to write; `sys.stderr` by default.
          every_seconds: Time between two lines in a log.
          active: False on every process but the first; nothing is written.
        """
        self._total = total_steps
        self._step = start_step
        self._batch_size = batch_size
        self._stream = sys.stderr if stream is None else stream
        self._active = active
        self._loss: float | None = None
        self._paused = 0.0
        self._created = self._now()
        # Set by the first update: active seconds and step from which speed counts.
        self._origin: tuple[float, int] | None = None
        self._asked: tuple[float, int] | None = None
        self._window = (0.0, start_step)
        self._reported = start_step
        self._bar = self._open_bar() if active and self._stream.isatty() else None
        self._every = _BAR_SECONDS if self._bar is not None else every_seconds

    def update(self, step: int, loss: float | None = None) -> None:
        """Tells that `step` steps are done; cheap unless a report is due.

        Args:
          step: Finished steps, counted from the start of training.
          loss: Latest loss when the caller has it at hand; shown until the next.
        """
        self._step = step
        self._loss = self._loss if loss is None else loss
        now = self._now()
        if self._origin is None:
            self._origin = self._window = (now, step)
            self._report(f"first step {_duration(now - self._created)}")
        elif now - self._window[0] >= self._every:
            self._report(self._speed(now))
            self._window = (now, step)

    @contextlib.contextmanager
    def pause(self) -> Generator[None, None, None]:
        """Keeps evaluation, checkpoints and the like out of the speed."""
        start = time.monotonic()
        try:
            yield
        finally:
            self._paused += time.monotonic() - start

    def rates(self) -> dict[str, float]:
        """Returns steps and images per second since the last call."""
        now = self._now()
        since, step = self._asked or self._origin or (now, self._step)
        self._asked = (now, self._step)
        rate = (self._step - step) / max(now - since, 1e-9)
        return {
            "steps_per_second": rate,
            "images_per_second": rate * self._batch_size,
        }

    def close(self) -> None:
        """Reports the last step and leaves the terminal on a new line."""
        if self._reported != self._step:
            self._report(self._average())
        if self._bar is not None:
            with contextlib.suppress(OSError):
                self._bar.close()
            self._bar = None

    def _now(self) -> float:
        """Seconds on a clock that stands still during `pause`."""
        return time.monotonic() - self._paused

    def _speed(self, now: float) -> str:
        """Speed since the last report, and the time left at the average speed."""
        since, step = self._window
        text = self._rates((self._step - step) / max(now - since, 1e-9))
        left = self._total - self._step
        average = self._average_rate(now)
        return f"{text}  ETA {_duration(left / average)}" if average and left else text

    def _average(self) -> str:
        return self._rates(self._average_rate(self._now()))

    def _average_rate(self, now: float) -> float:
        if self._origin is None:
            return 0.0
        since, step = self._origin
        return (self._step - step) / max(now - since, 1e-9)

    def _rates(self, steps_per_second: float) -> str:
        images = steps_per_second * self._batch_size
        return f"{steps_per_second:.3g} steps/s  {_rounded(images)} images/s"

    def _report(self, details: str) -> None:
        self._reported = self._step
        if not self._active:
            return
        if self._loss is not None:
            details = f"loss {self._loss:.4g}  {details}"
        # A closed pipe or a full disk behind the log must not end the training.
        with contextlib.suppress(OSError):
            if self._bar is not None:
                self._bar.n = self._step
                self._bar.set_postfix_str(details)
                return
            percent = 100 * self._step / max(self._total, 1)
            self._stream.write(
                f"step {self._step}/{self._total} ({percent:.1f} %)  {details}\n"
            )
            self._stream.flush()

    def _open_bar(self) -> Any:
        import tqdm

        return tqdm.tqdm(
            total=self._total,
            initial=self._step,
            file=self._stream,
            dynamic_ncols=True,
            bar_format="{percentage:3.0f} %|{bar}| {n_fmt}/{total_fmt}{postfix}",
        )


def _rounded(value: float) -> str:
    """Three digits without an exponent: 0.517, 19.8, 198, 12345."""
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def _duration(seconds: float) -> str:
    """The two largest units: 12.3 s, 1m 30s, 2h 5m, 3d 4h."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days}d {hours}h"
    if hours:
        return f"{hours}h {minutes}m"
    return f"{minutes}m {rest}s" if minutes else f"{rest} s"
