"""MaxViT against timm's on PyTorch: images per second, memory, cost of resolution.

    python -m benchmarks.maxvit --peer_python=PYTHON

PYTHON is an interpreter with torch and timm (`pip install multiaxis[bench]`); by
default the one that runs this. Every program has a process of its own; the processes
take turns, and rounds that other programs disturbed are repeated, see
`benchmarks.side_by_side`. First every form of the peer is tried for some rounds; then
the best ones and all of ours alternate, and the best of each side count.

Printed and written to --out: results.json, resolution.png and the processes' logs.
"""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from importlib import util
from pathlib import Path
from typing import Any

from absl import app, flags

from benchmarks import maxvit_report as report
from benchmarks.side_by_side import Round, Worker, WorkerError, alternate
from common.errors import ConfigError

MEASURES = ("forward", "training", "resolution")
# What is aimed at: images per second over the peer's; the cost per megapixel at the
# other sizes over that at 224, constant as the paper claims.
TARGETS = {"forward": 1.3, "training": 1.1, "resolution": 1.3}
PEER = ("eager", "eager channels-last", "compiled", "compiled channels-last")
# Of a forward pass alone: weights are constants of the compiled program, batch norm is
# folded into them. Compared with on its own, since it is an option few switch on.
PEER_FORWARD = (*PEER, "compiled channels-last frozen")
# A form this much slower than the best one in the first rounds is out.
CLOSE = 1.15
SCREEN_ROUNDS = 3
# Side -> batch: about the same number of pixels, at windows of 7 throughout.
RESOLUTIONS = {224: 16, 448: 4, 672: 2, 896: 1}
WINDOW = 7


@dataclasses.dataclass(frozen=True)
class Setting:
    """What both sides share.

    Attributes:
      variant: "tiny", or "testing" to try the benchmark itself.
      platform: "cpu" in float32 or "gpu" in bfloat16.
      batch_size: images per call.
      image_size: their side.
      threads: processors that both may use.
      repeats: rounds that count.
      patience: seconds per comparison to wait for a quiet machine.
      peer_python: interpreter of the peer; None: ours alone.
      out: folder for results and logs.
    """

    variant: str
    platform: str
    batch_size: int
    image_size: int
    threads: int
    repeats: int
    patience: float
    peer_python: str | None
    out: Path

    def job(self, measure: str, candidate: str, **fields: Any) -> dict[str, Any]:
        """Returns what a worker builds; a GPU gets several calls per timing."""
        gpu = self.platform == "gpu"
        return {
            "measure": measure,
            "candidate": candidate,
            "variant": self.variant,
            "platform": self.platform,
            "dtype": "bfloat16" if gpu else "float32",
            "batch_size": self.batch_size,
            "image_size": self.image_size,
            "threads": self.threads,
            "calls": 10 if gpu else 1,
            "rate": 1e-3,
            "decay": 0.05,
            "size": 8192 if gpu else 4096,  # of the matrix product
        } | fields

    def start(self, side: str, measure: str, candidate: str, **fields: Any) -> Worker:
        """Starts a worker of a side, `ours` or `peer`."""
        python = sys.executable if side == "ours" else self.peer_python
        name = " ".join(filter(None, (side, candidate)))
        log = self.out / "logs" / f"{measure} {name}.log".replace(" ", "-")
        env = {
            "JAX_PLATFORMS": "cuda" if self.platform == "gpu" else "cpu",
            "XLA_PYTHON_CLIENT_PREALLOCATE": "false",  # the GPU is shared
            "OMP_NUM_THREADS": str(self.threads),
        }
        command = [python or sys.executable, "-m", f"benchmarks.maxvit_{side}"]
        print(f"{measure}: starting {name}", file=sys.stderr, flush=True)
        return Worker(name, command, self.job(measure, candidate, **fields), log, env)


def our_candidates(measure: str) -> tuple[str, ...]:
    """Returns the forms of ours; folded batch norm is for inference."""
    if measure == "forward" and util.find_spec("maxvit.inference"):
        return "plain", "folded"
    return ("plain",)


def screen(setting: Setting, measure: str) -> dict[str, dict[str, Any]]:
    """Tries every form of the peer, one after the other; returns what each took."""
    rows = {}
    forms = PEER_FORWARD if measure == "forward" else PEER
    for candidate in forms if setting.peer_python else ():
        with setting.start("peer", measure, candidate) as worker:
            patience = setting.patience / len(forms)
            rounds = alternate([worker], min(SCREEN_ROUNDS, setting.repeats), patience)
            rows[candidate] = report.row(worker, rounds, setting.job(measure, ""))
    return rows


