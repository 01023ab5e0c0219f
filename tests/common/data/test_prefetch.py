"""One step ahead, without losing or repeating a batch."""

import threading
import time

import grain
import jax
import numpy as np
import pytest

from common.data.prefetch import DevicePrefetch
from common.errors import DataError


def numbers(count=100):
    return grain.MapDataset.range(count).to_iter_dataset().batch(2)


def test_batches_are_placed_in_order():
    iterator = DevicePrefetch(numbers(6), jax.device_put)
    batches = list(iterator)
    assert all(isinstance(batch, jax.Array) for batch in batches)
    np.testing.assert_array_equal(np.stack(batches), [[0, 1], [2, 3], [4, 5]])
    iterator.close()


def test_reads_ahead_while_the_consumer_works():
    placed = []

    def place(batch):
        placed.append(batch)
        return batch

    iterator = DevicePrefetch(numbers(), place)
    next(iterator)
    deadline = time.monotonic() + 10
    while len(placed) < 2 and time.monotonic() < deadline:
        time.sleep(0.001)
    assert len(placed) >= 2
    iterator.close()


def test_an_exception_of_the_thread_reaches_the_consumer_unchanged():
    error = DataError("file x is broken")

    def place(batch):
        if batch[0] == 4:
            raise error
        return batch

    iterator = DevicePrefetch(numbers(), place)
    next(iterator)
    next(iterator)
    with pytest.raises(DataError) as caught:
        next(iterator)
    assert caught.value is error
    iterator.close()


def test_close_ends_the_thread():
    before = set(threading.enumerate())
    iterator = DevicePrefetch(numbers(), lambda batch: batch)
    next(iterator)
    assert any("ThreadPrefetch" in t.name for t in set(threading.enumerate()) - before)
    iterator.close()
    left = [
        t for t in set(threading.enumerate()) - before if "ThreadPrefetch" in t.name
    ]
    assert not left
