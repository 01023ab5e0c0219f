"""Workers answer, fail with their reason, and take turns; disturbed rounds go."""

import sys

import pytest

from benchmarks import side_by_side
from benchmarks.side_by_side import Round, Worker, WorkerError

CODE = """
import time
from benchmarks import side_by_side

def build(job):
    print("noise on stdout")
    bytearray(job.get("compiling", 0))  # given back at once
    held = []
    def run():
        if job.get("fails_at") == len(held):
            raise ValueError("no more")
        held.append(bytearray(job["bytes"]))
        time.sleep(job["sleep"])
    return side_by_side.Program(run, {"job": job["name"]})

side_by_side.serve(build)
"""


def start(tmp_path, name, code=CODE, **job):
    job = {"name": name, "bytes": 0, "sleep": 0.0, **job}
    return Worker(name, [sys.executable, "-c", code], job, tmp_path / f"{name}.log", {})


def test_two_processes_alternate(tmp_path, monkeypatch):
    monkeypatch.setattr(side_by_side, "PAUSE", 0.0)
    with (
        start(tmp_path, "big", bytes=2**26, compiling=2**29) as big,
        start(tmp_path, "slow", sleep=0.05) as slow,
    ):
        rounds = side_by_side.alternate([big, slow], 3)
    assert len(rounds) == 3
    assert slow.facts["facts"] == {"job": "slow"}
    for one in rounds:
        assert one.samples["slow"]["seconds"] >= 0.05
        # It sleeps: the clock of the processor stands still.
        assert one.samples["slow"]["processor_seconds"] < 0.04
    # The peak is that of the runs so far, with two of the warm-up.
    peaks = [one.samples["big"]["peak_bytes"] for one in rounds]
    assert peaks[2] - peaks[0] == pytest.approx(2 * 2**26, rel=0.1)
    assert big.facts["imported_bytes"] < 2**27
    assert big.facts["prepare_peak_bytes"] > 2**29 > peaks[2]
    assert "noise on stdout" in (tmp_path / "big.log").read_text()


@pytest.mark.parametrize(
    ("code", "job", "reason"),
    [
        (CODE, {"fails_at": 1}, "ValueError: no more"),
        ("import os; os._exit(3)", {}, "ended without an answer"),
    ],
)
def test_failure_names_reason_and_log(tmp_path, code, job, reason):
    with pytest.raises(WorkerError, match=rf"bad.*{reason}.*bad\.log"):
        start(tmp_path, "bad", code, **job)


class Turns:
    """Stands in for a machine and a worker: a call takes one second of its time."""

    name = "only"

    def __init__(self, outside):
        self._outside = iter(outside)
        self.calls = 0
        self.machine = 0.0

    def call(self):
        self.calls += 1
        self.machine += next(self._outside)
        return {"seconds": 1.0}

    def processor_seconds(self):
        return 0.0


@pytest.fixture
def clock(monkeypatch):
    """Time that passes with calls; waiting for quiet costs nothing."""
    monkeypatch.setattr(side_by_side, "PAUSE", 0.0)
    monkeypatch.setattr(side_by_side, "_wait_for_quiet", lambda deadline: None)

    def use(turns):
        monkeypatch.setattr(side_by_side, "machine_seconds", lambda: turns.machine)
        monkeypatch.setattr(side_by_side.os, "cpu_count", lambda: 1)
        monkeypatch.setattr(side_by_side.time, "perf_counter", lambda: turns.calls)
        monkeypatch.setattr(side_by_side.time, "monotonic", lambda: turns.calls)

    return use


def test_disturbed_rounds_are_repeated(clock):
    turns = Turns([0.0, 0.6, 0.01, 0.9, 0.02, 0.5])
    clock(turns)
    rounds = side_by_side.alternate([turns], 3, patience=100)
    assert turns.calls == 5
    assert [r.outside for r in rounds] == pytest.approx([0.0, 0.01, 0.02])


def test_without_patience_the_quietest_rounds_count(clock):
    turns = Turns([0.9, 0.2, 0.6, 0.3, 0.9, 0.9])
    clock(turns)
    rounds = side_by_side.alternate([turns], 2, patience=4)
    assert turns.calls == 4
    assert [r.outside for r in rounds] == pytest.approx([0.2, 0.3])
    assert isinstance(rounds[0], Round)


def test_machine_seconds_count_work():
    before = side_by_side.machine_seconds()
    total = 0
    while side_by_side.machine_seconds() - before < 0.02:
        total += sum(range(10_000))
    assert total
