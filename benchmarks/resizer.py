"""What a learned resizer costs in a training step, beside its share of the FLOPs.

    python -m benchmarks.resizer

A step is loss and gradients of a network that sees 224 pixels of images of 448, behind
the learned resizer and behind the bilinear one. The two alternate, so a slow moment of
the machine hits both. The resizer's share of a step is what is gone without it, of the
time and, since a shared machine makes that useless, of the processor time. Its share of
the FLOPs is counted in both programs, products and convolutions alone, as they are run:
forwards and backwards, without gradients of the images.
"""

import statistics
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from absl import app, flags

from common import host_memory
from common.models import cost
from resizer import models

_BACKBONES = flags.DEFINE_list("backbones", ["resnet50"], "Networks of the registry.")
_BATCH = flags.DEFINE_integer("batch", 4, "Images of a step.")
_ROUNDS = flags.DEFINE_integer("rounds", 7, "Steps of each that are timed.")
INPUT, OUTPUT, CLASSES = 448, 224, 1000
LIMIT = 1.5


class Side:
    """A compiled step of one model, with its arguments."""

    def __init__(self, backbone: str, kind: str, batch: int):
        model = models.create(
            num_classes=CLASSES,
            image_size=INPUT,
            backbone=backbone,
            output_size=OUTPUT,
            resizer={"kind": kind},
        )
        shape = (batch, INPUT, INPUT, 3)
        images = jax.random.normal(jax.random.key(0), shape)
        variables = jax.jit(model.init)(jax.random.key(1), images[:1])
        self.arguments = variables, images, jnp.arange(batch)
        self.program: Any = jax.jit(_step(model)).lower(*self.arguments).compile()
        self.flops = 2 * cost.count(_step(model), *self.arguments).multiply_adds
        self.seconds()

    def seconds(self) -> tuple[float, float]:
        """Runs a step; returns its time, and its processor time."""
        began = time.perf_counter(), time.process_time()
        jax.block_until_ready(self.program(*self.arguments))
        return time.perf_counter() - began[0], time.process_time() - began[1]


def _step(model: models.ResizedModel) -> Callable[..., Any]:
    """Returns the function of a step: gradients, and the new statistics."""

    def loss(params, state, images, labels):
        logits, state = model.apply(
            {"params": params, **state},
            images,
            train=True,
            mutable=list(state),
            rngs={"dropout": jax.random.key(0)},
        )
        each = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
        return each.mean(), state

    def step(variables, images, labels):
        state = {name: tree for name, tree in variables.items() if name != "params"}
        return jax.grad(loss, has_aux=True)(variables["params"], state, images, labels)

    return step


def compare(backbone: str, batch: int, rounds: int) -> str:
    """Returns a line of results."""
    learned, plain = (Side(backbone, kind, batch) for kind in ("learned", "bilinear"))
    of_flops = 1 - plain.flops / learned.flops
    taken = [(learned.seconds(), plain.seconds()) for _ in range(rounds)]
    found = [
        f"{backbone}, {INPUT} to {OUTPUT}, batch {batch}: the resizer has "
        f"{100 * of_flops:.1f} % of {learned.flops / 1e9 / batch:.1f} GFLOPs an image"
    ]
    for index, name in enumerate(("time", "processor time")):
        pairs = [(with_[index], without[index]) for with_, without in taken]
        with_, without = map(statistics.median, zip(*pairs, strict=True))
        ratios = [(1 - b / a) / of_flops for a, b in pairs]
        found.append(
            f"{name} {with_:.2f} s, {without:.2f} s without it, a share of "
            f"{100 * (1 - without / with_):.1f} %, {statistics.median(ratios):.2f} "
            f"times that (rounds {min(ratios):.2f} to {max(ratios):.2f}, limit {LIMIT})"
        )
    return "; ".join(found)


def main(argv: list[str]) -> None:
    """Prints a line for each network."""
    del argv
    # As `common.runtime` sets up training on CPUs.
    host_memory.keep_freed()
    jax.config.update("jax_cpu_enable_async_dispatch", False)
    print(f"{jax.devices()[0].device_kind}, jax {jax.__version__}")
    for backbone in _BACKBONES.value:
        print(compare(backbone, _BATCH.value, _ROUNDS.value), flush=True)


if __name__ == "__main__":
    app.run(main)
