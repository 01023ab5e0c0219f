"""Rows, ratios, tables and the plot of `benchmarks.maxvit`."""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from benchmarks.side_by_side import QUIET, Round, Worker, WorkerError
from common import atomic
from common.errors import ConfigError

_MEBI = 2**20


def row(
    worker: Worker, rounds: Sequence[Round], job: Mapping[str, Any]
) -> dict[str, Any]:
    """Returns what the rounds say about one worker.

    Memory is the peak of the process' resident set, or of the GPU's. `prepare` is the
    peak up to the end of the warm-up, with what compiling took; `peak` is that of the
    steps after it, in which everything that training or serving needs is alive;
    `increase` is `peak` without what the process held after its imports.
    """
    samples = [r.samples[worker.name] for r in rounds]
    times = [sample["seconds"] / job["calls"] for sample in samples]
    seconds = statistics.median(times)
    used = sum(s["processor_seconds"] for s in samples)
    facts = worker.facts
    memory = max(s["peak_bytes"] for s in samples)
    return {
        "name": worker.name,
        "seconds": seconds,
        "fastest_seconds": min(times),
        "slowest_seconds": max(times),
        "all_seconds": times,
        "images_per_second": job["batch_size"] / seconds,
        "processors_used": used / sum(s["seconds"] for s in samples),
        "prepare_seconds": facts["prepare_seconds"],
        "prepare_peak_mib": facts["prepare_peak_bytes"] / _MEBI,
        "peak_mib": samples[-1].get("device_peak_bytes", memory) / _MEBI,
        "increase_mib": samples[-1].get(
            "device_peak_bytes", memory - facts["imported_bytes"]
        )
        / _MEBI,
        "outside": max(r.outside for r in rounds),
        "facts": facts["facts"],
    }


def check_same_model(rows: Sequence[Mapping[str, Any]]) -> None:
    """Checks that all programs have as many parameters.

    Raises:
      WorkerError: they do not.
    """
    # Folding batch norm into the weights is the same model with fewer parameters;
    # every side reports the count before it.
    counts = {row["name"]: row["facts"]["parameters"] for row in rows}
    if len(set(counts.values())) > 1:
        raise WorkerError(f"the sides do not run the same model: parameters {counts}")


def add_shares(rows: Sequence[dict[str, Any]], ceiling: float, passes: int) -> None:
    """Adds the achieved share of the matrix-product speed to every row.

    A training step counts as three forward passes, whatever is computed again.
    """
    (multiply_adds,) = {
        row["facts"]["multiply_adds"] for row in rows if "multiply_adds" in row["facts"]
    }
    for entry in rows:
        speed = 2 * multiply_adds * passes * entry["images_per_second"]
        entry["ceiling_share"] = speed / ceiling


def ratios(
    rows: Sequence[Mapping[str, Any]], rounds: Sequence[Round], target: float
) -> dict[str, Any]:
    """Compares the fastest of ours with the fastest of the peer's."""
    waiting = max(r.waiting for r in rounds)
    outside = max(r.outside for r in rounds)
    found: dict[str, Any] = {"target": target, "waiting": waiting, "outside": outside}
    ours, usual, frozen = (
        [row for row in rows if _kind(row["name"]) == kind]
        for kind in ("ours", "peer", "frozen")
    )
    comparisons = [_compare(ours, theirs) for theirs in (usual, frozen) if theirs]
    return found | {"comparisons": comparisons}


def _kind(name: str) -> str:
    return "frozen" if "frozen" in name else name.partition(" ")[0]


