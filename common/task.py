"""The Task protocol: what a paper hands to the shared loop.

A task names the data, the model, the loss and the metrics of one kind of experiment.
Everything else (devices, optimiser, checkpoints, logs) belongs to the loop. All
per-example results carry a leading batch dimension, so that single examples can be
masked, counted once, and weighted.
"""

from __future__ import annotations

import abc
import dataclasses
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import flax
import jax
import ml_collections
import numpy as np

from common.checkpoint import weights
from common.errors import ConfigError

if TYPE_CHECKING:
    from common.data.sources import Source

Batch = Mapping[str, jax.Array]
Variables = Mapping[str, Any]  # "params" and the model's mutable collections


@flax.struct.dataclass
class LossOutput:
    """Result of one forward pass in training.

    Attributes:
      loss: `[B]`, the loss of every example.
      model_state: the mutable collections after the pass, e.g. `{"batch_stats": ...}`.
      metrics: name -> `[B]`, logged as means.
      weight_loss: `[B]`, what example weights are moved by; `loss` when None.
    """

    loss: jax.Array
    model_state: Mapping[str, Any]
    metrics: Mapping[str, jax.Array] = dataclasses.field(default_factory=dict)
    weight_loss: jax.Array | None = None


@dataclasses.dataclass(frozen=True)
class Monitor:
    """The evaluation metric that decides which checkpoint is the best."""

    metric: str
    mode: str = "max"

    def better(self, value: float, than: float | None) -> bool:
        """Whether `value` improves on the best value so far."""
        if than is None or math.isnan(than):
            return not math.isnan(value)
        return value > than if self.mode == "max" else value < than


