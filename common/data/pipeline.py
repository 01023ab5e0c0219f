"""From a source to batches: shuffling, transforms, workers, padding, resume.

The order of the stages is what makes a run repeatable. Examples are shuffled,
repeated and transformed as one endless sequence, and only then divided among
processes and workers: example `g` of the sequence, with its augmentation, is a
function of the seed and of `g` alone. So the global batches are the same for every
number of processes and workers.
"""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Sequence
from typing import Any

import grain
import numpy as np

from common.data.decode import Decoded
from common.data.sources import Source
from common.data.transforms import Example, Map
from common.errors import ConfigError, DataError

Transform = grain.transforms.Map | grain.transforms.RandomMap
# Each thread holds a batch in the making, in every process.
NUM_THREADS = 2


def train_dataset(
    source: Source,
    transforms: Sequence[Transform],
    *,
    batch_size: int,
    seed: int,
    num_workers: int = 0,
    process_index: int = 0,
    process_count: int = 1,
    max_bad_examples: int = 0,
    skip_examples: int = 0,
    num_threads: int = NUM_THREADS,
) -> grain.IterDataset:
    """Returns endless training batches, reshuffled every epoch.

    Epochs follow each other without a gap: a batch may hold the end of one and the
    beginning of the next, and no example is dropped. An unreadable image is replaced
    by the next readable example.

    Args:
      source: where examples come from.
      transforms: host transforms, applied in order; the last makes arrays.
      batch_size: examples per batch of this process.
      seed: of order and augmentation, in `[0, 2**32)`.
      num_workers: worker processes; 0 works in threads of this process. Workers
        import the main module again, and Grain wants absl's flags to be parsed.
      process_index: this process.
      process_count: processes that share the global batch.
      max_bad_examples: unreadable images to tolerate, per worker process.
      skip_examples: examples of the global sequence that were consumed before
        (steps done times global batch size). This resumes exactly even when the
        number of workers or processes changed; iterator states do not.
      num_threads: threads that make batches, in this process or in each worker.

    Returns:
      A dataset of dicts of arrays: `image [B, H, W, 3]`, `label`, `id` int32 `[B]`
      and whatever else is numeric in the examples.

    Raises:
      ConfigError: a count that cannot be.
      DataError: the source is empty; later, too many unreadable images.
    """
    _check_counts(batch_size, num_workers, process_index, process_count)
    if skip_examples < 0 or not 0 <= seed < 2**32:
        raise ConfigError(
            "skip_examples is at least 0 and the data seed is in [0, 2**32), given "
            f"{skip_examples} and {seed}"
        )
    dataset = grain.MapDataset.source(Decoded(source, max_bad_examples, "next"))
    dataset = _transformed(dataset.seed(seed).shuffle().repeat(), transforms)
    share = _Share(dataset, batch_size, process_index, process_count, skip_examples)
    return _batched(share, batch_size, num_workers, num_threads)


def eval_dataset(
    source: Source,
    transforms: Sequence[Transform],
    *,
    batch_size: int,
    num_workers: int = 0,
    process_index: int = 0,
    process_count: int = 1,
    max_bad_examples: int = 0,
    num_threads: int = NUM_THREADS,
) -> grain.IterDataset:
    """Returns every example once, in order, in the same number of batches everywhere.

    The sequence is padded to whole global batches with black images of `id` -1.
    Random transforms are allowed (a fixed degradation of each image, say) and draw
    the same numbers every time.

    Args:
      source: where examples come from.
      transforms: host transforms, applied in order; the last makes arrays.
      batch_size: examples per batch of this process.
      num_workers: worker processes; 0 works in threads of this process.
      process_index: this process.
      process_count: processes that share the global batch.
      max_bad_examples: unreadable images to tolerate, per worker process.
      num_threads: threads that make batches, in this process or in each worker.

    Returns:
      A dataset of dicts of arrays as `train_dataset`'s, with `mask` bool `[B]`: False
      for padding and for images that cannot be read.

    Raises:
      ConfigError: a count that cannot be.
      DataError: the source is empty; later, too many unreadable images.
    """
    _check_counts(batch_size, num_workers, process_index, process_count)
    multiple = batch_size * process_count
    dataset = _eval_sequence(source, transforms, max_bad_examples, multiple)
    share = _Share(dataset, batch_size, process_index, process_count)
    return _batched(share, batch_size, num_workers, num_threads)


def example(source: Source, transforms: Sequence[Transform], index: int) -> Example:
    """Returns evaluation example `index` as `eval_dataset` gives it, without a batch.

    For pictures of what a model saw: random transforms draw the same numbers.

    Raises:
      DataError: the image cannot be read.
    """
    sequence: Any = _eval_sequence(source, transforms, max_bad_examples=0, multiple=1)
    return sequence[index]


