"""MAXIM against its plain formulation: seconds per image, compilation, memory.

    python -m benchmarks.maxim

The plain formulation (`benchmarks.maxim_plain`) computes as the official code does, and
both are compiled as a whole. Every program has a process of its own; the processes take
turns, and rounds that other programs disturbed are repeated, see
`benchmarks.side_by_side`. On a GPU (`--platform=gpu`) everything is bfloat16.

Printed and written to --out: results.json and the processes' logs.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from absl import app, flags

from benchmarks.side_by_side import QUIET, Worker, alternate
from common import atomic

FORMS = ("plain", "ours")
# What is aimed at, ours over plain.
TARGETS = {"speed": 1.5, "compilation": 0.7, "memory": 0.7}
LARGE = (768, 1280)  # where memory is compared; a padded frame of 720p
SIZES = {"cpu": ((256, 256),), "gpu": ((256, 256), LARGE)}


def run(values: flags.FlagValues) -> dict[str, Any]:
    """Measures everything, prints as it goes, and returns the numbers."""
    results: dict[str, Any] = {}
    for variant in values.variants:
        for size in SIZES[values.platform]:
            results[f"{variant} {size[0]}x{size[1]}"] = _speed(values, variant, size)
    first = values.variants[0]
    results[f"{first} compilation"] = _compilation(values, first)
    results[f"{first} memory"] = _memory(values, first)
    return results


def _speed(values: Any, variant: str, size: tuple[int, int]) -> dict[str, Any]:
    workers = [_start(values, form, variant, size) for form in FORMS]
    try:
        rounds = alternate(workers, values.repeats, values.patience)
    finally:
        for worker in workers:
            worker.close()
    calls = 10 if values.platform == "gpu" else 1
    seconds = {
        form: [r.samples[form]["seconds"] / calls for r in rounds] for form in FORMS
    }
    sums = [worker.facts["facts"]["checksum"] for worker in workers]
    if abs(sums[0] - sums[1]) > 0.02 * abs(sums[0]):
        raise RuntimeError(f"the two forms differ: mean magnitudes {sums}")
    medians = {form: statistics.median(seconds[form]) for form in FORMS}
    ratios = [p / o for p, o in zip(seconds["plain"], seconds["ours"], strict=True)]
    quiet = sum(r.outside <= QUIET for r in rounds)
    _say(
        f"{variant} {size[0]}x{size[1]}: plain {medians['plain']:.3f} s, ours "
        f"{medians['ours']:.3f} s ({1 / medians['ours']:.2f} images/s): "
        f"{statistics.median(ratios):.2f}x (rounds {min(ratios):.2f} to "
        f"{max(ratios):.2f}, {quiet} of {len(rounds)} quiet), target "
        f"{TARGETS['speed']}x"
    )
    return {
        "seconds": seconds,
        "ratios": ratios,
        "quiet_rounds": quiet,
        "flops": {worker.name: worker.facts["facts"]["flops"] for worker in workers},
    }


def _compilation(values: Any, variant: str) -> dict[str, Any]:
    """Each form several times anew, in turn; tracing is part of it."""
    seconds: dict[str, list[float]] = {form: [] for form in FORMS}
    for _ in range(values.compilations):
        for form in FORMS:
            facts = _compile(values, form, variant, (256, 256))
            seconds[form].append(facts["trace_seconds"] + facts["compile_seconds"])
    ratios = [o / p for p, o in zip(seconds["plain"], seconds["ours"], strict=True)]
    _say(
        f"{variant} tracing and compiling at 256x256: plain "
        f"{statistics.median(seconds['plain']):.1f} s, ours "
        f"{statistics.median(seconds['ours']):.1f} s: {statistics.median(ratios):.2f}x "
        f"(rounds {min(ratios):.2f} to {max(ratios):.2f}), target "
        f"{TARGETS['compilation']}x"
    )
    return {"seconds": seconds, "ratios": ratios}


def _memory(values: Any, variant: str) -> dict[str, Any]:
    def measure(form: str, lean: bool = False) -> int:
        return _compile(values, form, variant, LARGE, lean)["temporary_bytes"]

    found = {form: measure(form) for form in FORMS} | {"lean": measure("plain", True)}
    plain, ours, lean = (found[name] for name in (*FORMS, "lean"))
    _say(
        f"{variant} temporary memory at {LARGE[0]}x{LARGE[1]}: plain "
        f"{plain / 2**20:.0f} MiB, ours {ours / 2**20:.0f} MiB: {ours / plain:.2f}x, "
        f"target {TARGETS['memory']}x; plain compiled with our options "
        f"{lean / 2**20:.0f} MiB: {ours / lean:.2f}x"
    )
    return {"bytes": found, "ratio": ours / plain}


def _compile(
    values: Any,
    form: str,
    variant: str,
    size: tuple[int, int],
    lean: bool = False,
) -> dict[str, Any]:
    with _start(values, form, variant, size, memory_only=True, lean=lean) as worker:
        return worker.facts["facts"]


def _start(
    values: Any,
    form: str,
    variant: str,
    size: tuple[int, int],
    memory_only: bool = False,
    lean: bool = False,
) -> Worker:
    job = {
        "form": form,
        "variant": variant,
        "height": size[0],
        "width": size[1],
        "platform": values.platform,
        "memory_only": memory_only,
        "lean": lean,
    }
    env = {
        "JAX_PLATFORMS": "cuda" if values.platform == "gpu" else "cpu",
        "XLA_PYTHON_CLIENT_PREALLOCATE": "false",  # both programs share the GPU
        "JAX_ENABLE_COMPILATION_CACHE": "false",
    }
    log = Path(values.out) / "logs" / f"{form}-{variant}-{size[0]}x{size[1]}.log"
    command = [sys.executable, "-m", "benchmarks.maxim_worker"]
    return Worker(form, command, job, log, env)


def _say(line: str) -> None:
    print(line, flush=True)


def define_flags(values: flags.FlagValues = flags.FLAGS) -> None:
    """Adds the benchmark's flags."""
    flags.DEFINE_list("variants", ["S-2", "S-3"], "To run.", flag_values=values)
    flags.DEFINE_enum(
        "platform", "cpu", ["cpu", "gpu"], "Where to run.", flag_values=values
    )
    flags.DEFINE_integer("repeats", 7, "Rounds that count.", 1, flag_values=values)
    flags.DEFINE_integer("compilations", 3, "Of each form.", 1, flag_values=values)
    flags.DEFINE_float(
        "patience", 120.0, "Seconds to wait for a quiet machine.", flag_values=values
    )
    flags.DEFINE_string(
        "out", "runs/benchmark_maxim", "Folder of results.", flag_values=values
    )


def main(argv: Sequence[str]) -> None:
    """Runs the benchmark."""
    del argv
    values = flags.FLAGS
    os.makedirs(values.out, exist_ok=True)
    results = run(values)
    with atomic.replacing(Path(values.out) / "results.json") as temporary:
        temporary.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    define_flags()
    app.run(main)
