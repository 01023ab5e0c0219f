"""Speed without compilation and pauses, for terminals and for logs."""

import io
import types

import pytest

from common.logging import progress
from common.logging.progress import Progress


@pytest.fixture
def clock(monkeypatch):
    fake = types.SimpleNamespace(now=0.0)
    fake.monotonic = lambda: fake.now
    monkeypatch.setattr(progress, "time", fake)
    return fake


class _Terminal(io.StringIO):
    def isatty(self):
        return True


def _run(clock, stream, steps=21, pause=0.0, **options):
    bar = Progress(40, 0, 64, stream=stream, every_seconds=5, **options)
    clock.now += 100  # Compilation.
    for step in range(1, steps + 1):
        if step > 1:
            clock.now += 0.5
        bar.update(step, loss=0.43124)
        if step == 10:
            with bar.pause():
                clock.now += pause
    bar.close()


def test_log_lines_show_speed_without_compilation_and_pause(clock):
    stream = io.StringIO()
    _run(clock, stream, pause=1000)
    lines = stream.getvalue().splitlines()
    assert lines[0] == "step 1/40 (2.5 %)  loss 0.4312  first step 1m 40s"
    assert lines[1] == (
        "step 11/40 (27.5 %)  loss 0.4312  2 steps/s  128 images/s  ETA 14 s"
    )
    assert lines[2].startswith("step 21/40 (52.5 %)  loss 0.4312  2 steps/s")
    assert len(lines) == 3


def test_resumed_run_counts_only_its_own_steps(clock):
    stream = io.StringIO()
    bar = Progress(120, 100, 10, stream=stream, every_seconds=4)
    for step in range(101, 106):
        clock.now += 1
        bar.update(step)
    assert stream.getvalue().splitlines()[-1] == (
        "step 105/120 (87.5 %)  1 steps/s  10 images/s  ETA 15 s"
    )


def test_rates_leave_out_the_first_step_and_pauses(clock):
    bar = Progress(100, 0, 8, stream=io.StringIO())
    clock.now += 60
    bar.update(1)
    assert bar.rates() == {"steps_per_second": 0.0, "images_per_second": 0.0}
    with bar.pause():
        clock.now += 30
    for step in (2, 3):
        clock.now += 0.5
        bar.update(step)
    assert bar.rates() == {"steps_per_second": 2.0, "images_per_second": 16.0}


def test_close_reports_the_last_step_once(clock):
    stream = io.StringIO()
    _run(clock, stream, steps=13)
    assert stream.getvalue().splitlines()[-1].startswith("step 13/40 (32.5 %)")
    assert stream.getvalue().count("step 13/") == 1


def test_terminal_gets_a_bar_and_a_log_gets_none(clock):
    terminal, log = _Terminal(), io.StringIO()
    _run(clock, terminal)
    _run(clock, log)
    assert "\r" in terminal.getvalue()
    assert "21/40, loss 0.4312  2 steps/s  128 images/s" in terminal.getvalue()
    assert "\r" not in log.getvalue()


def test_inactive_process_and_broken_stream_stay_silent(clock):
    stream = io.StringIO()
    _run(clock, stream, active=False)
    assert stream.getvalue() == ""

    class Full(io.StringIO):
        def write(self, text):
            raise OSError(28, "No space left on device")

    _run(clock, Full())


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.25, "0.2 s"), (12, "12 s"), (90, "1m 30s"), (7500, "2h 5m"), (1e5, "1d 3h")],
)
def test_durations_read_naturally(seconds, text):
    assert progress._duration(seconds) == text