def _compare(
    our_rows: Sequence[Mapping[str, Any]], peer_rows: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    ours, peer = (
        min(side, key=lambda row: row["seconds"]) for side in (our_rows, peer_rows)
    )
    pairs = [
        theirs / mine
        for mine, theirs in zip(ours["all_seconds"], peer["all_seconds"], strict=True)
    ]
    return {
        "ours": ours["name"],
        "peer": peer["name"],
        "ratio": peer["seconds"] / ours["seconds"],
        "ratio_per_round": [min(pairs), max(pairs)],
        "memory_ratio": ours["peak_mib"] / peer["peak_mib"],
        "memory_increase_ratio": ours["increase_mib"] / peer["increase_mib"],
    }


def per_megapixel(
    sizes: Sequence[tuple[int, int]],
    workers: Sequence[Worker],
    rounds: Sequence[Round],
    target: float,
    calls: int = 1,
) -> dict[str, Any]:
    """Returns seconds per million pixels at every `(side, batch)`, timed by `calls`."""
    rows = []
    for (side, batch), worker in zip(sizes, workers, strict=True):
        times = [r.samples[worker.name]["seconds"] for r in rounds]
        pixels = calls * batch * side * side / 1e6
        rows.append(
            {
                "image_size": side,
                "batch_size": batch,
                "seconds_per_megapixel": statistics.median(times) / pixels,
                "fastest": min(times) / pixels,
                "slowest": max(times) / pixels,
            }
        )
    first = rows[0]["seconds_per_megapixel"]
    for entry in rows:
        entry["relative"] = entry["seconds_per_megapixel"] / first
    return {
        "rows": rows,
        "worst": max(entry["relative"] for entry in rows),
        "target": target,
        "outside": max(r.outside for r in rounds),
        "waiting": max(r.waiting for r in rounds),
    }


def machine(setting: Any) -> dict[str, Any]:
    """Describes the machine and the setting, for the record."""
    versions = {name: metadata.version(name) for name in ("jax", "flax", "numpy")}
    described = {
        "processor": _processor(),
        "processors": os.cpu_count(),
        "threads": setting.threads,
        "python": platform.python_version(),
        **versions,
        "variant": setting.variant,
        "platform": setting.platform,
        "batch_size": setting.batch_size,
        "image_size": setting.image_size,
        "repeats": setting.repeats,
    }
    if setting.peer_python:
        described["peer"] = _peer_versions(setting.peer_python)
    return described


def _processor() -> str:
    """Returns the model's name and the widest vector instructions."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    fields = dict(line.split(":", 1) for line in lines if ":" in line)
    known = {key.strip(): value.strip() for key, value in fields.items()}
    flags = known.get("flags", "").split()
    vectors = [name for name in ("avx512f", "avx2") if name in flags][:1]
    return " ".join([known.get("model name", platform.machine()), *vectors])


def _peer_versions(python: str) -> str:
    code = (
        "import importlib.metadata as m, platform;"
        "print('python', platform.python_version(),"
        " *[f'{n} {m.version(n)}' for n in ('torch', 'timm')])"
    )
    try:
        found = subprocess.run(
            [python, "-c", code], capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError) as error:
        raise ConfigError(
            f"--peer_python={python} has no torch and timm: install the extra `bench` "
            "there, name another interpreter, or pass --nopeer"
        ) from error
    return found.stdout.strip()


def heading(described: Mapping[str, Any]) -> str:
    """Returns the machine in lines."""
    return "\n".join(f"{key:12s} {value}" for key, value in described.items())


def ceiling_line(found: Mapping[str, float]) -> str:
    """Returns the speed that shares are of."""
    note = ", disturbed: shares are too high" if found["outside"] > QUIET else ""
    speed = found["flops_per_second"] / 1e9
    return f"ceiling, a large matrix product: {speed:,.0f} GFLOP/s{note}\n"


def text(measure: str, found: Mapping[str, Any]) -> str:
    """Returns the table of one measurement."""
    if measure == "resolution":
        lines = _resolution_lines(found)
    else:
        lines = [_COLUMNS, *map(_line, found["rows"])]
        shown = {row["name"] for row in found["rows"]}
        for row in found["screened"].values():
            if row["name"] not in shown:
                lines.append(_line(row) + "  (slower in the first rounds)")
        for comparison in found["comparisons"]:
            lines += _verdict(found, comparison)
    load = " to ".join(f"{value:.1f}" for value in found["load_average"])
    lines.append(
        f"load average {load}; others used up to {found['outside']:.0%} of the machine "
        f"in a round, waiting processes {found['waiting']:.1%}"
    )
    return "\n".join([f"{measure}", *lines, ""])


_COLUMNS = (
    f"{'':29s}{'ms':>8s}{'min':>8s}{'max':>8s}{'images/s':>10s}{'of ceiling':>12s}"
    f"{'processors':>12s}{'peak MiB':>10s}{'increase':>10s}{'compiling':>11s}"
)


def _line(row: Mapping[str, Any]) -> str:
    times = [row[f"{name}seconds"] * 1e3 for name in ("", "fastest_", "slowest_")]
    share = f"{row['ceiling_share']:.0%}" if "ceiling_share" in row else ""
    return (
        f"{row['name']:29s}"
        + "".join(f"{value:8.1f}" for value in times)
        + f"{row['images_per_second']:10.2f}{share:>12s}{row['processors_used']:12.2f}"
        + f"{row['peak_mib']:10.0f}{row['increase_mib']:10.0f}"
        + f"{row['prepare_peak_mib']:11.0f}"
    )


def _verdict(found: Mapping[str, Any], one: Mapping[str, Any]) -> list[str]:
    low, high = one["ratio_per_round"]
    return [
        f"speed: {one['ours']} / {one['peer']} = {one['ratio']:.2f} x "
        f"(rounds {low:.2f} to {high:.2f}), "
        + _judged(
            found, one["ratio"] >= found["target"], f"at least {found['target']} x"
        ),
        f"peak memory: {one['memory_ratio']:.2f} of the peer's, increase over the "
        f"imports {one['memory_increase_ratio']:.2f}, "
        + f"target at most 1: {_REACHED[one['memory_ratio'] <= 1]}",
    ]


def _resolution_lines(found: Mapping[str, Any]) -> list[str]:
    lines = [f"{'side':>6s}{'batch':>7s}{'s/megapixel':>13s}{'of 224':>8s}"]
    for row in found["rows"]:
        lines.append(
            f"{row['image_size']:6d}{row['batch_size']:7d}"
            f"{row['seconds_per_megapixel']:13.3f}{row['relative']:8.2f}"
        )
    reached = found["worst"] <= found["target"]
    return [*lines, _judged(found, reached, f"at most {found['target']}")]


def _judged(found: Mapping[str, Any], reached: bool, wanted: str) -> str:
    """Says whether a target was reached, unless the machine was not ours alone.

    Then a thread that waits in a barrier for one without a processor loses its own:
    the times say more about the barrier than about the program.
    """
    answer = _REACHED[reached]
    if found["outside"] > QUIET:
        answer = "not judged, other programs disturbed the rounds"
    return f"target {wanted}: {answer}"


_REACHED = {True: "reached", False: "NOT reached"}


def plot(found: Mapping[str, Any], path: Path) -> None:
    """Draws the cost per megapixel over the image's side."""
    from matplotlib.figure import Figure

    from common.logging.plots import BLUE, GREY

    rows = found["rows"]
    sides = [row["image_size"] for row in rows]
    cost = [row["seconds_per_megapixel"] for row in rows]
    figure = Figure(figsize=(6, 3.8), dpi=160, layout="constrained")
    axes = figure.subplots()
    low, high = ([row[end] for row in rows] for end in ("fastest", "slowest"))
    axes.fill_between(sides, low, high, color=BLUE, alpha=0.15, lw=0, label="range")
    axes.plot(sides, cost, color=BLUE, marker="o", label="median")
    limit = cost[0] * found["target"]
    axes.axhline(limit, color=GREY, ls="--", lw=1)
    axes.annotate(
        f"{found['target']} x the cost at {sides[0]}", (sides[0], limit),
        xytext=(0, 4), textcoords="offset points", color=GREY, fontsize=8.5,
    )  # fmt: skip
    axes.set_xticks(sides)
    axes.set_ylim(0, max(limit, *high) * 1.15)
    axes.set_xlabel("image side, pixels")
    axes.set_ylabel("seconds per megapixel")
    axes.set_title("MaxViT forward pass, windows of 7: cost per pixel", fontsize=10.5)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="lower right", fontsize=8.5)
    with atomic.replacing(path) as temporary:
        figure.savefig(temporary, format="png")


def write(path: Path, results: Mapping[str, Any]) -> None:
    """Writes all results as JSON."""
    with atomic.replacing(path) as temporary:
        temporary.write_text(json.dumps(results, indent=2) + "\n")


def say(lines: str) -> None:
    """Prints at once, also into a pipe."""
    print(lines, flush=True)
