"""What only a real process shows: signals, sudden death, several processes."""

import json
import os
import signal
import time

import numpy as np
import pytest

from common.checkpoint import weights
from common.checkpoint.manager import Checkpoints
from common.logging.writers import read_metrics
from tests.common import launching


def steps(workdir):
    checkpoints = Checkpoints(workdir, read_only=True)
    found = checkpoints.steps()
    checkpoints.close()
    return found


def losses(workdir):
    return {r["step"]: r["loss"] for r in read_metrics(workdir) if r["kind"] == "train"}


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    """A run of 40 steps that nothing disturbed, in one process with one device."""
    workdir = tmp_path_factory.mktemp("straight")
    code, out, err = launching.run(*launching.toy(workdir))
    assert code == 0, err
    assert "step 40: top1" in out
    return workdir


def assert_same_end(workdir, straight):
    assert losses(workdir) == losses(straight)
    a = weights.load(workdir / "weights.safetensors")
    b = weights.load(straight / "weights.safetensors")
    assert a.keys() == b.keys()
    for name, value in a.items():
        np.testing.assert_array_equal(value, b[name])


@pytest.mark.parametrize(
    ("fault", "line"),
    [
        ({"model__slow_step": 0.3}, "step 1/40"),
        ({"model__slow_trace": 5}, "compiling"),
        ({"model__slow_eval": 0.02}, "evaluating"),
    ],
    ids=["step", "compile", "evaluation"],
)
def test_sigterm_saves_and_exits_75(straight, tmp_path, fault, line):
    process = launching.start(*launching.toy(tmp_path, **fault))
    code, err = launching.terminate_when(process, line, delay=0.5)
    assert code == 75, err
    assert "Traceback" not in err
    saved = steps(tmp_path)
    assert saved, err
    assert "step 20: top1" not in err  # the evaluation was not finished first
    assert saved[-1] == {"compiling": 0, "evaluating": 20}.get(line, saved[-1])
    code, _, err = launching.run(*launching.toy(tmp_path))
    assert code == 0, err
    assert f"resuming at step {saved[-1]}" in err
    assert_same_end(tmp_path, straight)
    evaluations = [r["step"] for r in read_metrics(tmp_path) if r["kind"] == "eval"]
    assert evaluations == [20, 40]


@pytest.mark.parametrize(
    "number",
    [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)],
    ids=str,
)
def test_a_signal_to_the_whole_group_stops_in_order(straight, tmp_path, number):
    """Ctrl-C and SLURM reach the workers too; they must live until the step is done."""
    faults = {"data__num_workers": 2, "model__slow_step": 0.2}
    process = launching.start(*launching.toy(tmp_path, **faults))
    code, err = launching.terminate_when(
        process, "step 1/40", delay=0.5, number=number, group=True
    )
    assert code == 75, err
    assert "Traceback" not in err
    assert steps(tmp_path)
    code, _, err = launching.run(*launching.toy(tmp_path))
    assert code == 0, err
    assert_same_end(tmp_path, straight)


def test_workers_end_with_a_killed_main_process(tmp_path):
    faults = {"data__num_workers": 2, "model__slow_step": 0.2}
    process = launching.start(*launching.toy(tmp_path, **faults))
    code, err = launching.terminate_when(process, "step 1/40", number=signal.SIGKILL)
    assert code == -9, err
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            os.killpg(process.pid, 0)
        except ProcessLookupError:
            return
        time.sleep(0.2)
    os.killpg(process.pid, signal.SIGKILL)
    pytest.fail("the workers outlived the process that started them")


def test_debug_nans_names_the_operation(tmp_path):
    faults = {"model__nan_steps": "(3,)"}
    code, _, err = launching.run(*launching.toy(tmp_path, **faults), "--debug_nans")
    assert code == 1
    assert "FloatingPointError" in err
    assert "tests/common/toy.py" in err


def test_kill_during_a_save_falls_back(straight, tmp_path):
    code, _, err = launching.run(*launching.toy(tmp_path), TOY_KILL_IN_SAVE="20")
    assert code == -9, err
    folder = tmp_path / "checkpoints" / "000000020"
    assert folder.exists()  # it was being written
    code, _, err = launching.run(*launching.toy(tmp_path))
    assert code == 0, err
    assert "resuming at step 10" in err
    assert_same_end(tmp_path, straight)


def pair(workdir, port, **overrides):
    """Starts two processes of a run with two devices each."""
    return [
        launching.start(
            *launching.toy(workdir, **overrides),
            f"--coordinator_address=localhost:{port}",
            "--num_processes=2",
            f"--process_id={index}",
            devices=2,
        )
        for index in range(2)
    ]


def finish(processes):
    results = [process.communicate(timeout=300) for process in processes]
    return [p.returncode for p in processes], "\n".join(err for _, err in results)


def test_two_processes_equal_one(tmp_path):
    """Two processes of two devices against one of four, parameters split."""
    mesh = {"mesh__data": 2, "mesh__fsdp": 2, "mesh__fsdp_min_size": 1000}
    code, _, err = launching.run(*launching.toy(tmp_path / "one", **mesh), devices=4)
    assert code == 0, err
    codes, err = finish(pair(tmp_path / "two", launching.free_port(), **mesh))
    assert codes == [0, 0], err
    one, two = losses(tmp_path / "one"), losses(tmp_path / "two")
    assert list(two) == list(one)  # process 0 alone writes, each step once
    np.testing.assert_allclose(list(two.values()), list(one.values()), rtol=2e-5)
    final = [read_metrics(tmp_path / name)[-1] for name in ("one", "two")]
    assert [r["seen"] for r in final] == [360, 360]
    assert final[1]["top1"] == pytest.approx(final[0]["top1"], abs=0.01)


def test_divergence_stops_every_process_with_76(tmp_path):
    """Steps 12, 13 and 14 are NaN; the checkpoint of step 10 stays the last."""
    faults = {"model__nan_steps": "(5,12,13,14)", "max_nonfinite_steps": 3}
    codes, err = finish(pair(tmp_path, launching.free_port(), **faults))
    assert codes == [76, 76], err
    assert "Traceback" not in err
    assert "step 15: 3 steps in a row" in err
    assert steps(tmp_path) == [10]
    records = read_metrics(tmp_path)
    counted = {r["step"]: r["nonfinite_total"] for r in records if r["kind"] == "train"}
    assert counted[5] == 0
    assert counted[6] == 1  # skipped and counted, then training went on
    assert counted[12] == 1


def test_sigterm_to_one_process_stops_both(tmp_path):
    processes = pair(tmp_path, launching.free_port(), model__slow_step=0.2)
    launching.terminate_when(processes[0], "step 1/40")
    processes[1].communicate(timeout=300)
    assert [p.returncode for p in processes] == [75, 75]
    assert len(steps(tmp_path)) >= 1


def test_eval_mode_equals_the_last_evaluation(straight):
    code, out, err = launching.run("--mode=eval", f"--workdir={straight}")
    assert code == 0, err
    result = json.loads(out)
    last = read_metrics(straight)[-1]
    assert result["top1"] == last["top1"]
    assert result["variables"].endswith("checkpoints/000000040")
