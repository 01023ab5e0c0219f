"""Our side of `benchmarks.maxvit`; the driver starts it as a process of its own."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
from flax import traverse_util

from benchmarks import side_by_side
from common import launch
from common.models import cost
from common.parallel import sharding
from common.train import state as states
from common.train.experiment import Experiment
from maxvit import models
from maxvit.config import default_config
from maxvit.tasks import Classification

# Weights are scaled like those of an initialised model; their values cost nothing.
_STDDEV = 0.02


def build(job: Mapping[str, Any]) -> side_by_side.Program:
    """Returns the program of a job; `benchmarks.maxvit` lists its fields."""
    try:
        launch.setup_runtime()  # as every run does
        device = jax.devices()[0]
    except (RuntimeError, AssertionError) as error:  # the latter without a message
        raise RuntimeError(f"JAX finds no {job['platform']}: {error}") from error
    run, facts = _MEASURES[job["measure"]](job)

    def finished() -> None:
        jax.block_until_ready([run() for _ in range(job["calls"])])

    def peak() -> int:
        return (device.memory_stats() or {})["peak_bytes_in_use"]

    facts |= {"jax": jax.__version__, "device": device.device_kind}
    return side_by_side.Program(
        finished, facts, peak if job["platform"] == "gpu" else None
    )


def _matmul(job) -> tuple[Callable[[], Any], dict[str, Any]]:
    keys = jax.random.split(jax.random.key(0))
    a, b = (jax.random.normal(k, (job["size"],) * 2, job["dtype"]) for k in keys)
    product = jax.jit(jnp.matmul).lower(a, b).compile()
    return lambda: product(a, b), {"flops": 2 * job["size"] ** 3}


def _forward(job) -> tuple[Callable[[], Any], dict[str, Any]]:
    model = models.create(
        job["variant"],
        image_size=job["image_size"],
        window_size=job.get("window_size"),
        dtype=job["dtype"],
    )
    size = job["image_size"]
    images = jax.random.normal(jax.random.key(0), (job["batch_size"], size, size, 3))
    variables = _values(jax.eval_shape(model.init, jax.random.key(0), images[:1]))
    facts = _facts(model, variables, images)
    if job["candidate"] == "folded":
        inference: Any = importlib.import_module("maxvit.inference")
        model, variables = inference.fold(model, variables)
    if job["dtype"] != "float32":
        # Inference needs no float32 master weights.
        variables = jax.tree.map(lambda x: x.astype(job["dtype"]), variables)
        images = images.astype(job["dtype"])
    apply = jax.jit(model.apply).lower(variables, images).compile()
    return lambda: apply(variables, images), facts


def _training(job) -> tuple[Callable[[], Any], dict[str, Any]]:
    """The step of the training loop, with a fixed batch of uint8 images."""
    config = _config(job)
    task = Classification(config)
    experiment = Experiment(task, config, devices=jax.devices()[:1])
    variables = _values(experiment.abstract_variables)
    create = functools.partial(states.from_variables, tx=experiment.tx, ema=False)
    state = jax.jit(create, out_shardings=experiment.state_shardings)(variables)
    rng = np.random.default_rng(0)
    batch = {
        name: rng.integers(256, size=spec.shape).astype(spec.dtype)
        for name, spec in task.batch_spec(config.batch_size).items()
    }
    batch = sharding.place(experiment.mesh, batch)
    step = experiment.compile_step()
    images = jnp.zeros(batch["image"].shape, jnp.float32)
    facts = _facts(task.model, variables, images)
    holder: list[Any] = [state]
    del state, variables  # the step gives the state's memory to the next one

    def run() -> Any:
        holder[0], metrics = step(holder[0], batch)
        return metrics

    return run, facts


_MEASURES = {"forward": _forward, "training": _training, "matmul": _matmul}


def _config(job) -> ml_collections.ConfigDict:
    """A plain recipe: cross entropy, AdamW, no stochastic depth."""
    config = default_config()
    config.data.num_classes = 1000
    config.data.image_size = job["image_size"]
    config.model.variant = job["variant"]
    config.model.drop_path_rate = 0.0
    config.dtype = job["dtype"]
    config.batch_size = job["batch_size"]
    config.optimizer.weight_decay = job["decay"]
    config.schedule.name = "constant"
    config.schedule.peak = job["rate"]
    config.total_steps = 1000
    return config


def _values(shapes: Any) -> Any:
    """Random weights without compiling the model's own initialisation."""
    rng = np.random.default_rng(0)

    def value(path: str, spec: jax.ShapeDtypeStruct) -> jax.Array:
        if path.endswith("/kernel"):
            return jnp.asarray(rng.normal(0, _STDDEV, spec.shape), spec.dtype)
        one = path.endswith(("/scale", "/var"))
        return jnp.full(spec.shape, float(one), spec.dtype)

    flat: dict[str, Any] = traverse_util.flatten_dict(shapes, sep="/")
    values = {path: value(path, spec) for path, spec in flat.items()}
    return traverse_util.unflatten_dict(values, sep="/")


def _facts(model: nn.Module, variables: Any, images: jax.Array) -> dict[str, Any]:
    """Returns the parameter count and the multiply-adds of one image's forward pass."""
    counted = cost.count(model.apply, variables, images[:1])
    parameters = sum(x.size for x in jax.tree.leaves(variables["params"]))
    return {
        "parameters": parameters,
        "multiply_adds": counted.multiply_adds,
    }


if __name__ == "__main__":
    side_by_side.serve(build)
