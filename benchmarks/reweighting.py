"""What weights of examples cost: a training step with them and without.

    python -m benchmarks.reweighting

Steps are those of `Experiment.compile_step` on a fixed batch, and the two alternate, so
a slow moment of the machine hits both. The weights are those of 1.3 million examples,
whatever the data has: the step's batch names random ones. Prints medians, the ratio of
each round's, and the bytes that the weights take.
"""

import contextlib
import statistics
import time
from typing import Any

import jax
import numpy as np

from common import config as configs
from common.train.experiment import Experiment
from configs.maxvit import digits as maxvit_digits
from configs.robust import digits
from maxvit.tasks import Classification as MaxViT
from robust.classification import Classification

EXAMPLES = 1_300_000
ROUNDS, STEPS = 15, 5


class Side:
    """One step function with its state."""

    def __init__(self, kind: Any, config: Any, mode: str):
        config.reweighting.mode = mode
        config.reweighting.eta = 0.05
        configs.validate(config, ["classification"])
        # With the number given, weights are of so many examples.
        experiment = Experiment(
            kind(config), config, devices=jax.devices()[:1], num_weighted=EXAMPLES
        )
        experiment.check()
        self.step, self.state = experiment.compile_step(), experiment.init_state()
        with contextlib.closing(experiment.train_iterator()) as batches:
            self.batch = dict(next(batches))
        ids = np.random.default_rng(0).choice(EXAMPLES, len(self.batch["id"]))
        self.batch["id"] = jax.device_put(ids.astype(np.int32))
        self.seconds()

    def seconds(self) -> float:
        """Runs a few steps; returns the time of one."""
        began = time.perf_counter()
        for _ in range(STEPS):
            self.state, _ = self.step(self.state, self.batch)
        jax.block_until_ready(self.state)
        return (time.perf_counter() - began) / STEPS

    def bytes(self) -> int:
        """Size of the weights."""
        leaves = jax.tree.leaves(self.state.weights)
        return sum(leaf.nbytes for leaf in leaves)


def resnet() -> Any:
    """A CIFAR ResNet-20 on digits enlarged to 32 pixels."""
    config = digits.get_config()
    config.data.image_size = 32
    config.model.name = "resnet20"
    config.batch_size = 128
    return config


def main() -> None:
    """Prints a line for each network."""
    networks = {
        "ResNet-20, 32 pixels, batch 128": (Classification, resnet),
        "small MaxViT of the demo, batch 64": (MaxViT, maxvit_digits.get_config),
    }
    for name, (kind, make) in networks.items():
        sides = [Side(kind, make(), mode) for mode in ("", "deferred")]
        times = [[side.seconds() for side in sides] for _ in range(ROUNDS)]
        without, with_ = (
            statistics.median(column) for column in zip(*times, strict=True)
        )
        ratio = statistics.median(b / a for a, b in times)
        print(
            f"{name}: {1e3 * without:.1f} ms, with weights {1e3 * with_:.1f} ms, ratio "
            f"{ratio:.3f}; weights {sides[1].bytes() / 1e6:.1f} MB"
        )


if __name__ == "__main__":
    main()
