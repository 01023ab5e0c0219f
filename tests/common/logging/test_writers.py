"""Metrics survive kills, resumes and full disks."""

import json
import math
import os
import resource

import numpy as np
import pytest
from absl import logging as absl_logging

from common.logging.writers import MetricsWriter, read_metrics


def _strict_lines(workdir):
    def refuse(name):
        raise AssertionError(f"{name} is not JSON")

    text = (workdir / "metrics.jsonl").read_text()
    assert text.endswith("\n")
    return [json.loads(line, parse_constant=refuse) for line in text.splitlines()]


def _warnings(monkeypatch):
    seen = []
    monkeypatch.setattr(
        absl_logging, "warning", lambda message, *args: seen.append(message % args)
    )
    return seen


def test_one_valid_json_object_per_call_and_exact_read_back(tmp_path):
    with MetricsWriter(tmp_path) as writer:
        writer.scalars(1, {"loss": np.float32(0.5), "norm": math.nan})
        writer.scalars(2, {"psnr": math.inf, "low": -math.inf}, kind="eval")
    lines = _strict_lines(tmp_path)
    assert [list(line) for line in lines] == [
        ["step", "kind", "time", "loss", "norm"],
        ["step", "kind", "time", "psnr", "low"],
    ]
    first, second = read_metrics(tmp_path)
    assert (first["step"], first["kind"], first["loss"]) == (1, "train", 0.5)
    assert math.isnan(first["norm"])
    assert (second["kind"], second["psnr"], second["low"]) == (
        "eval",
        math.inf,
        -math.inf,
    )


def _records(path):
    """Event messages of a TFRecord file, with both checksums verified."""
    from tensorboardX.proto import event_pb2
    from tensorboardX.record_writer import masked_crc32c

    data, events = path.read_bytes(), []
    while data:
        length = int.from_bytes(data[:8], "little")
        body = data[12 : 12 + length]
        assert int.from_bytes(data[8:12], "little") == masked_crc32c(data[:8])
        tail = data[12 + length : 16 + length]
        assert int.from_bytes(tail, "little") == masked_crc32c(body)
        events.append(event_pb2.Event.FromString(body))
        data = data[16 + length :]
    return events


def test_tensorboard_file_holds_scalars_and_images(tmp_path):
    with MetricsWriter(tmp_path, resume_step=3) as writer:
        writer.scalars(4, {"loss": 0.25}, kind="eval")
        writer.image(4, "sample", np.full((5, 7, 3), 0.5))
    (path,) = (tmp_path / "tensorboard").iterdir()
    header, start, scalar, image = _records(path)
    assert header.file_version == "brain.Event:2"
    assert start.session_log.status == 1
    assert start.step == 4
    assert scalar.step == 4
    assert scalar.summary.value[0].tag == "eval/loss"
    assert scalar.summary.value[0].simple_value == 0.25
    shown = image.summary.value[0].image
    assert (shown.height, shown.width) == (5, 7)
    assert shown.encoded_image_string.startswith(b"\x89PNG")


def test_broken_last_line_is_removed_before_the_next_one(tmp_path):
    good = '{"step": 1, "kind": "train", "time": 1.0, "loss": 2.0}\n'
    (tmp_path / "metrics.jsonl").write_text(good + '{"step": 2, "ki')
    assert [record["step"] for record in read_metrics(tmp_path)] == [1]
    with MetricsWriter(tmp_path) as writer:
        assert (tmp_path / "metrics.jsonl").read_text() == good
        writer.scalars(2, {"loss": 1.0})
    assert [line["step"] for line in _strict_lines(tmp_path)] == [1, 2]


def test_resume_drops_the_lost_part_of_the_run(tmp_path):
    with MetricsWriter(tmp_path) as writer:
        for step in range(1, 6):
            writer.scalars(step, {"loss": 1.0})
    with MetricsWriter(tmp_path, resume_step=3) as writer:
        writer.scalars(4, {"loss": 9.0})
    lines = _strict_lines(tmp_path)
    assert [line["step"] for line in lines] == [1, 2, 3, 4]
    assert lines[-1]["loss"] == 9.0
    assert [p.name for p in tmp_path.iterdir() if "tmp" in p.name] == []


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_full_disk_warns_once_and_training_goes_on(tmp_path, monkeypatch):
    warnings = _warnings(monkeypatch)
    (tmp_path / "metrics.jsonl").symlink_to("/dev/full")
    with MetricsWriter(tmp_path) as writer:
        for step in range(5):
            writer.scalars(step, {"loss": 1.0})
        writer.flush()
    assert len(warnings) == 1
    assert "metrics.jsonl" in warnings[0]
    (path,) = (tmp_path / "tensorboard").iterdir()
    assert len(_records(path)) == 6


def test_partial_writes_are_cut_off_and_later_records_succeed(tmp_path, monkeypatch):
    warnings = _warnings(monkeypatch)
    write, full = os.write, False
    monkeypatch.setattr(
        os, "write", lambda fd, data: write(fd, data[:9] if full else data)
    )
    writer = MetricsWriter(tmp_path)
    for step in range(4):
        full = step in (1, 2)
        writer.scalars(step, {"loss": 1.0})
    writer.close()
    assert [line["step"] for line in _strict_lines(tmp_path)] == [0, 3]
    assert len(warnings) == 1


def test_full_disk_costs_events_but_no_training(tmp_path, monkeypatch):
    """A limit on file sizes stops the events; later ones go to a new file."""
    warnings = _warnings(monkeypatch)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    writer = MetricsWriter(tmp_path)
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    writer.scalars(1, {"loss": 1.0})
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        writer.image(2, "noise", image)
        writer.image(3, "noise", image)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    writer.scalars(4, {"loss": 1.0})
    writer.close()
    assert len(warnings) == 1
    files = sorted((tmp_path / "tensorboard").iterdir())
    assert [event.step for event in _records(files[-1])[1:]] == [4]


def test_folder_that_cannot_exist_does_not_stop_training(tmp_path, monkeypatch):
    warnings = _warnings(monkeypatch)
    (tmp_path / "file").write_text("")
    with MetricsWriter(tmp_path / "file" / "run") as writer:
        writer.scalars(1, {"loss": 1.0})
        writer.scalars(2, {"loss": 1.0})
    assert len(warnings) == 2


def test_inactive_writer_leaves_no_trace(tmp_path):
    (tmp_path / "metrics.jsonl").write_text("broken")
    with MetricsWriter(tmp_path, active=False, resume_step=0) as writer:
        writer.scalars(1, {"loss": 1.0})
        writer.image(1, "a", np.zeros((2, 2), np.uint8))
        writer.flush()
    assert (tmp_path / "metrics.jsonl").read_text() == "broken"
    assert len(list(tmp_path.iterdir())) == 1


def test_wrong_calls_are_refused(tmp_path):
    with MetricsWriter(tmp_path) as writer:
        with pytest.raises(ValueError, match="kind"):
            writer.scalars(1, {"loss": 1.0}, kind="test")
        with pytest.raises(ValueError, match="reserved metric names: step"):
            writer.scalars(1, {"step": 1.0})
        with pytest.raises(ValueError, match="shape"):
            writer.image(1, "a", np.zeros((2, 2, 2, 3)))
