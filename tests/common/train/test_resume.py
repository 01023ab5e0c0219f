"""A run that was stopped and resumed ends with the very same bits."""

import jax
import numpy as np
import pytest

from common.checkpoint.manager import Checkpoints
from common.data.prefetch import DevicePrefetch
from common.errors import ConfigError, DataError, Preempted
from common.logging.writers import read_metrics
from common.task import Monitor
from common.train import loop
from common.train.experiment import Experiment
from common.train.guards import StopRequested
from tests.common import toy


def train(workdir, config=None, **options):
    config = toy.get_config() if config is None else config
    return loop.train(toy.Toy(config), config, workdir, **options)


def final_state(workdir, config=None, step=40):
    config = toy.get_config() if config is None else config
    experiment = Experiment(toy.Toy(config), config)
    checkpoints = Checkpoints(workdir, read_only=True)
    restored = checkpoints.restore(experiment.abstract_state)
    checkpoints.close()
    assert restored.step == step
    return jax.device_get(restored.state)


def assert_same_bits(a, b):
    jax.tree.map(np.testing.assert_array_equal, a, b)


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("straight")
    config = toy.get_config(ema_decay=0.9)
    metrics = train(workdir, config)
    return workdir, metrics, final_state(workdir, config)


@pytest.mark.parametrize("workers", [0, 2])
def test_stop_and_resume_is_bitwise_equal(straight, tmp_path, workers):
    """Step 31 lies in the second epoch (22.4 steps each), between two saves."""
    config = toy.get_config(ema_decay=0.9, data__num_workers=workers)
    stopped = train(tmp_path, config, stop_after_steps=31)
    assert stopped["step"] == 31
    metrics = train(tmp_path, config)
    assert metrics == straight[1]
    assert_same_bits(final_state(tmp_path, config), straight[2])
    kept = [r for r in read_metrics(tmp_path) if r["kind"] == "train"]
    assert [r["step"] for r in kept] == list(range(1, 41))
    reference = [r for r in read_metrics(straight[0]) if r["kind"] == "train"]
    assert [r["loss"] for r in kept] == [r["loss"] for r in reference]


def test_training_learns(straight):
    assert straight[1]["top1"] > 0.85
    assert straight[1]["seen"] == 360


def test_run_again_after_the_end_changes_nothing(tmp_path):
    config = toy.get_config(total_steps=5)
    first = train(tmp_path, config)
    lines = read_metrics(tmp_path)
    assert train(tmp_path, config) == first
    assert read_metrics(tmp_path) == lines


def test_noresume_refuses_a_used_directory(tmp_path):
    config = toy.get_config(total_steps=5)
    train(tmp_path, config)
    with pytest.raises(ConfigError, match="holds checkpoints"):
        train(tmp_path, config, resume=False)


def test_another_model_is_refused_by_name(tmp_path):
    config = toy.get_config(total_steps=5)
    train(tmp_path, config)
    config = toy.get_config(total_steps=5, ema_decay=0.9)
    with pytest.raises(ConfigError, match=r"another config: .*ema/.* is missing"):
        train(tmp_path, config)


def test_refused_config_leaves_the_directory_usable(tmp_path):
    train(tmp_path, toy.get_config(total_steps=5))
    before = (tmp_path / "config.json").read_text()
    with pytest.raises(ConfigError):
        train(tmp_path, toy.get_config(total_steps=9, ema_decay=0.9))
    assert (tmp_path / "config.json").read_text() == before


def test_data_goes_on_where_it_was_with_another_batch_size(tmp_path, monkeypatch):
    """10 batches of 64, then batches of 16: example 640 of the sequence comes next."""
    seen = []
    start = Experiment.train_iterator

    def spy(self, examples_seen=0):
        seen.append(examples_seen)
        return start(self, examples_seen)

    monkeypatch.setattr(Experiment, "train_iterator", spy)
    train(tmp_path, toy.get_config(total_steps=20), stop_after_steps=10)
    small = toy.get_config(total_steps=20, batch_size=16)
    train(tmp_path, small, stop_after_steps=15)
    train(tmp_path, small)
    assert seen == [0, 640, 720]


def test_an_error_of_the_data_saves_the_state_first(tmp_path, monkeypatch):
    config = toy.get_config(total_steps=20)
    taken = iter(range(13))
    following = DevicePrefetch.__next__

    def fail(self):
        if next(taken, None) is None:
            raise DataError("the disk went away")
        return following(self)

    monkeypatch.setattr(DevicePrefetch, "__next__", fail)
    with pytest.raises(DataError, match="went away"):
        train(tmp_path, config)
    checkpoints = Checkpoints(tmp_path, read_only=True)
    assert checkpoints.steps() == [10, 13]
    checkpoints.close()


def test_monitor_is_not_fooled_by_nan():
    nan = float("nan")
    for mode, good, bad in (("max", 2.0, 1.0), ("min", 1.0, 2.0)):
        monitor = Monitor("x", mode)
        assert monitor.better(good, bad)
        assert not monitor.better(bad, good)
        assert not monitor.better(nan, bad)
        assert monitor.better(bad, nan)
        assert not monitor.better(nan, None)


def test_an_interrupted_evaluation_still_counts_for_the_best(tmp_path, monkeypatch):
    """Step 20 is the best, but its evaluation was interrupted the first time."""
    config = toy.get_config(total_steps=60, keep_last=1, checkpoint_every_steps=20)
    task = toy.Toy(config)
    scores = iter([0.9, 0.5, 0.4])
    task.summarize = lambda outputs: {"top1": next(scores)}
    evaluate = Experiment.evaluate

    def interrupt(self, variables, stop):
        raise StopRequested

    monkeypatch.setattr(Experiment, "evaluate", interrupt)
    with pytest.raises(Preempted, match="step 20"):
        loop.train(task, config, tmp_path)
    monkeypatch.setattr(Experiment, "evaluate", evaluate)
    loop.train(task, config, tmp_path)
    checkpoints = Checkpoints(tmp_path, read_only=True)
    assert checkpoints.steps() == [20, 60]
    checkpoints.close()
    evaluations = [r["step"] for r in read_metrics(tmp_path) if r["kind"] == "eval"]
    assert evaluations == [20, 40, 60]


def test_best_checkpoint_is_kept(tmp_path):
    """The best evaluation survives later saves, the others do not."""
    config = toy.get_config(
        total_steps=40, eval_every_steps=5, checkpoint_every_steps=5, keep_last=1
    )
    task = toy.Toy(config)
    scores = iter([0.1, 0.9, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5])
    task.summarize = lambda outputs: {"top1": next(scores)}
    loop.train(task, config, tmp_path)
    checkpoints = Checkpoints(tmp_path, read_only=True)
    assert checkpoints.steps() == [10, 40]
    checkpoints.close()
