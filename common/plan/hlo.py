"""Collectives in the text of an HLO module: which, how often, how many bytes."""

from __future__ import annotations

import dataclasses
import functools
import math
import re
from collections.abc import Callable, Sequence

import numpy as np

KINDS = (
    "all-reduce",
    "all-gather",
    "reduce-scatter",
    "all-to-all",
    "collective-permute",
)

# In instructions that are, call or count collectives.
_WORDS = (*KINDS, "calls=", "to_apply=", "body=", "_computation", " constant(", "=LT")
_COMPUTATION = re.compile(r"^(ENTRY )?%?([\w.\-]+) .*\{$")
_INSTRUCTION = re.compile(r"^\s+(?:ROOT )?%?[\w.\-]+ = (.*)$")
# After the type of the result. In a type no blank comes before a bracket's name.
_OPERATION = re.compile(r"\s([a-z][a-z0-9\-]*)\(")
_ARRAY = re.compile(r"\b([a-z]\w*)\[([\d,]*)\]")
_CALLEES = re.compile(
    r"\b(?:calls|to_apply|true_computation|false_computation)=%?([\w.\-]+)"
)
_BRANCHES = re.compile(r"\bbranch_computations=\{([^}]*)\}")
_LOOP = re.compile(r"\bcondition=%?([\w.\-]+), body=%?([\w.\-]+)")
_TURNS = re.compile(r'"known_trip_count":\{"n":"(\d+)"')
_LIMIT = re.compile(r"[su]\d+\[\]\S* constant\((\d+)\)")
_BELOW = re.compile(r"pred\[\]\S* compare\(.*direction=LT")

# The ways in which groups of devices are written.
_LISTED = re.compile(r"\breplica_groups=\{\{([\d,]+)\}")
_COUNTED = re.compile(r"\breplica_groups=(\[[\d,]+\])<=(\[[\d,]+\])(?:T(\([\d,]+\)))?")
_ON_MESH = re.compile(
    r"\breplica_groups=mesh\[([^\]]*)\]"
    r"(?:, device_ids=\((\[[\d,]+\])(?:T(\([\d,]+\)))?\))? \{([^}]*)\}"
)
_PAIR = re.compile(r"\{(\d+),(\d+)\}")


@dataclasses.dataclass(frozen=True)
class Collective:
    """One collective operation.

    Attributes:
      kind: one of `KINDS`.
      bytes: of the whole array as one device knows it: what an all-reduce sums, an
        all-gather collects, a reduce-scatter starts from, the others pass on.
      group: numbers of the devices of the first group that takes part.
      times: how often it runs in a step.
    """

    kind: str
    bytes: int
    group: tuple[int, ...]
    times: int = 1

    @property
    def sent(self) -> float:
        """Bytes that each device sends at each time, on a ring of its group."""
        if self.kind == "collective-permute":
            return self.bytes
        share = (len(self.group) - 1) / len(self.group)
        # An all-reduce is a reduce-scatter and an all-gather.
        return self.bytes * share * (2 if self.kind == "all-reduce" else 1)

    @property
    def span(self) -> int:
        """So many consecutive devices hold the group."""
        return max(self.group) - min(self.group) + 1


@dataclasses.dataclass(frozen=True)
class Program:
    """What an HLO module sends.

    Attributes:
      collectives: all that one step runs; of conditional branches those that move
        most.
      endless: number of loops with collectives whose length is unknown; they are
        counted as one turn.
    """

    collectives: tuple[Collective, ...]
    endless: int = 0


def parse(text: str, devices: int) -> Program:
    """Reads the collectives of one device's program.

    Those in called computations, fusions and asynchronous wrappers are found, and in
    loops counted once per turn. Of an asynchronous pair the start counts.

    Args:
      text: of the module, as `compiled.as_text()` gives it.
      devices: that run the program.
    """
    entry, computations = _computations(text)
    endless = 0

    @functools.cache
    def expand(name: str) -> tuple[Collective, ...]:
        nonlocal endless
        found: list[Collective] = []
        for line in computations.get(name, ()):
            operation = _OPERATION.search(line)
            if operation is None:
                continue
            kind = operation[1].removesuffix("-start")
            if kind in KINDS:
                found.append(_collective(kind, line, operation, devices))
            elif loop := _LOOP.search(line):
                turn = expand(loop[1]) + expand(loop[2])
                turns = _turns(line, computations.get(loop[1], ()))
                endless += bool(turn) and turns is None
                found += [_repeat(c, 1 if turns is None else turns) for c in turn]
            else:
                found += _called(operation[1], line, expand)
        return tuple(found)

    return Program(expand(entry), endless)


