"""Models and variables that are cheap to make."""

import math

import jax
import jax.numpy as jnp
import numpy as np

from common.size import height_width


def count(tree):
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(tree))


def shapes(model, image_size=224):
    images = jnp.zeros((1, *height_width(image_size), 3))
    return jax.eval_shape(model.init, jax.random.key(0), images)


def filled(model, image_size):
    """Returns variables in which every branch matters; no compilation as in `init`."""
    rng = np.random.default_rng(0)

    def fill(path, leaf):
        values = rng.normal(size=leaf.shape).astype(np.float32)
        if path[-1].key in ("scale", "var"):
            return np.exp(0.1 * values)
        fan_in = math.prod(leaf.shape[:-1]) if leaf.ndim > 1 else 100
        return values / np.float32(np.sqrt(fan_in))

    return jax.tree_util.tree_map_with_path(fill, shapes(model, image_size))
