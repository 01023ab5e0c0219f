"""A small MAXIM and weight files of it, as the official code would write them."""

import functools

import jax
import numpy as np

from common.checkpoint import matching
from maxim import models

# Of no named variant; every kind of layer is in it.
SMALL = {
    "features": 4,
    "depth": 2,
    "num_groups": 1,
    "num_bottleneck_blocks": 1,
    "num_supervision_scales": 2,
    "block_size_hr": (4, 4),
    "grid_size_hr": (4, 4),
    "block_size_lr": (2, 2),
    "grid_size_lr": (2, 2),
}


def small(**fields):
    return models.create("S-1", **SMALL | fields)


@functools.cache
def shapes(model):
    side = model.size_multiple
    image = jax.ShapeDtypeStruct((1, side, side, 3), np.float32)
    params = jax.eval_shape(model.init, jax.random.key(0), image)["params"]
    return {name: leaf.shape for name, leaf in matching.leaves(params)}


def arrays(names_to_shapes, prefix="opt/target/"):
    """Random numbers; those of an optimiser come with them if the prefix is its."""
    draw = np.random.default_rng(0).standard_normal
    flat = {
        prefix + name: draw(shape, np.float32)
        for name, shape in names_to_shapes.items()
    }
    if prefix == "opt/target/":
        for name in names_to_shapes:
            for moment in ("grad_ema", "grad_sq_ema"):
                flat[f"opt/state/param_states/{name}/{moment}"] = np.ones(2)
        flat["opt/state/step"] = np.asarray(7, np.int32)
    return flat
