"""The projected distribution loss of one layer: ours, a plain sort, PyTorch's.

    python -m benchmarks.projected_distribution --peer_python=PYTHON

PYTHON is an interpreter with torch (`pip install multiaxis[bench]`); by default the one
that runs this. Value and gradient for maps of 8 x 128 x 128 x 64, as behind relu1_2 of
crops of 128 pixels. `plain` is the loss with `jnp.sort`; `peer` sorts and takes L1.
Every program has a process of its own; they take turns, and rounds that other programs
disturbed are repeated, see `benchmarks.side_by_side`. All on the CPU in float32.
"""

from __future__ import annotations

import os
import statistics
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from absl import app, flags

from benchmarks.side_by_side import QUIET, Worker, WorkerError, alternate

SHAPE = (8, 128, 128, 64)
# Plain over ours, and the peer's over ours.
TARGETS = {"plain": 5.0, "peer": 1.0}


def start(name: str, peer_python: str, out: Path) -> Worker:
    """Starts one program."""
    job = {"candidate": name, "shape": SHAPE, "threads": os.cpu_count()}
    python = peer_python if name == "peer" else sys.executable
    command = [python, "-m", "benchmarks.projected_distribution_worker"]
    env = {"JAX_PLATFORMS": "cpu", "OMP_NUM_THREADS": str(job["threads"])}
    return Worker(name, command, job, out / f"{name}.log", env)


def run(peer_python: str, repeats: int, patience: float, out: Path) -> None:
    """Times the programs in turns and prints what came of it."""
    with ExitStack() as stack:
        workers = []
        for name in ("ours", "plain", "peer"):
            try:
                workers.append(stack.enter_context(start(name, peer_python, out)))
            except WorkerError as error:
                if name != "peer":
                    raise
                print(f"no peer: {error}")
        rounds = alternate(workers, repeats, patience)
    values = {worker.name: worker.facts["facts"]["value"] for worker in workers}
    if max(values.values()) > 1.0001 * min(values.values()):
        raise WorkerError(f"the sides do not compute the same: {values}")
    times = {w.name: [r.samples[w.name]["seconds"] for r in rounds] for w in workers}
    for name, seconds in times.items():
        ratios = [a / b for a, b in zip(seconds, times["ours"], strict=True)]
        said = f"{name:6s} {1e3 * statistics.median(seconds):7.0f} ms"
        if name in TARGETS:
            said += f", {statistics.median(ratios):.2f} x ours, rounds "
            said += f"{min(ratios):.2f} to {max(ratios):.2f}; target {TARGETS[name]} x"
        print(said)
    outside = max(r.outside for r in rounds)
    if outside > QUIET:
        print(f"disturbed: others used up to {outside:.0%} of the machine")


def define_flags(values: flags.FlagValues = flags.FLAGS) -> None:
    """Adds the benchmark's flags."""
    where = "runs/benchmark_projected_distribution"
    flags.DEFINE_string("out", where, "Folder of logs.", flag_values=values)
    python, text = sys.executable, "Interpreter that has torch."
    flags.DEFINE_string("peer_python", python, text, flag_values=values)
    flags.DEFINE_integer("repeats", 7, "Rounds that count.", 1, flag_values=values)
    text = "Seconds to wait for rounds that nothing else disturbs."
    flags.DEFINE_float("patience", 60.0, text, 0.0, flag_values=values)


def main(argv: Sequence[str]) -> None:
    """Runs the benchmark."""
    if len(argv) > 1:
        raise app.UsageError(f"unexpected arguments: {argv[1:]}")
    values = flags.FLAGS
    out = Path(values.out).absolute()
    try:
        run(values.peer_python, values.repeats, values.patience, out)
    except WorkerError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    define_flags()
    app.run(main)