def _computations(text: str) -> tuple[str, dict[str, list[str]]]:
    """Returns the entry's name and the instructions of every computation."""
    entry, computations, lines = "", {}, []
    for line in text.splitlines():
        if instruction := _INSTRUCTION.match(line):
            if any(word in instruction[1] for word in _WORDS):
                lines.append(instruction[1])
        elif header := _COMPUTATION.match(line):
            lines = computations[header[2]] = []
            if header[1]:
                entry = header[2]
    return entry, computations


def _called(
    name: str, line: str, expand: Callable[[str], tuple[Collective, ...]]
) -> tuple[Collective, ...]:
    """Returns what the computations that an instruction calls send."""
    names = _CALLEES.findall(line)
    for branches in _BRANCHES.findall(line):
        names += [branch.strip().lstrip("%") for branch in branches.split(",")]
    called = [expand(name) for name in names]
    if name == "conditional":
        return max(called, key=_sent, default=())
    return tuple(collective for part in called for collective in part)


def _sent(collectives: tuple[Collective, ...]) -> float:
    return sum(c.sent * c.times for c in collectives)


def _repeat(collective: Collective, turns: int) -> Collective:
    return dataclasses.replace(collective, times=collective.times * turns)


def _turns(line: str, condition: Sequence[str]) -> int | None:
    """Length of a loop, noted by the compiler or read from `i < constant`.

    Loops of JAX whose length is known count from 0 by 1.
    """
    if noted := _TURNS.search(line):
        return int(noted[1])
    limits = [limit[1] for text in condition if (limit := _LIMIT.match(text))]
    compares = [text for text in condition if _BELOW.match(text)]
    if len(limits) == len(compares) == 1 and len(condition) == 2:
        return int(limits[0])
    return None


def _collective(
    kind: str, line: str, operation: re.Match[str], devices: int
) -> Collective:
    results = line[: operation.start()]
    parts = _parts(results)
    if operation[1] in ("all-gather-start", "collective-permute-start"):
        results = parts[1]  # after the operands, before what only the pair needs
    group = _group(kind, line, devices)
    size = sum(_bytes(*array) for array in _ARRAY.findall(results))
    if kind == "reduce-scatter":
        size *= len(group)
    return Collective(kind, size, group)


def _parts(results: str) -> list[str]:
    """Splits the type of a tuple into those of its elements."""
    parts, depth = [""], 0
    for letter in results.strip():
        depth += (letter in "([{") - (letter in ")]}")
        if letter == "," and depth == 1:
            parts.append("")
        else:
            parts[-1] += letter
    return parts


def _bytes(dtype: str, shape: str) -> int:
    """Size of `dtype[shape]`; bits stand in the type's name, as in bf16 or s4."""
    bits = re.search(r"\d+", dtype)
    width = int(bits[0]) if bits else (8 if dtype == "pred" else 0)
    return math.prod(map(int, filter(None, shape.split(",")))) * width // 8


def _group(kind: str, line: str, devices: int) -> tuple[int, ...]:
    """Returns the first group; for pairs, the two that are furthest apart."""
    if kind == "collective-permute":
        pairs = _PAIR.findall(line.partition("source_target_pairs=")[2])
        ends = [(int(source), int(target)) for source, target in pairs]
        return max(ends, key=lambda pair: abs(pair[0] - pair[1]), default=(0, 0))
    if listed := _LISTED.search(line):
        return tuple(map(int, listed[1].split(",")))
    if counted := _COUNTED.search(line):
        shape, source, order = counted.groups()
        return tuple(_numbers(source, order).reshape(_ints(shape))[0].tolist())
    if meshed := _ON_MESH.search(line):
        axes, source, order, names = meshed.groups()
        return _along(axes, source or f"[{devices}]", order, names)
    return tuple(range(devices))  # an empty list, or a way not known here


def _along(axes: str, source: str, order: str | None, names: str) -> tuple[int, ...]:
    """Returns the devices along some axes of a mesh, at 0 of the others."""
    sizes = dict(re.findall(r"'([^']+)'=(\d+)", axes))
    grid = _numbers(source, order).reshape([int(size) for size in sizes.values()])
    chosen = re.findall(r"'([^']+)'", names)
    corner = grid[tuple(slice(None) if name in chosen else 0 for name in sizes)]
    return tuple(corner.ravel().tolist())


def _numbers(source: str, order: str | None) -> np.ndarray:
    shape = _ints(source)
    numbers = np.arange(math.prod(shape)).reshape(shape)
    return numbers.transpose(_ints(order)) if order else numbers


def _ints(text: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", text)]
