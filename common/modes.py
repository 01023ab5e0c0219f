"""What `--mode` does with a task, and what it tells the person who launched it."""

from __future__ import annotations

import json
import os
import shlex
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import ml_collections
from absl import logging

from common import export as exports
from common.checkpoint.manager import Checkpoints
from common.errors import ConfigError, DataError
from common.task import Task, Variables
from common.train import loop, outcome
from common.train.experiment import Experiment


def say(text: str) -> None:
    """Writes results to stdout, from one process; logs go to stderr."""
    if jax.process_index() == 0:
        sys.stdout.write(text + "\n")
        sys.stdout.flush()


def train(
    task: Task,
    config: ml_collections.ConfigDict,
    workdir: str,
    *,
    package: str,
    **options: Any,
) -> None:
    """Trains, then prints the result and where to look.

    Args:
      task: what to train.
      config: validated config.
      workdir: of the run.
      package: for the command that is printed.
      **options: of `common.train.loop.train`.
    """
    metrics = loop.train(task, config, workdir, **options)
    step = int(metrics.pop("step"))
    home = Path(workdir)
    shown = ", ".join(f"{name} {value:.4f}" for name, value in metrics.items())
    say(f"\nstep {step}: {shown or 'not evaluated'}")
    if not (home / "report.html").exists():
        return
    say(f"report: {home / 'report.html'}")
    examples = sorted((home / "examples").glob("*.png"))
    if examples:
        words = [_python(), "-m", f"{package}.main", "--mode=predict"]
        words += [f"--workdir={workdir}", *task.predict_words(examples[0], home)]
        say(f"try: {shlex.join(words)}")


def _python() -> str:
    """The interpreter as one would type it here."""
    here = os.path.relpath(sys.executable)
    return sys.executable if here.startswith("..") else here


def evaluate(
    task: Task,
    config: ml_collections.ConfigDict,
    workdir: str,
    data_dir: str | None,
    init_from: str | None,
) -> dict[str, float]:
    """Evaluates saved variables and prints the metrics as one line of JSON.

    What else the task has to show is in `workdir/evaluation`.
    """
    experiment = Experiment(task, config, data_dir)
    logging.info("data: %d evaluation examples", len(experiment.eval_source))
    variables, where = find_variables(experiment, workdir, init_from)
    outputs = experiment.evaluate(variables)
    metrics = task.summarize(outputs)
    say(json.dumps({"variables": where, **metrics}))
    variables = jax.device_get(experiment.replicate(variables))
    if jax.process_index() == 0:
        folder = Path(workdir) / "evaluation"
        folder.mkdir(parents=True, exist_ok=True)
        task.pictures(variables, outputs, experiment.eval_source, folder)
        logging.info("pictures and tables: %s", folder)
    return metrics


def predict(
    task: Task,
    config: ml_collections.ConfigDict,
    workdir: str,
    images: Sequence[str],
    init_from: str | None,
) -> list[str]:
    """Runs the task's prediction on image files and prints one line for each."""
    if not images:
        raise ConfigError("--mode=predict needs --image=FILE")
    for path in images:
        if not Path(path).is_file():
            raise DataError(f"no image file {path}")
    variables, _ = find_variables(on_one_device(task, config), workdir, init_from)
    # What lies beside other weights says nothing of these.
    home = Path(init_from or workdir)
    lines = task.predict(variables, images, home.parent if home.is_file() else home)
    for line in lines:
        say(line)
    return lines


def export(
    task: Task, config: ml_collections.ConfigDict, workdir: str, init_from: str | None
) -> Path:
    """Writes the task's inference function to `inference.jaxexport` in `workdir`."""
    variables, where = find_variables(on_one_device(task, config), workdir, init_from)
    images = task.inference_spec()
    path = Path(workdir) / "inference.jaxexport"
    exports.write(path, task.inference(variables), images)
    exported = exports.read(path)  # what was written can be read
    say(
        f"{path}: {path.stat().st_size / 2**20:.1f} MiB, from {where}\n"
        f"takes {_shapes(exported.in_avals)}, returns {_shapes(exported.out_avals)}\n"
        "use, with jax and flatbuffers: jax.export.deserialize(bytearray(open("
        f"{str(path)!r}, 'rb').read())).call(images)"
    )
    return path


def _shapes(arrays: Sequence[Any]) -> str:
    parts = (f"{a.dtype.name}[{', '.join(map(str, a.shape))}]" for a in arrays)
    return ", ".join(parts)


def on_one_device(task: Task, config: ml_collections.ConfigDict) -> Experiment:
    """One device is enough for single images, whatever mesh the run had."""
    config.mesh.data = config.mesh.fsdp = 1
    return Experiment(task, config, devices=jax.local_devices()[:1])


def find_variables(
    experiment: Experiment, workdir: str | None, init_from: str | None
) -> tuple[Variables, str]:
    """Finds weights: what was asked for, else the newest state, else a release.

    The state comes first because a run that was extended has older released weights.

    Args:
      experiment: of the model.
      workdir: of the run whose weights are used; needed without `init_from`.
      init_from: as for `Task.read_weights`.

    Returns:
      The variables, and where they are from.

    Raises:
      ConfigError: the weights are not the model's.
      DataError: there are none.
    """
    if init_from is not None:
        return experiment.load_variables(init_from), init_from
    if workdir is None:
        raise DataError("no weights to use: neither a run nor --init_from is given")
    directory, released = Path(workdir) / "checkpoints", Path(workdir) / outcome.WEIGHTS
    if directory.is_dir():
        checkpoints = Checkpoints(workdir, read_only=True)
        try:
            # Only training needs as many examples as the weights of examples are of.
            saved = checkpoints.shape("weights/logw")
            experiment.num_weighted = saved[0] if saved else None
            restored = checkpoints.restore(experiment.abstract_state)
        finally:
            checkpoints.close()
        if restored is not None:
            return restored.state.variables(), f"{directory}/{restored.step:09d}"
    if not released.is_file():
        raise DataError(
            f"no weights to use: {directory} holds no checkpoint, there is no "
            f"{released}, and --init_from is not given"
        )
    return experiment.load_variables(str(released)), str(released)


def benchmark(
    task: Task, config: ml_collections.ConfigDict, data_dir: str | None, steps: int = 20
) -> dict[str, float]:
    """Times training steps on a fixed batch and with the input pipeline.

    Prints one line of JSON: steps and images per second of both, and the share of a
    step that the device waits for input, which is what the pipeline adds to its time.
    """
    experiment = Experiment(task, config, data_dir)
    experiment.check()
    step = experiment.compile_step()
    iterator = experiment.train_iterator()
    batch = next(iterator)
    state = experiment.init_state()
    state, _ = step(state, batch)
    state, fixed = _time(step, state, lambda: batch, steps)
    state, piped = _time(step, state, lambda: next(iterator), steps)
    iterator.close()
    result = {
        "steps_per_second": steps / piped,
        "images_per_second": steps * config.batch_size / piped,
        "images_per_second_fixed_batch": steps * config.batch_size / fixed,
        "input_wait_share": max(0.0, 1 - fixed / piped),
    }
    say(json.dumps(result))
    return result


def _time(
    step: Callable[..., Any], state: Any, batches: Callable[[], Any], steps: int
) -> tuple[Any, float]:
    jax.block_until_ready(state)
    began = time.perf_counter()
    for _ in range(steps):
        state, _ = step(state, batches())
    jax.block_until_ready(state)
    return state, time.perf_counter() - began
