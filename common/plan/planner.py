"""Compiles a training step for devices that are not there, and measures it."""

from __future__ import annotations

import dataclasses
import math
import tempfile
from pathlib import Path
from typing import Any

import jax
import ml_collections
from absl import logging

from common.models import cost
from common.plan import hlo, intermediates
from common.task import Task
from common.train.experiment import Experiment

# The program is not run: no time is spent on making it fast. The pass that splits it
# over the devices writes its result to a folder; what follows is this backend's own.
_OPTIONS: dict[str, bool | str] = {
    "xla_backend_optimization_level": "0",
    "xla_dump_hlo_pass_re": "spmd-partitioning",
}


@dataclasses.dataclass(frozen=True)
class Memory:
    """Bytes on one device.

    Attributes:
      arguments: name -> size of the parts of the train state and of the batch, as the
        shardings say. Exact.
      new_outputs: results that take no argument's place. Exact.
      fused: intermediate results if elementwise work is fused; an estimate, see
        `common.plan.intermediates`.
      unfused: the same if nothing is fused, and with every split parameter whole at
        once.
      moved: read and written by a step outside of the arguments, if fused; an estimate.
      compiled: intermediate results in the program compiled for virtual CPU devices,
        whose compiler fuses and reuses otherwise than an accelerator's.
    """

    arguments: dict[str, int]
    new_outputs: int
    fused: int
    unfused: int
    moved: int
    compiled: int

    @property
    def held(self) -> int:
        """What the device holds before and after a step."""
        return sum(self.arguments.values()) + self.new_outputs


@dataclasses.dataclass(frozen=True)
class Plan:
    """A training step on a mesh.

    Attributes:
      mesh: axis -> size.
      batch_size: over all devices.
      dtype: of the activations.
      parameters: of the model.
      parameters_per_device: after splitting.
      memory: of one device.
      program: what one device sends, after the program was split and before a backend
        merged or widened anything.
      cost: of one device's matrix products and convolutions, recomputation included.
      classes: assumed number of classes, where only the data would say it.
    """

    mesh: dict[str, int]
    batch_size: int
    dtype: str
    parameters: int
    parameters_per_device: int
    memory: Memory
    program: hlo.Program
    cost: cost.Cost
    classes: int | None

    @property
    def devices(self) -> int:
        """Number of devices."""
        return math.prod(self.mesh.values())


def make(task: Task, config: ml_collections.ConfigDict, devices: int) -> Plan:
    """Plans the training step of an experiment.

    Args:
      task: what would be trained; it must take its data from `config.data`, which is
        not opened.
      config: validated config, whose mesh spans the devices.
      devices: how many; virtual ones are made, so no device may be in use yet, unless
        there are enough.

    Raises:
      ConfigError: the mesh, the batch size or a field does not fit.
    """
    _make_virtual(devices)
    config.data.source = "fake"
    classes_known = config.data.num_classes is not None
    experiment = Experiment(task, config, devices=jax.devices()[:devices])
    experiment.check()
    program, compiled = _compile(experiment)
    step = _local_step(experiment)
    state = experiment.abstract_state
    return Plan(
        mesh=dict(experiment.mesh.shape),
        batch_size=config.batch_size,
        dtype=config.dtype,
        parameters=sum(x.size for x in jax.tree.leaves(state.params)),
        parameters_per_device=sum(map(_elements, jax.tree.leaves(state.params))),
        memory=_memory(experiment, compiled, step),
        program=program,
        cost=cost.of_jaxpr(step),
        classes=None if classes_known else config.data.num_classes,
    )


def _make_virtual(devices: int) -> None:
    try:
        jax.config.update("jax_num_cpu_devices", devices)
        jax.config.update("jax_platforms", "cpu")
    except RuntimeError:  # a backend is in use already; with enough devices it serves
        if len(jax.devices()) < devices:
            raise


def _compile(experiment: Experiment) -> tuple[hlo.Program, Any]:
    """Returns what the split program sends, and the compiled step."""
    lowered = experiment.lower_step(experiment.config.grad_accumulation)
    with tempfile.TemporaryDirectory() as folder:
        compiled = lowered.compile(_OPTIONS | {"xla_dump_to": folder})
        split = sorted(Path(folder).glob("*.after_spmd-partitioning.*.txt"))
        if not split and experiment.mesh.size > 1:
            logging.warning("no split program to read: sizes are as compiled here")
        text = split[-1].read_text() if split else compiled.as_text() or ""
    return hlo.parse(text, experiment.mesh.size), compiled


def _local_step(experiment: Experiment) -> Any:
    """Returns the jaxpr of the step on one device's share of the batch."""
    config = experiment.config
    share = experiment.task.batch_spec(config.batch_size // experiment.mesh.size)
    state = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), experiment.abstract_state
    )
    step = experiment.step_function(config.grad_accumulation)
    return jax.make_jaxpr(step)(state, share, experiment.abstract_frozen).jaxpr


def _memory(experiment: Experiment, compiled: Any, step: Any) -> Memory:
    state = experiment.abstract_state
    stats = compiled.memory_analysis()
    parts = {
        "parameters": state.params,
        "optimizer": state.opt_state,
        "moving average": state.ema,
        "model state": state.model_state,
        "counters": (state.step, state.guard),
        "batch": experiment.abstract_batch,
        "frozen": experiment.abstract_frozen,
    }
    split = [x for x in jax.tree.leaves(state.params) if _elements(x) < x.size]
    return Memory(
        arguments={name: _shard_bytes(part) for name, part in parts.items()},
        new_outputs=stats.output_size_in_bytes - stats.alias_size_in_bytes,
        fused=intermediates.peak(step, fused=True, in_place=True),
        unfused=intermediates.peak(step, fused=False, in_place=True)
        + sum(x.size * x.dtype.itemsize for x in split),
        moved=intermediates.moved(step),
        compiled=stats.temp_size_in_bytes,
    )


def _elements(array: Any) -> int:
    """Elements of an abstract array that one device holds."""
    return math.prod(array.sharding.shard_shape(array.shape))


def _shard_bytes(tree: Any) -> int:
    return sum(_elements(x) * x.dtype.itemsize for x in jax.tree.leaves(tree))
