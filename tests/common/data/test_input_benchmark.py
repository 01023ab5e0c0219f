"""The input benchmark runs on a few images and measures what it says."""

import itertools
import time

import numpy as np
import pytest

from benchmarks import input_pipeline
from common.data.decode import decode


def test_images_and_speeds(tmp_path):
    source = input_pipeline.make_images(tmp_path, 10)
    assert len(source) == 10
    assert decode(source[3]["image"]).size == (500, 375)
    speeds = input_pipeline.stage_speeds(source, 0.02)
    assert list(speeds)[:3] == ["read", "decode", "RandomResizedCrop"]
    assert min(speeds.values()) > 0
    assert input_pipeline.pipeline_speed(source, 0.05, 0, 2) > 0


def test_share_of_waiting(capsys):
    def batches():
        for i in itertools.count():
            time.sleep(0.01)
            yield np.full(2, i)

    seen = []

    def step(batch):
        seen.append(int(batch[0]))
        time.sleep(0.03)

    share = input_pipeline.measure_wait(batches(), step, 5)
    assert share == pytest.approx(0.25, abs=0.1)
    assert seen == list(range(6))
    assert "waiting for input" in capsys.readouterr().out
