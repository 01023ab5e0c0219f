"""What the MaxViT benchmark makes of measurements, and that its programs run."""

import json

import pytest

from benchmarks import maxvit, maxvit_ours, maxvit_report
from benchmarks.side_by_side import Round, WorkerError
from common.train.experiment import Experiment


class Measured:
    """A worker that was already called."""

    def __init__(self, name, parameters=7, **facts):
        self.name = name
        self.facts = {
            "facts": {"parameters": parameters, **facts},
            "prepare_seconds": 1.0,
            "prepare_peak_bytes": 900 * 2**20,
            "imported_bytes": 50 * 2**20,
        }


def rounds(**seconds):
    """Rounds with these times, by worker; memory in MiB is 100 times the first."""
    return [
        Round(
            {
                name.replace("_", " "): {
                    "seconds": times[i],
                    "processor_seconds": 2 * times[i],
                    "peak_bytes": 100 * times[0] * 2**20,
                }
                for name, times in seconds.items()
            },
            outside=0.01,
            waiting=0.0,
        )
        for i in range(len(next(iter(seconds.values()))))
    ]


def rows(measured):
    workers = [
        Measured("ours plain", multiply_adds=10**9),
        Measured("ours folded", multiply_adds=10**9),
        Measured("peer eager"),
        Measured("peer compiled"),
        Measured("peer frozen"),
    ]
    job = {"batch_size": 8, "calls": 1}
    return [maxvit_report.row(worker, measured, job) for worker in workers]


def test_the_best_of_each_side_count():
    measured = rounds(
        ours_plain=[4.0, 4.0, 4.0],
        ours_folded=[2.0, 3.0, 2.0],
        peer_eager=[9.0, 9.0, 9.0],
        peer_compiled=[3.0, 3.0, 6.0],
        peer_frozen=[1.0, 1.0, 1.0],
    )
    table = rows(measured)
    maxvit_report.add_shares(table, ceiling=32e9, passes=1)
    found = maxvit_report.ratios(table, measured, target=1.3)
    usual, frozen = found["comparisons"]
    assert (usual["ours"], usual["peer"]) == ("ours folded", "peer compiled")
    assert usual["ratio"] == pytest.approx(1.5)
    assert usual["ratio_per_round"] == pytest.approx([1.0, 3.0])
    assert usual["memory_ratio"] == pytest.approx(2 / 3)
    assert usual["memory_increase_ratio"] == pytest.approx(0.6)
    assert frozen["ratio"] == pytest.approx(0.5)
    # 8 images of 2 GFLOP in 4 s at 32 GFLOP/s; the peer runs the same model.
    assert table[0]["ceiling_share"] == pytest.approx(0.125)
    assert table[3]["ceiling_share"] == pytest.approx(8 * 2 / 3 / 32)
    found |= {"rows": table, "screened": {}, "load_average": [0.5, 0.5]}
    text = maxvit_report.text("forward", found)
    assert "1.50 x" in text
    assert "0.50 x" in text
    # Speed and memory against the frozen form.
    assert text.count(": reached") == text.count("NOT reached") == 2
    text = maxvit_report.text("forward", found | {"outside": 0.5})
    assert "1.3 x: not judged" in text


def test_different_models_are_no_comparison():
    table = [{"name": n, "facts": {"parameters": n}} for n in (30, 31)]
    with pytest.raises(WorkerError, match="not run the same model"):
        maxvit_report.check_same_model(table)


def test_close_forms_of_the_peer_stay():
    times = {
        "eager": 2.0,
        "compiled": 1.0,
        "compiled channels-last": 1.1,
        "compiled channels-last frozen": 0.5,
    }
    screened = {name: {"fastest_seconds": t} for name, t in times.items()}
    assert maxvit.finalists(screened) == [*times][1:]
    assert maxvit.finalists({}) == []


def test_cost_per_megapixel(tmp_path):
    sizes = [(500, 4), (1000, 2)]
    workers = [Measured("small"), Measured("large")]
    measured = rounds(small=[1.0, 1.0, 1.0], large=[2.0, 2.8, 3.0])
    found = maxvit_report.per_megapixel(sizes, workers, measured, 1.3)
    costs = [row["seconds_per_megapixel"] for row in found["rows"]]
    assert costs == pytest.approx([1.0, 1.4])
    assert found["worst"] == pytest.approx(1.4)
    found["load_average"] = [0.0, 0.0]
    assert "NOT reached" in maxvit_report.text("resolution", found)
    maxvit_report.plot(found, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").stat().st_size > 5000


def job(**fields):
    return {
        "variant": "testing",
        "platform": "cpu",
        "dtype": "float32",
        "batch_size": 1,
        "image_size": 32,
        "calls": 1,
        "rate": 1e-3,
        "decay": 0.05,
        "candidate": "plain",
        **fields,
    }


def test_our_forward_pass_runs():
    program = maxvit_ours.build(job(measure="forward", window_size=1))
    program.run()
    assert program.facts["parameters"] > 200_000
    assert program.facts["multiply_adds"] > 1e6
    json.dumps(program.facts)


def test_our_training_step_can_be_built(monkeypatch):
    """Everything but the compilation, which takes long."""
    seen = []

    def compiled(self):
        def step(state, batch):
            seen.append((state, batch))
            return state, {}

        return step

    monkeypatch.setattr(Experiment, "compile_step", compiled)
    program = maxvit_ours.build(job(measure="training"))
    program.run()
    (state, batch), _ = seen[0], program.run()
    assert batch["image"].shape == (1, 32, 32, 3)
    assert len(seen) == 2
    assert state.params.keys() >= {"stem", "stage1", "head"}
