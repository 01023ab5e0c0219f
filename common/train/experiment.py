"""A task bound to devices and data: what training, evaluation and dry runs share."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import grain
import jax
import ml_collections
import numpy as np
import optax
from absl import logging

from common import evaluation, host_memory
from common.checkpoint import matching
from common.config import unknown
from common.data import pipeline, prefetch
from common.data.sources import Source
from common.errors import ConfigError, DataError
from common.parallel import mesh as meshes
from common.parallel import sharding
from common.task import Task, Variables, variables_of
from common.train import (
    durations,
    example_weights,
    guards,
    optim,
    reweighting,
    schedules,
    step,
)
from common.train import state as states
from common.train.example_weights import ExampleWeights
from common.train.reweighting import WeightState
from common.train.state import TrainState

PyTree = Any


@dataclasses.dataclass
class Experiment:
    """Holds no arrays; the expensive parts are built when first asked for.

    Attributes:
      task: what to train.
      config: how.
      data_dir: overrides `config.data.dir`.
      devices: to run on; all of them by default.
      debug_nans: repeat a step with a NaN operation by operation, to name the first.
      num_weighted: examples that the weights of a saved state are of, where the
        training data need not be there.
    """

    task: Task
    config: ml_collections.ConfigDict
    data_dir: str | None = None
    devices: Sequence[jax.Device] | None = None
    debug_nans: bool = False
    num_weighted: int | None = None

    @functools.cached_property
    def mesh(self) -> jax.sharding.Mesh:
        """The device mesh."""
        return meshes.make(self.config.mesh.data, self.config.mesh.fsdp, self.devices)

    @property
    def eval_batch_size(self) -> int:
        """The global batch size of evaluations, padded to fill all devices."""
        size = self.config.eval_batch_size or self.config.batch_size
        return -(-size // self.mesh.size) * self.mesh.size

    @functools.cached_property
    def train_source(self):
        """The training data."""
        return self.task.source("train", self.data_dir or self.config.data.dir)

    @functools.cached_property
    def eval_source(self):
        """The evaluation data."""
        return self.task.source("eval", self.data_dir or self.config.data.dir)

    @property
    def steps_per_epoch(self) -> float:
        """Batches in one pass over the training data, not rounded."""
        return len(self.train_source) / self.config.batch_size

    def steps(self, name: str) -> int | None:
        """A duration of the config in steps."""
        return durations.steps(self.config, name, self.steps_per_epoch)

    @functools.cached_property
    def total_steps(self) -> int:
        """The length of the run."""
        total = self.steps("total")
        assert total is not None  # config.validate
        return total

    @functools.cached_property
    def schedule(self) -> optax.Schedule:
        """Step -> learning rate."""
        return schedules.make(
            self.config.schedule, self.total_steps, self.steps_per_epoch
        )

    @functools.cached_property
    def weighting(self) -> ExampleWeights | None:
        """How examples are weighted; None when they are not.

        Raises:
          ConfigError: it cannot be with this config or this task.
        """
        config = self.config.reweighting
        if not config.mode:
            return None
        if "id" not in self.task.batch_spec(1):
            raise ConfigError(
                f"{type(self.task).__name__} has no ids of examples: it cannot be "
                "reweighted"
            )
        if config.loss and config.loss not in self.task.weight_losses:
            choices = self.task.weight_losses
            raise ConfigError(unknown("config.reweighting.loss", config.loss, choices))
        count = self.num_weighted or len(self.train_source)
        return example_weights.make(
            config, count, count / self.config.batch_size, self.mesh
        )

    @functools.cached_property
    def abstract_variables(self) -> Variables:
        """Shapes and types of the model's variables."""
        batch = self.task.batch_spec(self.config.batch_size)
        return jax.eval_shape(self.task.init, jax.random.key(0), batch)

    @functools.cached_property
    def tx(self) -> optax.GradientTransformation:
        """The optimiser, without learning rate."""
        return optim.make(self.config.optimizer, self.abstract_variables["params"])

    def _blank_batch(self) -> PyTree:
        spec = self.task.batch_spec(self.config.batch_size)
        return jax.tree.map(lambda s: jax.numpy.zeros(s.shape, s.dtype), spec)

    def _create(self) -> TrainState:
        return states.create(
            self.task,
            self.tx,
            self._blank_batch(),
            self.config.seed,
            self.config.ema_decay > 0,
            self._equal_weights(),
        )

    def _equal_weights(self) -> WeightState | None:
        return None if self.weighting is None else self.weighting.init()

    @functools.cached_property
    def abstract_state(self) -> TrainState:
        """Shapes, types and shardings of the train state."""
        shapes = jax.eval_shape(self._create)
        places = sharding.state(self.mesh, shapes, self.config.mesh.fsdp_min_size)
        return jax.tree.map(
            lambda s, place: jax.ShapeDtypeStruct(s.shape, s.dtype, sharding=place),
            shapes,
            places,
        )

    @property
    def state_shardings(self) -> PyTree:
        """Sharding of every array of the train state."""
        return jax.tree.map(lambda s: s.sharding, self.abstract_state)

    def init_state(self, init_from: str | None = None) -> TrainState:
        """Returns the state before step 0, from random or from given weights.

        What `config.reinitialize` matches starts from random values in any case.
        """
        if init_from is None:
            if self.config.reinitialize:
                logging.warning(
                    "config.reinitialize is set but --init_from is not given: "
                    "training starts from random weights"
                )
            return jax.jit(self._create, out_shardings=self.state_shardings)()
        variables, report, _ = self._read(init_from, self.config.reinitialize)
        layer = report.misfit()
        hint = f"; to start it anew: --config.reinitialize=\"('^{layer}/',)\""
        report.raise_if_any(hint if layer else "")
        variables = matching.fill(variables, self._draw(report.replaced))

        def create(variables: Variables) -> TrainState:
            ema, weights = self.config.ema_decay > 0, self._equal_weights()
            return states.from_variables(variables, self.tx, ema, weights)

        whole = self.replicate(variables)
        return jax.jit(create, out_shardings=self.state_shardings)(whole)

    def load_variables(self, init_from: str) -> Variables:
        """Reads weights to use as they are, each name and shape checked.

        Args:
          init_from: what the task reads: `.safetensors` or `.npz` file, the directory
            of a finished run, or a name it knows.

        Raises:
          ConfigError: no such file, values that are not finite, or names and shapes
            that are not the model's.
        """
        variables, report, arrays = self._read(init_from)
        report.raise_if_any(self._classes_hint(report, arrays))
        return self.replicate(variables)

    def _read(
        self, init_from: str, reinitialize: Sequence[str] = ()
    ) -> tuple[Variables, matching.Report, dict[str, np.ndarray]]:
        """Reads weights on the host; what starts anew is still abstract."""
        arrays = self.task.read_weights(init_from, self.abstract_variables)
        matching.check_finite(init_from, arrays)
        variables, report = matching.match(
            self.abstract_variables, arrays, reinitialize=reinitialize
        )
        logging.info("loaded %s: %d arrays", init_from, len(arrays))
        for line in report.lines():
            logging.info("%s", line)
        return variables, report, arrays

    def _classes_hint(
        self, report: matching.Report, arrays: Mapping[str, np.ndarray]
    ) -> str:
        """Says what to set where weights differ in their number of classes alone."""
        ours = dict(matching.leaves(self.abstract_variables))
        widths = {
            (*arrays[name].shape[-1:], *ours[name].shape[-1:])
            for name in report.mismatched
        }
        classes = self.config.data.num_classes
        match [*widths] if report.misfit() else []:
            case [(theirs, mine)] if theirs != mine == classes:
                return f"; set --config.data.num_classes={theirs}"
        return ""

    def _draw(self, names: Collection[str]) -> dict[str, jax.Array]:
        """Returns the random initial values of some variables alone."""

        def draw() -> dict[str, jax.Array]:
            key = jax.random.key(self.config.seed)
            variables = dict(matching.leaves(self.task.init(key, self._blank_batch())))
            return {name: variables[name] for name in names}

        # Compiling leaves out the rest of the model, which takes long to draw.
        return jax.jit(draw, out_shardings=sharding.replicated(self.mesh))()

    def replicate(self, variables: Variables) -> Variables:
        """Puts variables on every device; all processes must call."""
        place = jax.jit(lambda x: x, out_shardings=sharding.replicated(self.mesh))
        return place(variables)

    def check(self) -> None:
        """Opens data and builds rules, so that a mistake shows before anything slow.

        Raises:
          ConfigError: a batch does not spread over the devices, or the schedule or a
            regex of the optimiser cannot be.
          DataError: naming what was searched.
        """
        config = self.config
        sharding.check_batch_size(
            self.mesh, "config.batch_size", config.batch_size, config.grad_accumulation
        )
        train, held_out = len(self.train_source), len(self.eval_source)
        logging.info("data: %d training, %d evaluation examples", train, held_out)
        if not train or not held_out:
            raise DataError("the training or the evaluation data is empty")
        if self.weighting is not None:
            _check_ids(self.train_source)
        _ = self.tx, self.schedule

    def step_function(self, grad_accumulation: int) -> step.StepFn:
        """Returns the training step as a plain function."""
        return step.make(
            self.task,
            self.tx,
            self.schedule,
            seed=self.config.seed,
            grad_accumulation=grad_accumulation,
            ema_decay=self.config.ema_decay,
            max_nonfinite_steps=self.config.max_nonfinite_steps,
            weighting=self.weighting,
        )

    def lower_step(self, grad_accumulation: int) -> jax.stages.Lowered:
        """Traces the training step; the old state's memory is reused."""
        jitted = jax.jit(
            self.step_function(grad_accumulation),
            # To find a NaN the old state is needed once more.
            donate_argnums=() if self.debug_nans else (0,),
            out_shardings=(self.state_shardings, sharding.replicated(self.mesh)),
        )
        return jitted.lower(
            self.abstract_state, self.abstract_batch, self.abstract_frozen
        )

    def compile_step(self) -> step.StepFn:
        """Compiles the training step before the first batch is there."""
        parts = self.config.grad_accumulation
        compiled = self.lower_step(parts).compile()
        host_memory.release_freed()
        frozen = self.replicate(self._frozen) if self._frozen else {}
        run = functools.partial(_with, compiled, frozen)
        if not self.debug_nans:
            return run
        plain: Any = self.step_function(parts)
        return guards.name_nans(run, functools.partial(_with, plain, frozen))

    @functools.cached_property
    def _frozen(self) -> Mapping[str, Any]:
        return self.task.frozen()

    @property
    def abstract_frozen(self) -> PyTree:
        """Shapes, types and shardings of what the loss reads and nothing trains."""
        place = sharding.replicated(self.mesh)
        return jax.tree.map(
            lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=place),
            self._frozen,
        )

    @property
    def abstract_batch(self) -> PyTree:
        """Shapes, types and shardings of a training batch."""
        place = sharding.batch(self.mesh)
        return jax.tree.map(
            lambda s: jax.ShapeDtypeStruct(s.shape, s.dtype, sharding=place),
            self.task.batch_spec(self.config.batch_size),
        )

    @functools.cached_property
    def _eval_step(self) -> evaluation.EvalStep:
        """The jitted evaluation step."""
        return evaluation.make_step(self.task.evaluate, self.mesh)

    @functools.cached_property
    def _loss_step(self) -> evaluation.EvalStep:
        """The jitted step of a pass that moves example weights."""
        return evaluation.make_step(
            lambda v, batch: {"loss": self.task.example_losses(v, batch)}, self.mesh
        )

    def log_weights(self, state: TrainState) -> np.ndarray:
        """Returns the logarithms of the weights of all examples, on the host, `[N]`.

        They sum to 1, whatever the mode.
        """

        def normalized(weights: WeightState) -> jax.Array:
            return reweighting.log_weights(reweighting.normalize(weights))

        whole = jax.jit(normalized, out_shardings=sharding.replicated(self.mesh))
        return np.asarray(whole(state.weights))

    @functools.cached_property
    def _update_weights(self) -> Callable[..., WeightState]:
        assert self.weighting is not None
        places = self.state_shardings.weights
        return jax.jit(
            self.weighting.update_all, out_shardings=places, donate_argnums=0
        )

    def reweight(
        self, state: TrainState, stop: Callable[[], bool] = lambda: False
    ) -> TrainState:
        """Moves all example weights by the losses of a pass over the training data.

        Without augmentation, and as evaluation runs the model; at the parameters of
        the moment, not at their average. Unreadable images keep their weight.

        Raises:
          StopRequested: `stop` said so; nothing has moved.
        """
        variables = variables_of(state.params, state.model_state)
        source = self.train_source
        with contextlib.closing(self.eval_iterator(source)) as batches:
            outputs = evaluation.run(
                self._loss_step, variables, batches, len(source), stop
            )
        losses = np.full(len(source), np.nan, np.float32)
        losses[outputs["id"]] = outputs["loss"]
        weights = self._update_weights(state.weights, losses, state.step)
        return dataclasses.replace(state, weights=weights)

    def train_iterator(self, examples_seen: int = 0) -> prefetch.DevicePrefetch:
        """Device batches, going on after so many examples of the global sequence."""
        dataset = pipeline.train_dataset(
            self.train_source,
            self.task.transforms("train"),
            batch_size=self.config.batch_size // jax.process_count(),
            seed=self.config.seed,
            num_workers=self.config.data.num_workers,
            process_index=jax.process_index(),
            process_count=jax.process_count(),
            max_bad_examples=self.config.data.max_bad_examples,
            skip_examples=examples_seen,
        )
        return prefetch.DevicePrefetch(dataset, self._place)

    def eval_iterator(self, source: Source) -> prefetch.DevicePrefetch:
        """Device batches of one pass over a source, as evaluation sees it."""
        dataset = self._eval_dataset(
            source, self.eval_batch_size // jax.process_count()
        )
        return prefetch.DevicePrefetch(dataset, self._place)

    def _eval_dataset(self, source: Source, batch_size: int) -> grain.IterDataset:
        """Batches of this process."""
        global_size = batch_size * jax.process_count()
        return pipeline.eval_dataset(
            source,
            self.task.transforms("eval"),
            batch_size=batch_size,
            # A worker takes seconds to start: no more of them than batches.
            num_workers=min(self.config.data.num_workers, len(source) // global_size),
            process_index=jax.process_index(),
            process_count=jax.process_count(),
            max_bad_examples=self.config.data.max_bad_examples,
        )

    def _evaluate_each(
        self, variables: Variables, source: Source, stop: Callable[[], bool]
    ) -> dict[str, np.ndarray]:
        """Evaluates single examples, each on one of this process' devices."""
        whole = self.replicate(variables)
        evaluators = []
        for number in range(len(self.mesh.local_devices)):
            local = jax.tree.map(lambda x, n=number: x.addressable_data(n), whole)
            evaluators.append(self.task.evaluator(local))
        dataset = self._eval_dataset(source, 1)
        iterator = prefetch.DevicePrefetch(dataset, lambda batch: batch)
        with contextlib.closing(iterator) as examples:
            return evaluation.run_each(evaluators, examples, len(source), stop)

    def _place(self, batch: PyTree) -> PyTree:
        return sharding.place(self.mesh, batch)

    def evaluate(
        self,
        variables: Variables,
        stop: Callable[[], bool] = lambda: False,
        source: Source | None = None,
    ) -> dict[str, np.ndarray]:
        """Returns the outputs of every example, see `evaluation.run`.

        Args:
          variables: of the model.
          stop: polled before every batch.
          source: in place of the evaluation data.
        """
        source = self.eval_source if source is None else source
        if self.task.one_by_one:
            return self._evaluate_each(variables, source, stop)
        with contextlib.closing(self.eval_iterator(source)) as batches:
            return evaluation.run(
                self._eval_step, variables, batches, len(source), stop
            )


def _check_ids(source: Source) -> None:
    """Checks at both ends that ids are positions, as weights are found by them.

    Raises:
      DataError: one is not.
    """
    for index in {0, len(source) - 1}:
        found = source[index]["id"]
        if found != index:
            raise DataError(
                f"{source[index].get('name', 'an example')} has the id {found} at "
                f"position {index}: weights of examples need ids from 0 in order"
            )


def _with(step: Any, frozen: Any, state: TrainState, batch: PyTree) -> Any:
    """Takes a step that reads what is frozen."""
    return step(state, batch, frozen)
