"""Memory, devices and the processes of a run, before anything is computed."""

from __future__ import annotations

import glob
import importlib.util
import logging as std_logging
import os
from collections.abc import Mapping

from absl import logging

from common import host_memory
from common.errors import ConfigError


def setup_runtime(
    coordinator_address: str | None = None,
    num_processes: int | None = None,
    process_id: int | None = None,
) -> None:
    """Sets up memory and connects the processes of a run; before any device use.

    Args:
      coordinator_address: host:port of process 0; with it the other two are needed.
      num_processes: of the run. Without an address, several processes are started by
        SLURM, Open MPI or a TPU pod, which JAX recognises by itself.
      process_id: of this process.

    Raises:
      ConfigError: some but not all of the three were given.
    """
    import jax

    if _only_cpus(os.environ):
        host_memory.keep_freed()
        # Programs run on the thread that calls them, whose memory is kept. There is
        # nothing to overlap them with: data is read on threads of its own.
        jax.config.update("jax_cpu_enable_async_dispatch", False)
    given = (coordinator_address, num_processes, process_id)
    if given != (None, None, None):
        if coordinator_address is None or num_processes is None or process_id is None:
            raise ConfigError(
                "--coordinator_address, --num_processes and --process_id go together"
            )
        if process_id >= num_processes:
            raise ConfigError(
                f"--process_id={process_id} must be below "
                f"--num_processes={num_processes}"
            )
        jax.distributed.initialize(coordinator_address, num_processes, process_id)
    elif _in_cluster(os.environ):
        jax.distributed.initialize()
    if jax.process_count() > 1:
        prefix = f"[{jax.process_index()}] "
        logging.get_absl_handler().setFormatter(
            std_logging.Formatter(prefix + "%(asctime)s %(message)s", "%H:%M:%S")
        )
    logging.info(
        "%d x %s, process %d of %d",
        jax.device_count(),
        jax.devices()[0].device_kind,
        jax.process_index(),
        jax.process_count(),
    )


def _only_cpus(environment: Mapping[str, str]) -> bool:
    """Whether JAX will use the CPU: it must, or nothing else is installed."""
    if platforms := environment.get("JAX_PLATFORMS"):
        return platforms == "cpu"
    return not any(map(importlib.util.find_spec, ("jax_plugins", "libtpu")))


def _in_cluster(environment: Mapping[str, str]) -> bool:
    """Whether this is a TPU, or a launcher that JAX recognises started several.

    On a TPU the metadata server knows the other hosts, and one host is a pod of one.
    """
    if importlib.util.find_spec("libtpu") and (
        glob.glob("/dev/accel*") or glob.glob("/dev/vfio/[0-9]*")
    ):
        return True
    steps = ("SLURM_STEP_NUM_TASKS", "OMPI_COMM_WORLD_SIZE")
    tasks = next((environment[name] for name in steps if name in environment), 1)
    return int(tasks) > 1
