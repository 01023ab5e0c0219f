"""Device-placed batches, one step ahead of the consumer."""

from __future__ import annotations

import time
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

    Attributes:
      wait_seconds: time that `next` has waited for batches, in total.
    """

    def __init__(self, dataset: grain.IterDataset, place: Callable[[Any], Any]) -> None:
        """Starts at the first batch.

        Args:
          dataset: gives batches of NumPy arrays.
          place: puts one batch on the devices; called in the background thread.
        """
        self._iterator = iter(
            grain.experimental.ThreadPrefetchIterDataset(
                dataset.map(place), prefetch_buffer_size=_BUFFER
            )
        )
        self.wait_seconds = 0.0

    def __next__(self) -> Any:
        """Returns the next placed batch."""
        start = time.perf_counter()
        try:
            return next(self._iterator)
        finally:
            self.wait_seconds += time.perf_counter() - start

    def close(self) -> None:
        """Stops the thread and the worker processes."""
        self._iterator.close()
