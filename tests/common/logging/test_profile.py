"""The trace covers the steps asked for and nothing breaks around it."""

import jax
import pytest

from common.errors import ConfigError
from common.logging.profile import Profiler


def _record(monkeypatch):
    calls = []
    monkeypatch.setattr(jax.profiler, "start_trace", lambda path: calls.append(path))
    monkeypatch.setattr(jax.profiler, "stop_trace", lambda: calls.append("stop"))
    return calls


def test_starts_at_a_and_stops_after_b(tmp_path, monkeypatch):
    calls, counts = _record(monkeypatch), []
    profiler = Profiler(tmp_path, "3:5")
    for step in range(1, 10):
        profiler.step(step)
        counts.append(len(calls))
    profiler.close()
    # Before step 3 nothing; open during 3, 4 and 5; stopped when 6 begins.
    assert counts == [0, 0, 1, 1, 1, 2, 2, 2, 2]
    assert calls == [str(tmp_path / "profile"), "stop"]


def test_close_ends_an_open_trace(tmp_path, monkeypatch):
    calls = _record(monkeypatch)
    profiler = Profiler(tmp_path, "1:99")
    profiler.step(1)
    profiler.close()
    profiler.close()
    assert calls[1:] == ["stop"]


def test_none_traces_nothing(tmp_path, monkeypatch):
    calls = _record(monkeypatch)
    profiler = Profiler(tmp_path, None)
    profiler.step(1)
    profiler.close()
    assert calls == []


def test_a_failing_profiler_does_not_end_the_run(tmp_path, monkeypatch):
    def refuse(path):
        raise RuntimeError("Profile has already been started.")

    monkeypatch.setattr(jax.profiler, "start_trace", refuse)
    profiler = Profiler(tmp_path, "1:2")
    profiler.step(1)
    profiler.step(3)
    profiler.close()


def test_real_trace_is_written(tmp_path):
    profiler = Profiler(tmp_path, "0:0")
    profiler.step(0)
    jax.numpy.ones(3).sum().block_until_ready()
    profiler.close()
    assert list((tmp_path / "profile").rglob("*.xplane.pb"))


@pytest.mark.parametrize("steps", ["", "5", "a:b", "5:3", "-1:3", "1:2:3", "1.5:2"])
def test_malformed_steps_are_refused(tmp_path, steps):
    with pytest.raises(ConfigError, match="'a:b'"):
        Profiler(tmp_path, steps)
