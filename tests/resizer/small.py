"""Small models of this package's tests, without initialisers or training."""

import functools

import jax
import numpy as np

from common import config as configs
from common.checkpoint import weights
from resizer import phases
from resizer.config import default_config, shrink
from resizer.tasks import Classification

# Compiling is nearly all of the time of these tests.
quick = functools.partial(
    jax.jit,
    compiler_options={
        "xla_backend_optimization_level": 0,
        "xla_llvm_disable_expensive_passes": True,
    },
)


def config_of(resizer="learned", phase=1, **fields):
    config = default_config()
    config.data.source = "fake"
    config.data.num_classes = 3
    phases.choose(config, resizer)
    phases.apply(config, phase)
    shrink(config)
    config.model.options = {"hidden": 4, "kernels": 2}
    config.data.image_size, config.model.output_size = 16, 8
    for name, value in fields.items():
        with config.unlocked():
            config.update_from_flattened_dict({name.replace("__", "."): value})
    return config


def noise(*shape, seed=0, dtype=np.float32):
    """Normal values; of NumPy, since each shape of JAX's would be compiled."""
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


def filled(shapes, seed=0):
    """Random values for variables, in no time: no initialiser is compiled."""
    rng = np.random.default_rng(seed)

    def fill(path, leaf):
        if path[-1].key in ("scale", "var"):
            return np.ones(leaf.shape, leaf.dtype)
        if path[-1].key in ("bias", "mean"):
            return np.zeros(leaf.shape, leaf.dtype)
        return rng.normal(0, 0.2, leaf.shape).astype(leaf.dtype)

    return jax.tree_util.tree_map_with_path(fill, shapes)


def described(task):
    """The variables of a task's model, abstract."""
    return jax.eval_shape(task.init, jax.random.key(0), task.batch_spec(1))


def run_of(folder, config=None, seed=0):
    """Writes what `--mode=predict` needs of a run; returns task and variables."""
    config = config or config_of()
    task = Classification(config)
    variables = filled(described(task), seed)
    folder.mkdir(parents=True, exist_ok=True)
    weights.save(folder / "weights.safetensors", variables)
    configs.save(config, folder, {})
    return task, variables
