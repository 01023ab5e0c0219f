"""A plan as text and as JSON."""

from __future__ import annotations

import dataclasses
import textwrap
from collections.abc import Sequence
from typing import Any

from common.plan import chips, hlo, roofline
from common.plan.planner import Plan
from common.plan.roofline import Estimate

_MIB = 2**20


def text(plan: Plan) -> str:
    """Returns the plan as tables for a terminal."""
    return "\n\n".join([_head(plan), _memory(plan), _network(plan), _time(plan)])


def as_json(plan: Plan) -> dict[str, Any]:
    """Returns every number of the plan, sizes in bytes and times in seconds."""
    values: dict[str, Any] = dict(dataclasses.asdict(plan))
    values["program"] = {"collectives": _totals(plan), "endless": plan.program.endless}
    values["flops_per_device"] = 2 * plan.cost.multiply_adds
    values["estimates"] = [
        dataclasses.asdict(e) | {"bound": e.bound, "step": e.step}
        for e in _estimates(plan)
    ]
    return values


def _estimates(plan: Plan) -> list[Estimate]:
    return [roofline.estimate(plan, chip) for chip in chips.CHIPS]


def _head(plan: Plan) -> str:
    mesh = ", ".join(f"{axis} {size}" for axis, size in plan.mesh.items())
    lines = [
        f"{plan.devices} devices: {mesh}; batch {plan.batch_size:,} in {plan.dtype}, "
        f"{plan.batch_size // plan.devices:,} examples on each",
        f"parameters: {plan.parameters:,}, {plan.parameters_per_device:,} on each",
        f"per device and step: {plan.cost.multiply_adds / 1e9:,.4f} G multiply-adds, "
        f"{2 * plan.cost.multiply_adds / 1e9:,.4f} GFLOPs",
    ]
    if plan.classes is not None:
        lines.append(
            f"classes: {plan.classes} assumed; set config.data.num_classes for more"
        )
    return "\n".join(lines)


def _memory(plan: Plan) -> str:
    memory = plan.memory
    rows = [(name, size, "exact") for name, size in memory.arguments.items() if size]
    rows += [
        ("outputs that are new", memory.new_outputs, "exact"),
        ("held between steps", memory.held, "exact, the sum"),
        ("intermediate, fused", memory.fused, "estimate: elementwise work fused"),
        ("intermediate, unfused", memory.unfused, "estimate: nothing fused"),
        ("intermediate, on this CPU", memory.compiled, "buffers of its compiler"),
    ]
    shown = [(name, _number(size / _MIB), what) for name, size, what in rows]
    return _table(("memory per device", "MiB", ""), shown, "<><")


def _network(plan: Plan) -> str:
    rows = [
        (
            kind,
            f"{total['count']:,}",
            _number(total["bytes"] / _MIB),
            _number(total["sent"] / _MIB),
        )
        for kind, total in _totals(plan).items()
    ]
    header = ("collectives per step", "count", "MiB of arrays", "MiB sent per device")
    table = _table(header, rows, "<>>>")
    if plan.program.endless:
        table += f"\n({plan.program.endless} loops of unknown length count as one turn)"
    return table


def _totals(plan: Plan) -> dict[str, dict[str, float]]:
    """Sums over the collectives of every kind."""
    totals = {}
    for kind in hlo.KINDS:
        mine = [c for c in plan.program.collectives if c.kind == kind]
        totals[kind] = {
            "count": sum(c.times for c in mine),
            "bytes": sum(c.times * c.bytes for c in mine),
            "sent": sum(c.times * c.sent for c in mine),
        }
    return totals


def _time(plan: Plan) -> str:
    rows = []
    for e in _estimates(plan):
        network = "-" if e.network is None else _number(1e3 * e.network)
        limits = (_number(1e3 * e.compute), _number(1e3 * e.memory), network)
        rate = f"{plan.batch_size / e.step:,.0f}"
        rows.append((e.chip, *limits, _number(1e3 * e.step), e.bound, rate, e.fits))
    header = ("estimate", "compute ms", "memory ms", "network ms", "step ms")
    header += ("bound", "examples/s", "fits")
    table = _table(header, rows, "<>>>><><")
    model = " ".join(roofline.MODEL.split())
    if plan.dtype == "float32":
        model += " This config's float32 is slower than those bfloat16 peaks."
    return f"{table}\n{textwrap.fill(model, 88)}"


def _number(value: float) -> str:
    return f"{value:,.1f}" if value >= 10 else f"{value:.3g}"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]], align: str) -> str:
    """Lays out columns; `align` has `<` or `>` for each."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    lines = [
        "  ".join(
            f"{cell:{side}{width}}"
            for cell, side, width in zip(row, align, widths, strict=True)
        ).rstrip()
        for row in (header, *rows)
    ]
    return "\n".join([lines[0], "-" * max(map(len, lines)), *lines[1:]])