class Task(abc.ABC):
    """One kind of experiment; built from a config, holds no arrays."""

    monitor: Monitor
    adopted: Collection[str] = ()
    """Sections of the config that `adopt` may change."""
    weight_losses: Collection[str] = ()
    """What `config.reweighting.loss` can name; each is a `LossOutput.weight_loss`."""
    one_by_one: bool = False
    """Whether evaluation goes by `evaluator`, for examples that differ in size."""

    def __init__(self, config: ml_collections.ConfigDict):
        self.config = config

    def adopt(
        self, init_from: str, given: Collection[str], training: bool = False
    ) -> None:
        """Adapts the config to the weights a run starts from; nothing by default.

        Called before anything reads the config, in every mode, so it must come to the
        same result each time. Not called when a run is resumed without --config: it
        has the config it saved. When the weights are gone on another resume, the
        sections in `adopted` come from there.

        Args:
          init_from: what the user named: a file, a folder, or a name the task knows.
          given: config fields set on the command line, e.g. "data.image_size", which
            stay as they are.
          training: whether the weights are where training begins, and not what is
            evaluated or run.

        Raises:
          ConfigError: the weights cannot be used with this config.
        """
        del init_from, given, training

    def read_weights(self, init_from: str, target: Variables) -> dict[str, np.ndarray]:
        """Reads the weights that `--init_from` names, under the names of this model.

        Args:
          init_from: as for `adopt`.
          target: the model's variables, abstract, for a task that adapts shapes.

        Returns:
          Flat names, the keys of the variables joined by "/", to arrays.

        Raises:
          ConfigError: nothing is there, or it cannot be used.
        """
        del target
        return weights.load(weights.find(init_from))

    def inference(self, variables: Variables) -> Callable[[jax.Array], Any]:
        """Returns the function that `--mode=export` writes: images -> outputs.

        Its input is as `inference_spec` has it.

        Raises:
          ConfigError: this task has none.
        """
        del variables
        raise ConfigError(f"{type(self).__name__} has no function to export")

    def inference_spec(self) -> jax.ShapeDtypeStruct:
        """Returns the images that `inference` takes, one of them."""
        return self.batch_spec(1)["image"]

    def frozen(self) -> Mapping[str, Any]:
        """Returns arrays that `loss` reads and nothing trains; none by default.

        As a network that a loss looks through. They are handed to `loss` as
        `variables["frozen"]`, on every device, and are no part of checkpoints.
        Called once, before the training step is compiled.

        Raises:
          ConfigError, DataError: they cannot be read.
        """
        return {}

    @abc.abstractmethod
    def source(self, split: str, data_dir: str | None) -> Source:
        """Opens the data of `split` ("train" or "eval").

        Raises:
          DataError: naming what was searched.
        """

    @abc.abstractmethod
    def transforms(self, split: str) -> Sequence[Any]:
        """Returns Grain transforms from a decoded example to arrays."""

    @abc.abstractmethod
    def batch_spec(self, size: int) -> dict[str, jax.ShapeDtypeStruct]:
        """Returns the arrays of a training batch of `size` examples."""

    @abc.abstractmethod
    def init(self, key: jax.Array, batch: Batch) -> Variables:
        """Returns initial variables; traced, so `batch` is read for shapes only."""

    @abc.abstractmethod
    def loss(self, variables: Variables, batch: Batch, key: jax.Array) -> LossOutput:
        """The training forward pass; runs inside the jitted step."""

    def evaluate(self, variables: Variables, batch: Batch) -> Mapping[str, jax.Array]:
        """The evaluation forward pass: name -> `[B, ...]`, kept for every example.

        Every task has this or, with `one_by_one`, `evaluator`.
        """
        raise NotImplementedError(f"{type(self).__name__}.evaluate")

    def example_losses(self, variables: Variables, batch: Batch) -> jax.Array:
        """The losses that move example weights in a pass without augmentation, `[B]`.

        Raises:
          ConfigError: this task has none.
        """
        del variables, batch
        raise ConfigError(
            f"{type(self).__name__} has no losses for config.reweighting.mode=full"
        )

    def evaluator(
        self, variables: Variables
    ) -> Callable[[Mapping[str, np.ndarray]], Mapping[str, float]]:
        """Returns what scores one evaluation example on the host.

        Args:
          variables: on the device that the scoring shall use.
        """
        raise NotImplementedError(f"{type(self).__name__}.evaluator")

    @abc.abstractmethod
    def summarize(self, outputs: Mapping[str, np.ndarray]) -> dict[str, float]:
        """Metrics of all examples, each counted once; the most important first."""

    def conclude(
        self, evaluate: Callable[[Source], Mapping[str, np.ndarray]], training: Source
    ) -> dict[str, float]:
        """Further metrics of a finished run, beside those of its evaluation.

        Args:
          evaluate: the outputs of every example of a source, as `summarize` gets them;
            called on all processes.
          training: the training data.
        """
        del evaluate, training
        return {}

    def pictures(
        self,
        variables: Variables,
        outputs: Mapping[str, np.ndarray],
        source: Source,
        workdir: Path,
    ) -> list[tuple[str, Path]]:
        """Draws what the report shows of an evaluation: (caption, path).

        What else of an evaluation is worth a file is written here, too.

        Args:
          variables: that were evaluated, on the host.
          outputs: of the evaluation.
          source: the evaluation data.
          workdir: where the files go.
        """
        del variables, outputs, source, workdir
        return []

    def predict_words(self, example: Path, workdir: Path) -> list[str]:
        """Returns the flags with which `--mode=predict` runs an example of a run."""
        del workdir
        return [f"--image={example}"]

    def predict(
        self, variables: Variables, paths: Sequence[str], home: Path
    ) -> list[str]:
        """Runs the model on image files; returns one line of text per file.

        Args:
          variables: of the model.
          paths: of the images.
          home: where the variables came from: the folder of a run or of a file, or a
            path that does not exist for weights with a name.

        Raises:
          ConfigError: this task has no such mode.
          DataError: naming the file that cannot be read.
        """
        del variables, paths, home
        raise ConfigError(f"{type(self).__name__} has no --mode=predict")


def variables_of(params: Any, model_state: Mapping[str, Any]) -> Variables:
    """Joins what the train state keeps apart."""
    return {"params": params, **model_state}
