"""Trained classifiers that judge images while something else is learned.

    classifier = frozen.load("maxvit", workdir="runs/photo_tiles")
    step = jax.jit(lambda classifier, images: classifier.logits(images))

A classifier is a pytree whose leaves are its weights: as an argument of a jitted
function they stay arrays, in a closure they would become constants of the program.
"""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import flax
import jax
import jax.numpy as jnp
import ml_collections

from common import classification, modes
from common import config as configs
from common.classification import Classification
from common.errors import ConfigError, DataError
from common.models import registry
from common.size import height_width
from common.task import Variables

# Of every classifier, whichever package it is from.
_TASK = "classification"


@flax.struct.dataclass
class FrozenClassifier:
    """A classifier whose weights do not change.

    Attributes:
      variables: of its model.
      task: knows the model, and how images are cropped and normalised for it.
      class_names: one for each logit; a number where none is known.
    """

    variables: Variables
    task: Classification = flax.struct.field(pytree_node=False)
    class_names: tuple[str, ...] = flax.struct.field(pytree_node=False)

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width of the images it was built for, in pixels."""
        return height_width(self.task.config.data.image_size)

    @property
    def num_classes(self) -> int:
        """Width of the logits."""
        return self.task.num_classes

    def logits(self, images: jax.Array) -> jax.Array:
        """Returns float32 logits `[B, K]`, differentiable in the images alone.

        Args:
          images: `[B, H, W, 3]` in [0, 255]; floats, or uint8 without gradient. They
            are normalised here; resizing and cropping them, as
            `task.transforms("eval")` does, is the caller's.
        """
        variables = jax.lax.stop_gradient(self.variables)
        return self.task.logits(variables, images).astype(jnp.float32)

    def judge(
        self, images: jax.Array, labels: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        """Returns its loss `[B]` and whether it is right, see `Classification.judge`.

        Args:
          images: as for `logits`.
          labels: `[B]`, what they show.
        """
        variables = jax.lax.stop_gradient(self.variables)
        return self.task.judge(variables, images, labels)


def load(
    name: str,
    *,
    workdir: str | os.PathLike[str] | None = None,
    config: str | None = None,
    init_from: str | None = None,
) -> FrozenClassifier:
    """Loads a trained classifier; the arguments mean what the launcher's flags do.

    Args:
      name: of the classifier in `registry.CLASSIFIERS`.
      workdir: directory of a finished run: its config and weights.
      config: config file with its argument, as "configs/maxvit/imagenet1k.py:T", in
        place of the run's config.
      init_from: weights in place of the run's, as "timm:maxvit_tiny_tf_224.in1k". What
        they expect of images counts as it does with the launcher.

    Raises:
      ConfigError: unknown name, a config that cannot be or is of no classifier, or
        weights that do not fit it.
      DataError: there is no such run, or no such weights.
    """
    kind = registry.find(name)
    chosen = _config(workdir, config)
    configs.validate(chosen, (_TASK,))
    task = kind(chosen)
    if init_from is not None:
        task.adopt(init_from, ())
    run = None if workdir is None else os.fspath(workdir)
    variables, _ = modes.find_variables(
        modes.on_one_device(task, chosen), run, init_from
    )
    # Arrays that no device was chosen for go where those do that they meet.
    variables = jax.tree.map(jnp.asarray, jax.device_get(variables))
    home = Path(init_from or run or "")
    names = classification.class_names(
        home.parent if home.is_file() else home, task.num_classes
    )
    return FrozenClassifier(variables, task, tuple(names))


def _config(
    workdir: str | os.PathLike[str] | None, file: str | None
) -> ml_collections.ConfigDict:
    """Returns the config of a file or of a run."""
    if file is not None:
        return _read(file)
    if workdir is None:
        raise ConfigError("a classifier needs a run's directory, or a config file")
    config = configs.load(workdir)
    if config is None:
        raise DataError(f"no run to take a classifier from: no {workdir}/config.json")
    return config


def _read(file: str) -> ml_collections.ConfigDict:
    """Runs a config file, given as `path` or `path:argument`."""
    path, _, arg = file.partition(":")
    spec = importlib.util.spec_from_file_location("config_file", path)
    if spec is None or spec.loader is None or not Path(path).is_file():
        beside = Path(path).parent.glob("[a-z]*.py")
        raise ConfigError(configs.unknown("config file", path, map(str, beside)))
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
        return module.get_config(arg or None)
    except ConfigError:
        raise
    except Exception as error:  # A config file is code, and can raise anything.
        raise ConfigError(f"config file {path}: {error!r}") from error
