"""The input benchmark runs on a few images and measures what it says."""

from benchmarks import input_pipeline
from common import modes
from common.data.decode import decode
from common.train.experiment import Experiment


def test_images_and_speeds(tmp_path):
    source = input_pipeline.make_images(tmp_path, 10)
    assert len(source) == 10
    assert decode(source[3]["image"]).size == (500, 375)
    speeds = input_pipeline.stage_speeds(source, 0.02)
    assert list(speeds)[:3] == ["read", "decode", "RandomResizedCrop"]
    assert min(speeds.values()) > 0
    assert input_pipeline.pipeline_speed(source, 0.05, 0, 2) > 0


def test_the_training_step_it_times_can_be_built(tmp_path, monkeypatch):
    """Everything but the compilation, which takes a minute."""
    input_pipeline.make_images(tmp_path, 10)
    checked = []

    def check(task, config, data_dir, steps):
        experiment = Experiment(task, config, data_dir)
        experiment.check()
        checked.append(next(experiment.train_iterator())["image"].shape)

    monkeypatch.setattr(modes, "benchmark", check)
    input_pipeline.waiting_share(tmp_path, "testing")
    assert checked == [(8, 224, 224, 3)]
