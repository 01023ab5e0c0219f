"""What a run would be, without training: sizes, costs, memory, shardings."""

from __future__ import annotations

import collections
from typing import Any

import jax
import ml_collections
from clu import parameter_overview

from common.models import cost
from common.task import Task
from common.train.experiment import Experiment


def describe(
    task: Task, config: ml_collections.ConfigDict, data_dir: str | None = None
) -> str:
    """Builds and compiles a run and describes it.

    Args:
      task: what would be trained.
      config: validated config.
      data_dir: overrides `config.data.dir`.

    Returns:
      Parameter table, length, FLOPs, compiled memory and shardings, as text.

    Raises:
      ConfigError: something given cannot work.
    """
    experiment = Experiment(task, config, data_dir)
    experiment.check()
    params = experiment.abstract_variables["params"]
    table = parameter_overview.get_parameter_overview(params, include_stats=False)
    compiled = experiment.lower_step(config.grad_accumulation).compile()
    lines = [
        table,
        f"data: {len(experiment.train_source):,} training, "
        f"{len(experiment.eval_source):,} evaluation examples",
        f"length: {experiment.total_steps:,} steps of batch {config.batch_size} "
        f"({experiment.total_steps / experiment.steps_per_epoch:.1f} epochs)",
        _flops(experiment),
        _memory(compiled),
        _shardings(experiment),
    ]
    return "\n".join(lines)


def _flops(experiment: Experiment) -> str:
    """Counts on one example; what a step does besides does not depend on the batch."""
    one = experiment.task.batch_spec(1)
    variables, state = experiment.abstract_variables, experiment.abstract_state
    task = experiment.task
    if task.one_by_one:  # images of any size: one as training sees it

        def look(variables: Any, images: Any) -> Any:
            return task.inference(variables)(images)

        forward = cost.count(look, variables, task.inference_spec()).multiply_adds
    else:
        forward = cost.count(task.evaluate, variables, one).multiply_adds
    step = cost.count(
        experiment.step_function(1), state, one, experiment.abstract_frozen
    ).multiply_adds
    return (
        f"FLOPs of matrix products and convolutions: forward {2 * forward / 1e9:.4g} G "
        f"per example ({forward / 1e9:.4g} G multiply-adds), training step "
        f"{2 * step / 1e9:.4g} G per example"
    )


def _memory(compiled: Any) -> str:
    stats = compiled.memory_analysis()
    if stats is None:
        return "compiled memory: not known on this platform"
    mib = {
        "arguments": stats.argument_size_in_bytes,
        "outputs": stats.output_size_in_bytes,
        "reused": -stats.alias_size_in_bytes,
        "temporary": stats.temp_size_in_bytes,
    }
    parts = ", ".join(f"{name} {abs(size) / 2**20:.1f}" for name, size in mib.items())
    return f"compiled memory per device: {sum(mib.values()) / 2**20:.1f} MiB ({parts})"


def _shardings(experiment: Experiment) -> str:
    shape = ", ".join(f"{k}={v}" for k, v in experiment.mesh.shape.items())
    leaves = jax.tree.leaves(experiment.abstract_state)
    counts = collections.Counter(str(leaf.sharding.spec) for leaf in leaves)
    arrays = ", ".join(f"{count} arrays {spec}" for spec, count in counts.items())
    return (
        f"mesh: {shape} over {experiment.mesh.size} devices\n"
        f"batch: {next(iter(experiment.abstract_batch.values())).sharding.spec}\n"
        f"state: {arrays}"
    )
