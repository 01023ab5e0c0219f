"""`--mode=plan`: from flags to a plan."""

from __future__ import annotations

from pathlib import Path

import ml_collections

from common import config as configs
from common.errors import ConfigError
from common.parallel.mesh import AXES
from common.plan import planner, report
from common.task import Task


def run(
    task: Task,
    config: ml_collections.ConfigDict,
    devices: int,
    mesh: str | None,
    workdir: str | None,
) -> str:
    """Plans the training step and returns the report.

    Args:
      task: what would be trained.
      config: validated config; its data source becomes generated images.
      devices: how many to plan for.
      mesh: such as "data:64,fsdp:4"; None for the config's.
      workdir: where `plan.json` is written, if anywhere.

    Raises:
      ConfigError: the mesh does not make so many devices, or the batch does not spread
        over them.
    """
    if mesh is not None:
        config.mesh.update(parse_mesh(mesh, devices))
    plan = planner.make(task, config, devices)
    if workdir is not None:
        configs.write_json(Path(workdir) / "plan.json", report.as_json(plan))
    return report.text(plan)


def parse_mesh(text: str, devices: int) -> dict[str, int]:
    """Reads "data:64,fsdp:4"; an axis that is left out has size 1.

    Raises:
      ConfigError: no such axis, no such size, or another number of devices.
    """
    sizes: dict[str, int] = {}
    for part in text.split(","):
        axis, colon, size = part.strip().partition(":")
        if not (colon and size.isdecimal() and int(size)) or axis in sizes:
            raise ConfigError(
                f"--mesh={text}: give every axis once with its size, as in "
                "data:64,fsdp:4"
            )
        if axis not in AXES:
            raise ConfigError(f"--mesh={text}: {configs.unknown('axis', axis, AXES)}")
        sizes[axis] = int(size)
    sizes = {axis: sizes.get(axis, 1) for axis in AXES}
    product = sizes["data"] * sizes["fsdp"]
    if product != devices:
        raise ConfigError(
            f"--mesh={text} makes {product} devices "
            f"(data {sizes['data']} x fsdp {sizes['fsdp']}), --devices is {devices}"
        )
    return sizes
