"""The training loop of every paper.

The order matters and gives exact resume: save -> next batch -> step. Metrics of a
step are read after the next one was dispatched, so the device never waits for the
host.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn

import jax
import ml_collections
import numpy as np
from absl import logging
from clu import parameter_overview

from common import config as configs
from common.checkpoint.manager import Checkpoints, Restored
from common.data.prefetch import DevicePrefetch
from common.errors import ConfigError, Diverged, Preempted
from common.logging.profile import Profiler
from common.logging.progress import Progress
from common.logging.writers import MetricsWriter
from common.task import Task
from common.train import guards, outcome, weight_metrics
from common.train.experiment import Experiment
from common.train.state import TrainState


def train(
    task: Task,
    config: ml_collections.ConfigDict,
    workdir: str | os.PathLike[str],
    *,
    data_dir: str | None = None,
    init_from: str | None = None,
    resume: bool = True,
    stop_after_steps: int | None = None,
    profile_steps: str | None = None,
    debug_nans: bool = False,
    overrides: Mapping[str, Any] | None = None,
) -> dict[str, float]:
    """Trains to the end of the config, resuming where `workdir` left off.

    Args:
      task: what to train.
      config: validated config.
      workdir: of the run; shared storage when there are several processes.
      data_dir: overrides `config.data.dir`.
      init_from: weights to start from when there is no checkpoint.
      resume: False refuses a `workdir` with checkpoints.
      stop_after_steps: saves and returns after this step; schedules do not change.
      profile_steps: "a:b", steps to trace.
      debug_nans: stop at the operation that makes the first NaN.
      overrides: what the command line changed, for the record.

    Returns:
      The metrics of the last evaluation, and "step".

    Raises:
      ConfigError: something given cannot work.
      Preempted: asked to stop; the state is saved.
      Diverged: too many non-finite steps in a row.
    """
    workdir = Path(workdir).expanduser().resolve()
    with contextlib.ExitStack() as stack:
        stop = stack.enter_context(guards.StopSignal())
        experiment = Experiment(task, config, data_dir, debug_nans=debug_nans)
        experiment.check()
        try:
            workdir.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(f"workdir {workdir}: {error.strerror}") from error
        checkpoints = Checkpoints(
            workdir,
            keep_last=config.keep_last,
            keep_best=config.keep_best,
            monitor=task.monitor,
        )
        stack.callback(checkpoints.close)
        if checkpoints.steps() and not resume:
            raise ConfigError(
                f"{workdir} holds checkpoints; choose another --workdir, or drop "
                "--noresume to continue it"
            )
        profiler = Profiler(workdir, profile_steps)
        stack.callback(profiler.close)
        run = _Run.start(experiment, checkpoints, stop, workdir, init_from)
        stack.callback(run.close)
        # Only now: a config that does not fit the checkpoint changes nothing.
        outcome.record(config, workdir, experiment, overrides or {})
        total = experiment.total_steps
        with run.rescue():
            run.to(min(total, stop_after_steps or total), profiler)
        return {**run.finish(), "step": run.step}


@dataclasses.dataclass
class _Run:
    """The moving parts of one call of `train`."""

    experiment: Experiment
    checkpoints: Checkpoints
    stop: guards.StopSignal
    workdir: Path
    state: TrainState
    step: int
    examples_seen: int
    evaluated: bool  # no evaluation is due at `step`
    iterator: DevicePrefetch
    writer: MetricsWriter
    progress: Progress
    best: float | None
    pending: tuple[int, Any] | None = None  # a step whose metrics are on the device
    loss: float | None = None
    skipped: int = 0
    metrics: dict[str, float] = dataclasses.field(default_factory=dict)
    outputs: dict[str, np.ndarray] | None = None

    @classmethod
    def start(
        cls,
        experiment: Experiment,
        checkpoints: Checkpoints,
        stop: guards.StopSignal,
        workdir: Path,
        init_from: str | None,
    ) -> _Run:
        """Restores the newest checkpoint, or begins at step 0."""
        params = experiment.abstract_variables["params"]
        # A scalar among them makes clu's count a float.
        count = int(parameter_overview.count_parameters(params))
        logging.info("%s parameters", f"{count:,}")
        restored = _restore(experiment, checkpoints)
        if restored is None:
            state, step = experiment.init_state(init_from), 0
        else:
            state, step = restored.state, restored.step
            logging.info("resuming at step %d", step)
        meta: Mapping[str, Any] = {"evaluated": True, "examples_seen": 0, "best": None}
        meta = meta if restored is None else restored.meta
        active = jax.process_index() == 0
        writer = MetricsWriter(workdir, active=active, resume_step=step)
        return cls(
            experiment=experiment,
            checkpoints=checkpoints,
            stop=stop,
            workdir=workdir,
            state=state,
            step=step,
            examples_seen=meta["examples_seen"],
            evaluated=meta["evaluated"],
            iterator=experiment.train_iterator(meta["examples_seen"]),
            writer=writer,
            progress=Progress(
                experiment.total_steps,
                step,
                experiment.config.batch_size,
                active=active,
            ),
            best=meta["best"],
            skipped=int(state.guard.total),
        )

    def to(self, last: int, profiler: Profiler) -> None:
        """Runs the steps up to `last`, with the evaluations and saves due."""
        total = self.experiment.total_steps
        eval_every = self.experiment.steps("eval_every") or total
        save_every = self.experiment.steps("checkpoint_every") or eval_every
        if not self.evaluated:  # an evaluation that was interrupted
            self._evaluate()
            self._save(self.metrics, replace=True)
        if self.step >= last:
            logging.info("already at step %d of %d: nothing to train", self.step, total)
            return
        self._stop_if_asked()
        step_fn = self._compile()
        while self.step < last:
            self._stop_if_asked()
            self._reweight()
            profiler.step(self.step + 1, self.state)
            batch = next(self.iterator)
            self.state, metrics = step_fn(self.state, batch)
            self.step += 1
            self.examples_seen += self.experiment.config.batch_size
            self.evaluated = True
            self._read()
            self.pending = (self.step, metrics)
            self.progress.update(self.step, self.loss)
            due = self.step % eval_every == 0 or self.step == total
            improved = self._evaluate() if due else False
            if improved or self.step % save_every == 0 or self.step == last:
                self._save(self.metrics if due else None)

    def _reweight(self) -> None:
        """Moves the weights of examples by a pass over all of them, when it is due."""
        weighting, weights = self.experiment.weighting, self.state.weights
        if weighting is None or weights is None or not weighting.by_passes:
            return
        if not weighting.pass_due(weights, self.step):
            return
        with self.progress.pause():
            try:
                self.state = self.experiment.reweight(self.state, self.stop.requested)
            except guards.StopRequested:
                self._stop()

    def finish(self) -> dict[str, float]:
        """Makes sure that the state is on disk, and writes weights and report."""
        self._make_sure_of_save()
        if self.step == self.experiment.total_steps:
            if self.outputs is None:
                self._evaluate(write=False)
            assert self.outputs is not None
            experiment, variables = self.experiment, self.state.variables()
            self.metrics |= experiment.task.conclude(
                lambda source: experiment.evaluate(variables, source=source),
                experiment.train_source,
            )
            outcome.write(
                experiment,
                self.workdir,
                self.state,
                self.outputs,
                self.metrics,
                self.writer,
            )
        return self.metrics

    def close(self) -> None:
        """Closes what the run opened, in any case."""
        self.iterator.close()
        self.progress.close()
        self.writer.close()

    def _compile(self):
        logging.info("compiling the training step (this can take minutes)")
        began = time.monotonic()
        step_fn = self.experiment.compile_step()
        logging.info("compiled in %.1f s", time.monotonic() - began)
        return step_fn

    def _stop_if_asked(self) -> None:
        if self.stop.requested():
            self._stop()

    def _stop(self) -> NoReturn:
        self._save(None)
        self._make_sure_of_save()
        raise Preempted(f"stopped and saved at step {self.step}")

    def _make_sure_of_save(self) -> None:
        if not self.checkpoints.wait() or self.step not in self.checkpoints.steps():
            raise OSError(f"the checkpoint of step {self.step} could not be written")

    @contextlib.contextmanager
    def rescue(self) -> Iterator[None]:
        """Saves a good state when something else fails, such as the data.

        With several processes that would wait for those that failed elsewhere.
        """
        try:
            yield
        except (Preempted, Diverged):
            raise
        except Exception:
            if jax.process_count() == 1:
                with contextlib.suppress(Exception):
                    self._save(None)
                    self.checkpoints.wait()
            raise

    def _read(self, always: bool = False) -> None:
        """Brings the pending step's metrics to the host, if it is a step to log."""
        if self.pending is None:
            return
        (step, device_metrics), self.pending = self.pending, None
        if step % self.experiment.config.log_every_steps and not always:
            return
        metrics = {k: float(v) for k, v in jax.device_get(device_metrics).items()}
        guards.check_finite(metrics, step, self.experiment.config.max_nonfinite_steps)
        if metrics["nonfinite_total"] > self.skipped:
            self.skipped = int(metrics["nonfinite_total"])
            logging.warning("step %d: %d non-finite steps skipped", step, self.skipped)
        self.loss = metrics["loss"]
        self.writer.scalars(step, metrics | self.progress.rates())

    def _evaluate(self, write: bool = True) -> bool:
        """Evaluates at this step; returns whether it is the best so far."""
        self._read(always=True)
        self.evaluated = False
        task = self.experiment.task
        logging.info("evaluating at step %d", self.step)
        with self.progress.pause():
            try:
                self.outputs = self.experiment.evaluate(
                    self.state.variables(), self.stop.requested
                )
            except guards.StopRequested:
                self._stop()
            self.metrics = task.summarize(self.outputs) | self._weight_metrics()
        self.evaluated = True
        shown = "  ".join(f"{name} {v:.4g}" for name, v in self.metrics.items())
        logging.info("step %d: %s", self.step, shown)
        if write:
            self.writer.scalars(self.step, self.metrics, kind="eval")
        value = self.metrics[task.monitor.metric]
        improved = task.monitor.better(value, self.best)
        self.best = value if improved else self.best
        return improved

    def _weight_metrics(self) -> dict[str, float]:
        """What the weights of examples are like; nothing without them."""
        if self.state.weights is None:
            return {}
        log_weights = self.experiment.log_weights(self.state)
        mask = getattr(self.experiment.train_source, "noise_mask", None)
        metrics = weight_metrics.summarize(log_weights, mask)
        weight_metrics.warn_if_collapsed(metrics, len(log_weights))
        skipped = int(self.state.weights.skipped)
        return metrics | {"skipped_losses": skipped}

    def _save(self, metrics: Mapping[str, float] | None, replace: bool = False) -> None:
        self._read(always=True)  # ends the run before a diverged state is saved
        meta = {
            "evaluated": self.evaluated,
            "examples_seen": self.examples_seen,
            "best": self.best,
            "versions": configs.versions(),
        }
        with self.progress.pause():
            self.checkpoints.save(self.step, self.state, meta, metrics, replace)


def _restore(experiment: Experiment, checkpoints: Checkpoints) -> Restored | None:
    """Restores the newest checkpoint; weights must be of as many examples as before."""
    if experiment.weighting is not None and experiment.weighting.stateful:
        saved = checkpoints.shape("weights/logw")
        count = len(experiment.train_source)
        if saved is not None and saved != (count,):
            raise ConfigError(
                f"{checkpoints.directory} has weights of {saved[0]} examples and the "
                f"training data has {count}: weights belong to the examples by their "
                "position, so a run can go on with the same data only"
            )
    return checkpoints.restore(experiment.abstract_state)
