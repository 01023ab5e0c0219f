"""Device-placed batches, one step ahead of the consumer."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

import grain

# One finished batch waits while the thread makes the next one.
_BUFFER = 1


class DevicePrefetch(Iterator[Any]):
    """Iterates over batches that a background thread reads and places.

    Grain's prefetch thread does the work; an exception there, whatever its type, is
    raised by the consumer's `next`. There is no state to save: `train_dataset` starts
    anywhere by `skip_examples`.
    """

    def __init__(self, dataset: grain.IterDataset, place: Callable[[Any], Any]) -> None:
        """Starts reading.

        Args:
          dataset: gives batches of NumPy arrays.
          place: puts one batch on the devices; called in the background thread.
        """
        self._iterator = iter(
            grain.experimental.ThreadPrefetchIterDataset(
                dataset.map(place), prefetch_buffer_size=_BUFFER
            )
        )
        with _signals_blocked():
            self._iterator.start_prefetch()

    def __next__(self) -> Any:
        """Returns the next placed batch."""
        return next(self._iterator)

    def close(self) -> None:
        """Stops the thread and the worker processes."""
        self._iterator.close()


@contextlib.contextmanager
def _signals_blocked() -> Iterator[None]:
    """Keeps Ctrl-C and SIGTERM from threads and processes started meanwhile.

    They inherit the mask. A terminal and SLURM signal the whole process group; the
    main process decides what that means, and without its workers it could not go on
    to the step at which all stop.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    stops = {signal.SIGINT, signal.SIGTERM}
    old = signal.pthread_sigmask(signal.SIG_BLOCK, stops)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, old)
