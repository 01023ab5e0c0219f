"""The input benchmark runs on a few images and measures what it says."""

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