def finalists(rows: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Returns the forms that may be the best; noise decides nothing close."""
    usual = {name: row["fastest_seconds"] for name, row in rows.items() if name in PEER}
    limit = CLOSE * min(usual.values(), default=0)
    return [name for name in rows if name not in PEER or usual[name] <= limit]


def compare(setting: Setting, measure: str, ceiling: float) -> dict[str, Any]:
    """Measures one program on both sides."""
    screened = screen(setting, measure)
    chosen = [("ours", candidate) for candidate in our_candidates(measure)]
    chosen += [("peer", candidate) for candidate in finalists(screened)]
    workers, rounds = _alternate(
        setting, setting.repeats, [(side, measure, name, {}) for side, name in chosen]
    )
    rows = [report.row(worker, rounds, setting.job(measure, "")) for worker in workers]
    report.check_same_model(rows)
    report.add_shares(rows, ceiling, passes=3 if measure == "training" else 1)
    return {"screened": screened, "rows": rows} | report.ratios(
        rows, rounds, TARGETS[measure]
    )


def measure_ceiling(setting: Setting) -> dict[str, float]:
    """Returns FLOP/s of a large matrix product, the best of both sides and rounds."""
    sides = ["ours", "peer"] if setting.peer_python else ["ours"]
    programs = [(side, "matmul", "", {}) for side in sides]
    workers, rounds = _alternate(setting, setting.repeats, programs)
    calls = setting.job("matmul", "")["calls"]
    speeds = [
        worker.facts["facts"]["flops"] * calls / r.samples[worker.name]["seconds"]
        for worker in workers
        for r in rounds
    ]
    outside = max(r.outside for r in rounds)
    return {"flops_per_second": max(speeds), "outside": outside}


def measure_resolution(setting: Setting) -> dict[str, Any]:
    """Times our forward pass at growing sizes with windows of one size."""
    programs = [
        (
            "ours",
            "forward",
            f"{side} px",
            {"image_size": side, "batch_size": batch, "window_size": WINDOW},
        )
        for side, batch in RESOLUTIONS.items()
    ]
    workers, rounds = _alternate(setting, setting.repeats, programs)
    return report.per_megapixel(
        list(RESOLUTIONS.items()),
        workers,
        rounds,
        TARGETS["resolution"],
        setting.job("forward", "")["calls"],
    )


def _alternate(
    setting: Setting, repeats: int, programs: Sequence[tuple[str, str, str, dict]]
) -> tuple[list[Worker], list[Round]]:
    with ExitStack() as stack:
        workers = [
            stack.enter_context(setting.start(side, measure, candidate, **fields))
            for side, measure, candidate, fields in programs
        ]
        return workers, alternate(workers, repeats, setting.patience)


def run(setting: Setting, measures: Sequence[str]) -> dict[str, Any]:
    """Measures, prints a table after each part and writes all results."""
    results: dict[str, Any] = {"machine": report.machine(setting)}
    report.say(report.heading(results["machine"]))
    results["matmul"] = measure_ceiling(setting)
    ceiling = results["matmul"]["flops_per_second"]
    report.say(report.ceiling_line(results["matmul"]))
    for measure in measures:
        before = os.getloadavg()[0]
        if measure == "resolution":
            found = measure_resolution(setting)
            report.plot(found, setting.out / "resolution.png")
        else:
            found = compare(setting, measure, ceiling)
        found["load_average"] = [before, os.getloadavg()[0]]
        results[measure] = found
        report.say(report.text(measure, found))
        report.write(setting.out / "results.json", results)
    return results


def _limit_processors(threads: int | None) -> int:
    """Ties this process and its children to so many processors; returns how many.

    XLA starts one thread per processor that it may use.
    """
    usable = sorted(os.sched_getaffinity(0))
    chosen = usable[:threads] if threads else usable
    if threads and len(chosen) < threads:
        raise ConfigError(f"--threads={threads}: there are {len(usable)} processors")
    os.sched_setaffinity(0, chosen)
    return len(chosen)


def main(argv: Sequence[str]) -> None:
    """Reads the flags and runs."""
    if len(argv) > 1:
        raise app.UsageError(f"unexpected arguments: {argv[1:]}")
    try:
        run(_setting(flags.FLAGS), flags.FLAGS.measure)
    except (ConfigError, WorkerError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2 if isinstance(error, ConfigError) else 1)


def _setting(values: flags.FlagValues) -> Setting:
    return Setting(
        variant=values.variant,
        platform=values.platform,
        batch_size=values.batch_size or (128 if values.platform == "gpu" else 8),
        image_size=values.image_size,
        threads=_limit_processors(values.threads),
        repeats=values.repeats,
        patience=values.patience,
        peer_python=values.peer_python if values.peer else None,
        out=Path(values.out).absolute(),
    )


def define_flags() -> None:
    """Defines the flags; not at import, so that tests may import this module."""
    flags.DEFINE_multi_enum("measure", MEASURES, MEASURES, "What to measure.")
    flags.DEFINE_enum("platform", "cpu", ("cpu", "gpu"), "cpu: f32; gpu: bf16.")
    flags.DEFINE_enum(
        "variant", "tiny", ("tiny", "testing"), "testing: to try the benchmark itself."
    )
    flags.DEFINE_bool("peer", True, "Whether to measure the peer as well.")
    flags.DEFINE_string(
        "peer_python", sys.executable, "Interpreter that has torch and timm."
    )
    flags.DEFINE_integer(
        "batch_size", None, "Images per call; default 8, on a GPU 128.", lower_bound=1
    )
    flags.DEFINE_integer("image_size", 224, "Side of the images.", lower_bound=32)
    flags.DEFINE_integer(
        "threads", None, "Processors for either side; default all.", lower_bound=1
    )
    flags.DEFINE_integer("repeats", 7, "Rounds that count.", lower_bound=1)
    flags.DEFINE_float(
        "patience",
        60.0,
        "Seconds per comparison to wait for rounds that nothing else disturbs.",
        lower_bound=0.0,
    )
    flags.DEFINE_string("out", "runs/benchmark", "Folder for results and logs.")


if __name__ == "__main__":
    define_flags()
    app.run(main)
