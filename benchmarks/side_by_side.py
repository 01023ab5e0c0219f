"""Runs programs in processes of their own and calls them in turn.

The driver starts one `Worker` per program. The worker's module ends in `serve`, which
builds the program, then runs it once for every line that arrives. Only one worker
computes at a time, the others wait for a line, and `alternate` goes round them, so a
slow moment of the machine hits all. It also measures what programs outside use of the
machine meanwhile, waits for a quiet moment, and repeats a round that was disturbed.
Standard library only: each side imports its own framework. Linux only: memory and
processor time come from /proc.
"""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
# Thread pools spin for some milliseconds after their last task; a turn waits that out.
PAUSE = 0.2
WARM_UP = 2
# Share of all processors that others may use in a round that counts as undisturbed.
QUIET = 0.05


@dataclasses.dataclass
class Program:
    """What a worker measures.

    Attributes:
      run: does the work once and returns when it is finished.
      facts: anything to report about it, as JSON.
      device_memory: returns the peak bytes in use on an accelerator; None: on CPU.
    """

    run: Callable[[], Any]
    facts: Mapping[str, Any]
    device_memory: Callable[[], int] | None = None


class WorkerError(Exception):
    """A worker could not build or run its program."""


def serve(build: Callable[[Mapping[str, Any]], Program]) -> None:
    """Answers a driver: first a job, then one run per line, until the input ends.

    Args:
      build: from the job the driver sends to the program.
    """
    # What libraries print must not reach the driver's pipe.
    replies = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)

    def answer(function: Callable[[], Mapping[str, Any]]) -> None:
        try:
            reply = function()
        except Exception as error:
            replies.write(json.dumps({"error": f"{type(error).__name__}: {error}"}))
            replies.write("\n")
            raise
        replies.write(json.dumps(reply) + "\n")

    imported = _status("VmRSS")
    job = json.loads(sys.stdin.readline() or "null")
    if job is None:
        return
    built: list[Program] = []
    answer(lambda: _prepare(build, job, built, imported))
    for _ in sys.stdin:
        answer(lambda: _run(built[0]))


def _prepare(
    build: Callable[[Mapping[str, Any]], Program],
    job: Mapping[str, Any],
    built: list[Program],
    imported: int,
) -> Mapping[str, Any]:
    """Builds and warms up; then forgets the peak of memory that compiling took."""
    began = time.perf_counter()
    program = build(job)
    for _ in range(WARM_UP):
        program.run()
    seconds = time.perf_counter() - began
    peak = _status("VmHWM")
    # What compiling freed but the allocator kept is none of the steps' memory.
    with contextlib.suppress(AttributeError):  # another C library than glibc
        ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")  # see man 5 proc
    built.append(program)
    return {
        "facts": program.facts,
        "prepare_seconds": seconds,
        "imported_bytes": imported,
        "prepare_peak_bytes": peak,
    }


def _run(program: Program) -> Mapping[str, Any]:
    processor, began = time.process_time(), time.perf_counter()
    program.run()
    wall = time.perf_counter() - began
    reply = {
        "seconds": wall,
        "processor_seconds": time.process_time() - processor,
        "peak_bytes": _status("VmHWM"),
    }
    if program.device_memory is not None:
        reply["device_peak_bytes"] = program.device_memory()
    return reply