def _eval_sequence(
    source: Source,
    transforms: Sequence[Transform],
    max_bad_examples: int,
    multiple: int,
) -> grain.MapDataset:
    """Returns the examples in order, with stand-ins up to a multiple of them."""
    padded = _Padded(Decoded(source, max_bad_examples, "mask"), multiple)
    return _transformed(grain.MapDataset.source(padded).seed(0), transforms)


class _Padded:
    """A source that goes on with stand-ins until its length is a whole multiple."""

    def __init__(self, source: Decoded, multiple: int):
        self._source = source
        self._length = -(-len(source) // multiple) * multiple

    def __repr__(self) -> str:
        return f"Padded({self._source!r} to {self._length})"

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int) -> dict[str, Any]:
        if index < len(self._source):
            return self._source[index]
        return self._source.blank()


class _Share:
    """What one process reads of a sequence: its rows of each global batch.

    Process 0 has the first rows, and so on, so arrays put together from the
    processes' batches are the same for every number of processes.
    """

    def __init__(
        self,
        sequence: grain.MapDataset,
        batch_size: int,
        process_index: int,
        process_count: int,
        skip: int = 0,
    ):
        self._sequence: Any = sequence
        self._batch_size = batch_size
        self._global_batch_size = batch_size * process_count
        self._start = skip + process_index * batch_size
        self._length = (len(sequence) - skip) // process_count

    def __repr__(self) -> str:
        return f"Share({self._sequence!r} from {self._start})"

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int) -> Example:
        batch, row = divmod(index, self._batch_size)
        return self._sequence[self._start + batch * self._global_batch_size + row]


class _KeepNumeric(Map):
    """Drops what cannot be on a device, such as names, and fixes scalar types."""

    def map(self, element: Example) -> Example:
        arrays = {key: np.asarray(value) for key, value in element.items()}
        return {
            # Python's ints and floats become 32-bit; given arrays keep their type.
            key: array.astype(_SCALARS.get(type(element[key]), array.dtype), copy=False)
            for key, array in arrays.items()
            if array.dtype.kind in "biuf"
        }


class _SameShapes(Map):
    """Says what to do where examples do not fit into one batch.

    Grain's own message would list their types.
    """

    def __init__(self) -> None:
        self._first: dict[str, tuple[int, ...]] = {}

    def map(self, element: Example) -> Example:
        for key, array in element.items():
            first = self._first.setdefault(key, array.shape)
            if array.shape != first:
                raise DataError(
                    f"{key} has the shape {list(array.shape)} in one example and "
                    f"{list(first)} in another, which cannot be one batch: crop or "
                    "resize, or take batches of one (config.eval_batch_size=1)"
                )
        return element


_SCALARS: dict[type, type] = {int: np.int32, float: np.float32}


def _transformed(
    dataset: grain.MapDataset, transforms: Sequence[Transform]
) -> grain.MapDataset:
    for transform in (*transforms, _KeepNumeric()):
        if isinstance(transform, grain.transforms.RandomMap):
            dataset = dataset.random_map(transform)
        else:
            dataset = dataset.map(transform)
    return dataset


def _batched(
    share: _Share, batch_size: int, num_workers: int, num_threads: int
) -> grain.IterDataset:
    # Batches are formed by index, before the work is divided. So their members do
    # not depend on num_workers, and workers hand over batches, not single examples
    # (which took about a millisecond each).
    examples = grain.MapDataset.source(share)
    if batch_size > 1:
        examples = examples.map(_SameShapes())
    batches = examples.batch(batch_size, drop_remainder=True)
    read = grain.ReadOptions(num_threads=num_threads, prefetch_buffer_size=num_threads)
    dataset = batches.to_iter_dataset(read)
    if not num_workers:
        return dataset
    options = grain.MultiprocessingOptions(num_workers=num_workers)
    return dataset.mp_prefetch(options, worker_init_fn=_end_with_parent)


def _end_with_parent(worker_index: int, worker_count: int) -> None:
    """Ends a worker whose main process was killed and could not stop it."""
    del worker_index, worker_count
    parent = multiprocessing.parent_process()
    assert parent is not None  # workers are spawned

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _check_counts(
    batch_size: int, num_workers: int, process_index: int, process_count: int
) -> None:
    if batch_size < 1 or num_workers < 0 or not 0 <= process_index < process_count:
        raise ConfigError(
            "a pipeline needs batch_size >= 1, num_workers >= 0 and 0 <= process_index "
            f"< process_count, given {batch_size}, {num_workers}, {process_index}, "
            f"{process_count}"
        )
