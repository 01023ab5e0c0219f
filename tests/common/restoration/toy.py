"""A task whose network multiplies, by which one sees that it ran, and on what."""

import jax.numpy as jnp
import numpy as np

from common.checkpoint import weights
from common.restoration.inference import Restorer
from tests.common import toy


class Toy(toy.Toy):
    def init(self, key, batch):
        return {"params": {"gain": jnp.ones(3)}}

    def restorer(self, variables, bfloat16):
        def apply(variables, images):
            assert images.shape[1] % 8 == images.shape[2] % 8 == 0
            return images * variables["params"]["gain"]

        return Restorer(apply, variables, 8, bfloat16)


def save_gain(path, gain):
    weights.save(path, {"params": {"gain": np.full(3, gain, np.float32)}})
    return str(path)


def preset(name):
    return "tests/common/toy_config.py", name
