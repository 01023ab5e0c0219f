"""Our side of `benchmarks.jpeg_codec`; the driver starts it as its own process."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import side_by_side
from common.runtime import setup_runtime
from compression import jpeg


def build(job: Mapping[str, Any]) -> side_by_side.Program:
    """Returns the program of a job; `benchmarks.jpeg_codec` lists its fields."""
    images = jnp.asarray(np.load(job["images"])[: job["batch_size"]], jnp.float32)
    tables = jnp.asarray(job["tables"], jnp.float32)
    codec = functools.partial(
        jpeg.roundtrip, subsampling="4:2:0", rounding=job["candidate"]
    )
    facts: dict[str, Any] = {"jax": jax.__version__}
    if job["measure"] == "agreement":
        np.save(job["decoded"], [np.asarray(codec(images, t)[0]) for t in tables])
        return side_by_side.Program(lambda: None, facts)
    weights = np.random.default_rng(0).standard_normal(images.shape, np.float32)
    arguments = (images, tables[0], jnp.asarray(weights))
    compiled = jax.jit(_MEASURES[job["measure"]](codec)).lower(*arguments).compile()
    facts["checksum"] = float(jnp.abs(compiled(*arguments)[0]).mean())

    def run() -> None:
        for _ in range(job["calls"]):
            jax.block_until_ready(compiled(*arguments))

    return side_by_side.Program(run, facts)


def _forward(codec):
    return lambda images, tables, weights: (codec(images, tables),)


def _gradient(codec):
    """Of images and tables, from weights of the decoded pixels; and the latter."""

    def gradient(images, tables, weights):
        decoded, backward = jax.vjp(codec, images, tables)
        return *backward(weights), decoded

    return gradient


_MEASURES = {"forward": _forward, "gradient": _gradient}


if __name__ == "__main__":
    setup_runtime()  # as every run does
    side_by_side.serve(build)
