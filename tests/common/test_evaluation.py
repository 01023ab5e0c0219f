"""Every example once: on any batch size, and loudly when the data breaks the rule."""

import time

import jax
import numpy as np
import pytest

from common import evaluation
from common.data import pipeline
from common.parallel import mesh, sharding
from common.train.experiment import Experiment
from common.train.guards import StopRequested
from tests.common import toy


def identity(variables, batch):
    return {"id": batch["id"], "mask": batch["mask"], "value": batch["id"] * 2}


def batches(ids, mask):
    return [
        {"id": np.array(i, np.int32), "mask": np.array(m)}
        for i, m in zip(ids, mask, strict=True)
    ]


def test_padding_and_unreadable_examples_are_left_out():
    data = batches([[2, 0], [1, 3], [-1, -1]], [[1, 1], [1, 0], [0, 0]])
    found = evaluation.run(identity, {}, iter(data), num_examples=4)
    np.testing.assert_array_equal(found["id"], [0, 1, 2])
    np.testing.assert_array_equal(found["value"], [0, 2, 4])
    assert "mask" not in found


@pytest.mark.parametrize(
    ("ids", "message"),
    [([[0, 1], [1, 2]], "4 examples, 3 of them different"), ([[0, 1]], "saw 2 exam")],
)
def test_twice_or_missing_is_an_error(ids, message):
    data = batches(ids, np.ones_like(ids))
    with pytest.raises(RuntimeError, match=message):
        evaluation.run(identity, {}, iter(data), num_examples=4)


def test_stop_is_polled_before_every_batch():
    answers = iter([False, True])
    data = batches([[0, 1], [2, 3]], [[1, 1], [1, 1]])
    with pytest.raises(StopRequested):
        evaluation.run(identity, {}, iter(data), 4, lambda: next(answers))


@pytest.mark.parametrize("size", [8, 56, 360, 400])
def test_metrics_do_not_depend_on_the_batch_size(size):
    """360 examples: batches that divide it, leave a rest, and are larger than it."""
    config = toy.get_config(eval_batch_size=size)
    experiment = Experiment(toy.Toy(config), config)
    outputs = experiment.evaluate(experiment.init_state().variables())
    np.testing.assert_array_equal(outputs["id"], np.arange(360))
    assert experiment.task.summarize(outputs) == reference()


_REFERENCE = []


def reference():
    """Metrics of all examples in one plain forward pass."""
    if not _REFERENCE:
        config = toy.get_config()
        task = toy.Toy(config)
        dataset = pipeline.eval_dataset(
            task.source("eval", None), task.transforms("eval"), batch_size=360
        )
        (batch,) = list(dataset)
        variables = Experiment(task, config).init_state().variables()
        hits = jax.device_get(task.evaluate(variables, batch)["hit"])
        _REFERENCE.append({"top1": float(np.mean(hits)), "seen": 360})
    return _REFERENCE[0]


def test_outputs_are_whole_on_every_device():
    config = toy.get_config()
    made = mesh.make()
    step = evaluation.make_step(toy.Toy(config).evaluate, made)
    experiment = Experiment(toy.Toy(config), config)
    batch = next(experiment.eval_iterator(experiment.eval_source))
    assert batch["image"].sharding.is_equivalent_to(sharding.batch(made), 4)
    outputs = step(experiment.init_state().variables(), batch)
    assert outputs["hit"].sharding.is_fully_replicated


def one_by_one(ids, mask):
    return iter(batches([[i] for i in ids], [[m] for m in mask]))


def test_single_examples_come_in_order_from_several_evaluators():
    used = []

    def evaluator(number):
        def score(example):
            used.append(number)
            time.sleep(0.01)
            return {"value": example["id"] * 2}

        return score

    data = one_by_one([3, 0, 2, 1, -1], [1, 1, 1, 0, 0])
    found = evaluation.run_each([evaluator(0), evaluator(1)], data, num_examples=4)
    np.testing.assert_array_equal(found["id"], [0, 2, 3])
    np.testing.assert_array_equal(found["value"], [0, 4, 6])
    assert sorted(used) == [0, 0, 1] or sorted(used) == [0, 1, 1]


def test_single_examples_that_are_missing_stop_or_fail():
    with pytest.raises(RuntimeError, match="saw 2 exam"):
        evaluation.run_each([lambda e: {}], one_by_one([0, 1], [1, 1]), 3)
    with pytest.raises(StopRequested):
        evaluation.run_each([lambda e: {}], one_by_one([0], [1]), 1, lambda: True)

    def broken(example):
        raise ValueError("no score")

    with pytest.raises(ValueError, match="no score"):
        evaluation.run_each([broken], one_by_one([0, 1, 2, 3], [1] * 4), 4)
