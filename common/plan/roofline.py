"""A lower bound of a step's time on a named chip, from three limits."""

from __future__ import annotations

import dataclasses

from common.plan.chips import Chip
from common.plan.planner import Plan

MODEL = """\
Each step is bounded by compute (FLOPs of matrix products and convolutions at the
bfloat16 peak), memory (results that cannot be fused away, each written once and read by
whoever needs it, and the train state) and network (collectives on rings, at the speed
of a link inside a pod of TPUs or a node of GPUs and at the speed out of it otherwise).
The largest of the three is the time if the others hide behind it perfectly. Peaks are
never reached, and latencies, copies between layouts and input are left out: this is an
estimate, and real steps are slower. Compared with one accelerator's compiler, the bytes
moved and so the memory time were about half of its count, and it needed up to 1.5 times
the intermediate memory that is estimated here with nothing fused. So a step is called
likely to fit if it does with 1.5 times that, and may fit if it does with all
elementwise work fused."""

# Of 1.05 GiB, unfused, that compiler took 1.54: see `common.plan.intermediates`.
_MARGIN = 1.5


@dataclasses.dataclass(frozen=True)
class Estimate:
    """Seconds of one step on one chip.

    Attributes:
      chip: its name.
      compute: at the peak of its matrix units.
      memory: at the speed of its memory.
      network: at the speed of its links; None where that is not published.
      fits: "likely", "perhaps" or "unlikely".
    """

    chip: str
    compute: float
    memory: float
    network: float | None
    fits: str

    @property
    def bound(self) -> str:
        """What limits the step."""
        limits = {"compute": self.compute, "memory": self.memory}
        if self.network is not None:
            limits["network"] = self.network
        return max(limits, key=limits.__getitem__)

    @property
    def step(self) -> float:
        """The largest of the limits."""
        return getattr(self, self.bound)


def estimate(plan: Plan, chip: Chip) -> Estimate:
    """Bounds the time of a planned step from below."""
    return Estimate(
        chip=chip.name,
        compute=2 * plan.cost.multiply_adds / chip.flops,
        memory=plan.memory.moved / chip.bandwidth,
        network=_network(plan, chip),
        fits=_fits(plan, chip),
    )


def _network(plan: Plan, chip: Chip) -> float | None:
    seconds = 0.0
    for collective in plan.program.collectives:
        speed = chip.link if collective.span <= chip.pod else chip.beyond
        if speed is None:
            return None
        seconds += collective.sent * collective.times / speed
    return seconds


def _fits(plan: Plan, chip: Chip) -> str:
    memory = plan.memory
    if memory.held + _MARGIN * memory.unfused <= chip.memory:
        return "likely"
    return "perhaps" if memory.held + memory.fused <= chip.memory else "unlikely"
