"""The evaluation loop: every example exactly once, on any number of processes.

The data pads the last batch and marks padding in `mask`, so every process runs the
same number of equal steps. The outputs of every real example come back to every
process, and the task computes its metrics from all of them at once: an accuracy and
a rank correlation go the same way.
"""

from __future__ import annotations

import itertools
import math
import queue
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import jax
import numpy as np
from absl import logging
from jax.sharding import Mesh

from common.errors import DataError
from common.parallel import sharding
from common.parallel.gather import gather
from common.task import Batch, Variables
from common.train.guards import StopRequested

EvalStep = Callable[[Variables, Batch], dict[str, jax.Array]]


def make_step(
    evaluate: Callable[[Variables, Batch], Mapping[str, jax.Array]], mesh: Mesh
) -> EvalStep:
    """Returns the jitted step of `evaluate`, whose outputs every process can read.

    Args:
      evaluate: such as `Task.evaluate`.
      mesh: over which the batches are spread.
    """

    def step(variables: Variables, batch: Batch) -> dict[str, jax.Array]:
        outputs = dict(evaluate(variables, batch))
        return outputs | {"id": batch["id"], "mask": batch["mask"]}

    return jax.jit(step, out_shardings=sharding.replicated(mesh))


def run(
    step: EvalStep,
    variables: Variables,
    batches: Iterator[Batch],
    num_examples: int,
    stop: Callable[[], bool] = lambda: False,
) -> dict[str, np.ndarray]:
    """Evaluates all batches and returns the outputs of every readable example.

    Args:
      step: from `make_step`.
      variables: of the model.
      batches: device batches with `id` and `mask`; `id` is -1 for padding.
      num_examples: size of the source, to prove that none was lost or seen twice.
      stop: polled before every batch.

    Returns:
      name -> `[N, ...]` in the order of `id`, which is one of the names.

    Raises:
      StopRequested: `stop` said so; there is no partial result.
      DataError: no example can be read.
      RuntimeError: an example is missing or was seen twice.
    """
    collected: list[Mapping[str, np.ndarray]] = []
    pending = None
    for batch in batches:
        if stop():
            raise StopRequested
        outputs = step(variables, batch)
        # Read the batch before, while this one runs.
        if pending is not None:
            collected.append(jax.device_get(pending))
        pending = outputs
    if pending is not None:
        collected.append(jax.device_get(pending))
    return _join(collected, num_examples)


Evaluator = Callable[[Mapping[str, np.ndarray]], Mapping[str, float]]


def run_each(
    evaluators: Sequence[Evaluator],
    batches: Iterator[Mapping[str, np.ndarray]],
    num_examples: int,
    stop: Callable[[], bool] = lambda: False,
) -> dict[str, np.ndarray]:
    """Evaluates examples one by one, for examples of different sizes.

    Args:
      evaluators: from `Task.evaluator`, one for each device to use at once.
      batches: of one example each, on the host, as many in every process.
      num_examples: as for `run`.
      stop: as for `run`.

    Returns:
      As `run`.

    Raises:
      StopRequested, DataError, RuntimeError: as `run`.
    """
    free: queue.SimpleQueue[Evaluator] = queue.SimpleQueue()
    for evaluator in evaluators:
        free.put(evaluator)

    def score(example: Mapping[str, np.ndarray]) -> dict[str, float]:
        evaluator = free.get()
        try:
            scores = evaluator(example) if example["mask"] else {}
        finally:
            free.put(evaluator)
        facts = {"id": int(example["id"]), "mask": bool(example["mask"])}
        return facts | {name: float(value) for name, value in scores.items()}

    rows: list[dict[str, float]] = []
    pending: deque[Future[dict[str, float]]] = deque()
    with ThreadPoolExecutor(len(evaluators)) as pool:
        for batch in batches:
            if stop():
                raise StopRequested
            # As many images wait as are being worked on.
            if len(pending) == 2 * len(evaluators):
                rows.append(pending.popleft().result())
            example = {name: array[0] for name, array in batch.items()}
            pending.append(pool.submit(score, example))
        rows += [future.result() for future in pending]
    everywhere = itertools.chain.from_iterable(gather(rows))
    return _join([_columns([*everywhere])], num_examples)


def _columns(rows: Sequence[Mapping[str, float]]) -> dict[str, np.ndarray]:
    """Returns name -> one value of each row; stand-ins have no scores."""
    names = dict.fromkeys(name for row in rows for name in row)
    return {
        name: np.asarray([row.get(name, math.nan) for row in rows]) for name in names
    }


def _join(
    collected: list[Mapping[str, np.ndarray]], num_examples: int
) -> dict[str, np.ndarray]:
    joined = {
        name: np.concatenate([outputs[name] for outputs in collected])
        for name in collected[0]
    }
    seen = joined["id"][joined["id"] >= 0]
    if len(seen) != num_examples or len(np.unique(seen)) != num_examples:
        raise RuntimeError(
            f"evaluation saw {len(seen)} examples, {len(np.unique(seen))} of them "
            f"different, instead of each of {num_examples} once"
        )
    mask = joined.pop("mask")
    if mask.sum() < len(seen):
        bad = len(seen) - int(mask.sum())
        logging.warning("%d of %d evaluation examples cannot be read", bad, len(seen))
    if not mask.any():
        raise DataError(f"none of the {len(seen)} evaluation examples can be read")
    rows = np.flatnonzero(mask)
    rows = rows[np.argsort(joined["id"][rows], kind="stable")]
    return {name: values[rows] for name, values in joined.items()}