def _status(field: str) -> int:
    """Returns a memory field of this process, in bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    raise OSError(f"/proc/self/status has no {field}")


class Worker(contextlib.AbstractContextManager):
    """A process that holds one program.

    Attributes:
      name: of the program.
      facts: what the program reported when it was built, and the times and memory of
        that: `facts`, `prepare_seconds`, `imported_bytes`, `prepare_peak_bytes`.
      samples: the replies to all calls.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        job: Mapping[str, Any],
        log: Path,
        env: Mapping[str, str],
    ):
        """Starts the process and waits until its program is warm.

        Args:
          name: of the program.
          command: starts a module that ends in `serve`.
          job: for the module's `build`.
          log: file that takes the process' stderr.
          env: variables on top of this process' own.

        Raises:
          WorkerError: the program cannot be built; the message names the log.
        """
        self.name, self._log = name, log
        self.samples: list[dict[str, Any]] = []
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("w") as stderr:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
                cwd=ROOT,
                env={**os.environ, **env},
            )
        try:
            self.facts = self._ask(json.dumps(job))
        except BaseException:
            self.close()
            raise

    def call(self) -> dict[str, Any]:
        """Runs the program once; returns and keeps what it took."""
        self.samples.append(self._ask("run"))
        return self.samples[-1]

    def processor_seconds(self) -> float:
        """Returns the processor time of the process so far, in steps of 10 ms."""
        stat = Path(f"/proc/{self._process.pid}/stat").read_text()
        fields = stat.rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def close(self) -> None:
        """Ends the process."""
        with contextlib.suppress(OSError):
            self._stdin.close()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._stdout.close()

    def __exit__(self, *error: object) -> None:
        self.close()

    def _ask(self, line: str) -> dict[str, Any]:
        try:
            self._stdin.write(line + "\n")
            self._stdin.flush()
            reply = self._stdout.readline()
        except BrokenPipeError:
            reply = ""
        if not reply:
            raise WorkerError(f"{self.name} ended without an answer; see {self._log}")
        answer = json.loads(reply)
        if "error" in answer:
            raise WorkerError(f"{self.name}: {answer['error']}; see {self._log}")
        return answer

    @property
    def _stdin(self) -> Any:
        return self._process.stdin

    @property
    def _stdout(self) -> Any:
        return self._process.stdout


@dataclasses.dataclass(frozen=True)
class Round:
    """One call of every worker.

    Attributes:
      samples: name of the worker -> what its call took.
      outside: share of the machine's processors that others used, the worst call.
      waiting: processor seconds of the workers that waited, per second of work.
    """

    samples: Mapping[str, Mapping[str, Any]]
    outside: float
    waiting: float


def alternate(
    workers: Sequence[Worker], repeats: int, patience: float = 0.0
) -> list[Round]:
    """Calls all workers in turn until `repeats` rounds were undisturbed.

    Whether a round was disturbed depends on what other programs used of the machine,
    never on the times it gave.

    Args:
      workers: to call; every other round goes backwards.
      repeats: rounds to return.
      patience: seconds to spend on quiet rounds; when they are over, the round that is
        under way ends and there are at least `repeats` rounds of any kind.

    Returns:
      `repeats` rounds: those with the least use from outside, in order.
    """
    deadline = time.monotonic() + patience
    rounds: list[Round] = []
    while len(rounds) < repeats or (
        sum(r.outside <= QUIET for r in rounds) < repeats
        and time.monotonic() < deadline
    ):
        _wait_for_quiet(deadline)
        rounds.append(_round(workers[:: -1 if len(rounds) % 2 else 1]))
    # Below the limit the level is noise: of quiet rounds the first ones count.
    order = sorted(range(len(rounds)), key=lambda i: max(QUIET, rounds[i].outside))
    return [rounds[i] for i in sorted(order[:repeats])]


def _round(workers: Sequence[Worker]) -> Round:
    samples, outside, waiting, working = {}, 0.0, 0.0, 0.0
    for worker in workers:
        time.sleep(PAUSE)
        before, all_before = _processor_seconds(workers), machine_seconds()
        began = time.perf_counter()
        samples[worker.name] = worker.call()
        wall = time.perf_counter() - began
        after, all_after = _processor_seconds(workers), machine_seconds()
        used = {name: after[name] - before[name] for name in after}
        others = all_after - all_before - sum(used.values())
        outside = max(outside, others / wall / (os.cpu_count() or 1))
        waiting += sum(used.values()) - used[worker.name]
        working += wall
    return Round(samples, outside, waiting / working)


def _processor_seconds(workers: Sequence[Worker]) -> dict[str, float]:
    return {worker.name: worker.processor_seconds() for worker in workers}


def _wait_for_quiet(deadline: float) -> None:
    while time.monotonic() < deadline:
        before, began = machine_seconds(), time.perf_counter()
        time.sleep(0.5)
        wall = time.perf_counter() - began
        if (machine_seconds() - before) / wall / (os.cpu_count() or 1) <= QUIET:
            return


def machine_seconds() -> float:
    """Returns the seconds for which all processors were busy or stolen, since boot."""
    fields = Path("/proc/stat").read_text().partition("\n")[0].split()[1:9]
    user, nice, system, _, _, interrupt, soft, stolen = map(int, fields)
    ticks = user + nice + system + interrupt + soft + stolen
    return ticks / os.sysconf("SC_CLK_TCK")
