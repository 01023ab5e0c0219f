"""One program of `benchmarks.maxim`: a MAXIM, ours or the plain one, on one size."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import side_by_side
from common.restoration.programs import compile_lowered, to_bfloat16
from common.runtime import setup_runtime
from maxim import models


def build(job: Mapping[str, Any]) -> side_by_side.Program:
    """Compiles the restored image alone, and reports what that took.

    Args:
      job: `form` "ours" or "plain", `variant`, `height`, `width`, `platform`, and
        `memory_only`, to compile and not to run, and `lean`, to compile the plain
        one, too, with the options of ours.
    """
    gpu = job["platform"] == "gpu"
    dtype = jnp.bfloat16 if gpu else jnp.float32
    model = models.create(job["variant"], dtype=dtype)
    shape = (1, job["height"], job["width"], 3)
    variables = _values(model)
    variables = to_bfloat16(variables) if gpu else variables
    images = np.random.default_rng(0).random(shape, np.float32)
    began = time.perf_counter()
    lowered = jax.jit(_function(job, model, dtype)).lower(variables, images)
    traced = time.perf_counter()
    lean = job["form"] == "ours" or job["lean"]
    program = compile_lowered(lowered) if lean else lowered.compile()
    compiled = time.perf_counter()
    analysis: Any = program.memory_analysis()
    cost: Any = lowered.cost_analysis()
    facts = {
        "trace_seconds": traced - began,
        "compile_seconds": compiled - traced,
        "temporary_bytes": analysis.temp_size_in_bytes,
        "flops": cost["flops"],
        "device": jax.devices()[0].device_kind,
    }
    if job["memory_only"]:
        return side_by_side.Program(run=lambda: None, facts=facts)
    variables, images = jax.device_put((variables, images))
    facts["checksum"] = float(jnp.mean(jnp.abs(program(variables, images))))

    def run() -> None:
        # On a GPU one call is too short to time.
        calls = [program(variables, images) for _ in range(10 if gpu else 1)]
        jax.block_until_ready(calls)

    return side_by_side.Program(run=run, facts=facts)


def _function(job: Mapping[str, Any], model: models.MAXIM, dtype: Any) -> Any:
    if job["form"] == "ours":
        return lambda v, x: model.apply(v, x, method="restore")
    from benchmarks.maxim_plain import Plain

    plain: Any = Plain(features=model.features, num_stages=model.num_stages)
    return lambda v, x: plain.apply(v, x.astype(dtype))[-1][-1]


def _values(model: models.MAXIM) -> Any:
    """Random variables, the same in every process, without compiling their drawing."""
    side = model.size_multiple
    images = jax.ShapeDtypeStruct((1, side, side, 3), jnp.float32)
    shapes = jax.eval_shape(model.init, jax.random.key(0), images)
    rng = np.random.default_rng(0)

    def draw(leaf: jax.ShapeDtypeStruct) -> np.ndarray:
        scale = 0.7 / np.sqrt(np.prod(leaf.shape[:-1])) if leaf.ndim > 1 else 0.1
        return (scale * rng.standard_normal(leaf.shape)).astype(np.float32)

    return jax.tree.map(draw, shapes)


if __name__ == "__main__":
    setup_runtime()  # as every run does
    side_by_side.serve(build)
