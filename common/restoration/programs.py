"""A network compiled once for each size of its images, if the memory is enough."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable
from typing import Any

import jax
import numpy as np
from absl import logging

from common.errors import DataError
from common.restoration import memory
from common.task import Variables

Apply = Callable[[Variables, jax.Array], jax.Array]


# A run can take more than is known of its program: on CPUs, MAXIM's S-2 took a quarter
# more at 512 x 512 (1008 MiB in place of 800), for what its convolutions work with.
_USABLE = 0.8
# XLA's default order of operations on CPUs lets more of them run at once, which gains
# these networks nothing and holds more memory (benchmarks/README.md).
_OPTIONS: dict[str, dict[str, bool | str]] = {
    "cpu": {"xla_cpu_scheduler_type": "CPU_SCHEDULER_TYPE_MEMORY_OPTIMIZED"}
}


class Programs:
    """Runs a function of variables and images, and keeps what it compiled."""

    def __init__(self, apply: Apply, multiple: int):
        """Compiles nothing yet.

        Args:
          apply: variables and float32 images `[1, H, W, 3]` to the same shape.
          multiple: of the sides of the images; for the advice on tiles.
        """
        self._jitted = jax.jit(apply)
        self._multiple = multiple
        self._compiled: dict[Hashable, jax.stages.Compiled] = {}
        self._fit: set[Hashable] = set()

    def __call__(self, variables: Variables, images: np.ndarray) -> np.ndarray:
        """Returns the function's result in float32.

        Raises:
          DataError: the memory is too small.
        """
        key = (images.shape, _signature(variables))
        try:
            program = self._compiled.get(key) or self._compile(variables, images)
            self._compiled[key] = program
            if key not in self._fit:
                self._check_memory(program, images)
                self._fit.add(key)
            return np.asarray(program(variables, images), np.float32)
        except jax.errors.JaxRuntimeError as error:
            if "RESOURCE_EXHAUSTED" not in str(error):
                raise
            # How much fits is not known: half the side is a quarter of the pixels.
            tile, needs = max(images.shape[1:3]) / 2, "more memory than there is"
            raise self._too_large(images, needs, tile) from error

    def _compile(self, variables: Variables, images: np.ndarray) -> jax.stages.Compiled:
        began = time.perf_counter()
        program = compile_lowered(self._jitted.lower(variables, images))
        seconds = time.perf_counter() - began
        height, width = images.shape[1:3]
        logging.info("compiled for %d x %d in %.1f s", width, height, seconds)
        return program

    def _check_memory(self, program: jax.stages.Compiled, images: np.ndarray) -> None:
        (device,) = jax.tree.leaves(program.output_shardings)[0].device_set
        free, need = memory.available(device), memory.needed(program)
        if free is None or need <= _USABLE * free:
            return
        # What a program needs grows with its pixels.
        tile = (_USABLE * free / need * images.shape[1] * images.shape[2]) ** 0.5
        gib = f"{need / 2**30:.1f} GiB of memory, of which {free / 2**30:.1f} are free"
        raise self._too_large(images, gib, tile)

    def _too_large(self, images: np.ndarray, needs: str, tile: float) -> DataError:
        height, width = images.shape[1:3]
        side = max(int(tile) // self._multiple, 1) * self._multiple
        smaller = side < max(height, width)
        advice = f"; --mode=predict can cut it: use --tile={side}" if smaller else ""
        return DataError(f"{width} x {height} pixels at once need {needs}{advice}")


def compile_lowered(lowered: jax.stages.Lowered) -> jax.stages.Compiled:
    """Compiles a network for images, in as little memory as it can do with."""
    return lowered.compile(_OPTIONS.get(jax.default_backend()))


def _signature(variables: Variables) -> Hashable:
    """What of the variables a program is compiled for."""
    leaves, structure = jax.tree.flatten(variables)
    kinds = ((x.shape, x.dtype, getattr(x, "sharding", None)) for x in leaves)
    return structure, tuple(kinds)


def to_bfloat16(variables: Variables) -> Any:
    """Halves the memory of variables; on the host, array by array."""

    def cast(array: Any) -> Any:
        if not jax.numpy.issubdtype(array.dtype, jax.numpy.floating):
            return array
        narrow = np.asarray(array).astype(jax.numpy.bfloat16)
        return jax.device_put(narrow, getattr(array, "sharding", None))

    return jax.tree.map(cast, variables)
