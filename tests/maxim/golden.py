"""Reference numbers of the official code, and the rule that makes their inputs.

Made by the unmodified model file of google-research/maxim (3c82651) with jax 0.10.2 and
flax 0.12.8 on a CPU. A parameter is a function of its name, an image of its tag.
"""

import functools
import gzip
import json
import pathlib
import zlib

import jax
import jax.numpy as jnp
import numpy as np

from maxim import models

FOLDER = pathlib.Path(__file__).parents[1] / "golden" / "maxim"
# The noise floor is 1e-6 to 4e-6.
ATOL = 2e-5
# Compiling is nearly all of a test's time, and what it compiles runs once.
QUICK = {
    "xla_backend_optimization_level": 0,
    "xla_llvm_disable_expensive_passes": True,
}


@functools.cache
def read(name):
    path = FOLDER / name
    if path.suffix == ".npz":
        with np.load(path) as archive:
            return dict(archive)
    data = path.read_bytes()
    return json.loads(gzip.decompress(data) if path.suffix == ".gz" else data)


def _random(tag):
    return np.random.RandomState(zlib.crc32(tag.encode()) & 0xFFFFFFFF)


def parameter(name, shape):
    values = _random(name).standard_normal(size=tuple(shape))
    match name.rsplit("/", 1)[-1]:
        case "kernel":
            values *= 0.7 / np.sqrt(np.prod(shape[:-1]))
        case "scale":
            values = 1 + 0.1 * values
        case "bias":
            values *= 0.1
    return values.astype(np.float32)


def image(tag, shape):
    return _random(tag).random_sample(tuple(shape)).astype(np.float32)


def features(tag, shape):
    return _random(tag).standard_normal(size=tuple(shape)).astype(np.float32)


def names(tree):
    """Flat names to leaves."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {"/".join(str(key.key) for key in path): leaf for path, leaf in leaves}


def filled(tree):
    """A tree of the same shapes, each leaf as its name says."""
    return jax.tree_util.tree_map_with_path(
        lambda path, leaf: parameter("/".join(str(k.key) for k in path), leaf.shape),
        tree,
    )


def shapes(model, size=64):
    images = jax.ShapeDtypeStruct((1, size, size, 3), jnp.float32)
    return jax.eval_shape(model.init, jax.random.key(0), images)["params"]


def model_of(name):
    """Returns the network of a fixture, and its images."""
    facts = read("models.json")[name]
    config = dict(facts["config"])
    if "variant" not in config:  # explicit fields over the official defaults
        config = {"num_groups": 1, "num_bottleneck_blocks": 1, **config}
    images = image(facts["input_tag"], facts["input_shape"])
    return models.create(**config), images


def run(function, *arguments):
    """Compiles cheaply, and runs."""
    return jax.jit(function).lower(*arguments).compile(QUICK)(*arguments)
