"""A task small enough for every test of the loop, with all that can go wrong.

A perceptron with batch norm and dropout on the bundled digits: every kind of state
that a resume must bring back. `config.model` holds the faults to inject.
"""

import dataclasses
import time

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from common import config as configs
from common.data import sources, transforms
from common.task import LossOutput, Monitor, Task


def get_config(**overrides):
    config = configs.default()
    config.task = "toy"
    config.data.source = "bundled"
    config.data.name = "digits"
    config.data.num_classes = 10
    config.data.max_bad_examples = 0
    config.batch_size = 64
    config.eval_batch_size = 64
    config.total_steps = 40
    config.eval_every_steps = 20
    config.checkpoint_every_steps = 10
    config.log_every_steps = 1
    config.optimizer.weight_decay = 0.01
    config.optimizer.no_decay = ("bias", "scale")
    config.schedule.peak = 1e-2
    config.model.dropout = 0.1
    config.model.nan_steps = ()  # steps whose loss is NaN
    config.model.slow_trace = 0.0  # seconds that tracing takes, as compiling would
    config.model.slow_step = 0.0  # seconds per training batch
    config.model.slow_eval = 0.0  # seconds per evaluation example
    for name, value in overrides.items():
        with config.unlocked():
            config.update_from_flattened_dict({name.replace("__", "."): value})
    return config


class Perceptron(nn.Module):
    dropout: float

    @nn.compact
    def __call__(self, x, train):
        x = nn.Dense(32, name="hidden")(x)
        x = nn.relu(nn.BatchNorm(not train, momentum=0.9, name="norm")(x))
        x = nn.Dropout(self.dropout, deterministic=not train)(x)
        return nn.Dense(10, name="out")(x)


@dataclasses.dataclass(frozen=True)
class Sleep(transforms.Map):
    seconds: float

    def map(self, element):
        time.sleep(self.seconds)
        return element


class Toy(Task):
    monitor = Monitor("top1")

    @property
    def model(self):
        return Perceptron(self.config.model.dropout)

    def source(self, split, data_dir):
        return sources.open_source(self.config.data, split, data_dir)

    def transforms(self, split):
        model = self.config.model
        if split == "eval":
            return [Sleep(model.slow_eval), transforms.ToArray()]
        move = transforms.RandomAffine(10, 0.05)
        slow = Sleep(model.slow_step / self.config.batch_size)
        return [slow, move, transforms.ToArray()]

    def batch_spec(self, size):
        number = jax.ShapeDtypeStruct((size,), jnp.int32)
        image = jax.ShapeDtypeStruct((size, 8, 8, 3), jnp.uint8)
        return {"image": image, "label": number, "id": number}

    def _inputs(self, batch):
        return batch["image"][..., 0].reshape(-1, 64) / 255.0

    def init(self, key, batch):
        return self.model.init(key, self._inputs(batch), train=False)

    def loss(self, variables, batch, key):
        time.sleep(self.config.model.slow_trace)
        logits, model_state = self.model.apply(
            variables,
            self._inputs(batch),
            train=True,
            mutable=["batch_stats"],
            rngs={"dropout": key},
        )
        loss = optax.softmax_cross_entropy_with_integer_labels(logits, batch["label"])
        base = jax.random.key(self.config.seed)
        for step in self.config.model.nan_steps:
            bad = jax.random.key_data(jax.random.fold_in(base, step))
            hit = jnp.all(jax.random.key_data(key) == bad)
            loss = jnp.where(hit, jnp.nan, loss)
        return LossOutput(loss, model_state, {"id": batch["id"].astype(jnp.float32)})

    def evaluate(self, variables, batch):
        logits = self.model.apply(variables, self._inputs(batch), train=False)
        return {"hit": jnp.argmax(logits, -1) == batch["label"]}

    def summarize(self, outputs):
        return {"top1": float(np.mean(outputs["hit"])), "seen": len(outputs["id"])}

    def predict(self, variables, paths, home):
        return [f"{path}: none" for path in paths]
