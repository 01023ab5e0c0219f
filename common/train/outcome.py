"""What a run leaves in its directory for people: record, weights, plots, report."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import ml_collections
import numpy as np
from absl import logging
from clu import parameter_overview
from PIL import Image

from common import audit
from common import config as configs
from common.checkpoint import weights
from common.data.sources.chosen import Chosen
from common.logging import report
from common.logging.writers import MetricsWriter, read_metrics
from common.task import Variables
from common.train.experiment import Experiment
from common.train.state import TrainState

WEIGHTS = "weights.safetensors"


def record(
    config: ml_collections.ConfigDict,
    workdir: Path,
    experiment: Experiment,
    overrides: Mapping[str, Any],
) -> None:
    """Keeps config, overrides, versions and class names beside the results.

    A config that differs from the one `workdir` began with is reported: the run goes
    on with the new one.
    """
    old = configs.load(workdir)
    for line in configs.changes(old, config) if old is not None else ():
        logging.warning("config differs from the one this run began with: %s", line)
    if jax.process_index() == 0:
        workdir.mkdir(parents=True, exist_ok=True)
        configs.save(config, workdir, overrides)
        if names := list(experiment.train_source.class_names):
            configs.write_json(workdir / "class_names.json", names)


def write(
    experiment: Experiment,
    workdir: Path,
    state: TrainState,
    outputs: Mapping[str, np.ndarray],
    metrics: Mapping[str, float],
    writer: MetricsWriter,
) -> None:
    """Writes weights, curves, the task's pictures and `report.html`.

    A run with weights of examples gets `noise_audit.html`, too.

    Args:
      experiment: that was run.
      workdir: of the run.
      state: of the last step; what is published is gathered from all devices first.
      outputs: of the final evaluation.
      metrics: of the final evaluation.
      writer: flushed, so that its records are complete.
    """
    variables = jax.device_get(experiment.replicate(state.variables()))
    findings = None if state.weights is None else _findings(experiment, state)
    if jax.process_index() != 0:
        return
    weights.save(workdir / WEIGHTS, variables)
    writer.flush()
    try:
        pictures = experiment.task.pictures(
            variables, outputs, experiment.eval_source, workdir
        )
        if findings is not None:
            pictures += _audit(experiment, workdir, *findings)
        for caption, path in pictures:
            with Image.open(path) as image:
                array = np.asarray(image.convert("RGB"))
            writer.image(experiment.total_steps, caption, array)
        _report(experiment, workdir, variables, metrics, pictures)
    except Exception:  # The result is on disk; a picture must not make it a failure.
        logging.exception("the report could not be written")


_Outputs = Mapping[str, np.ndarray]


def _findings(
    experiment: Experiment, state: TrainState
) -> tuple[np.ndarray, _Outputs | None]:
    """Returns the weights' logarithms, and what the model says of the lowest ones."""
    log_weights = experiment.log_weights(state)
    if experiment.task.one_by_one:
        return log_weights, None
    lowest = np.argsort(log_weights, kind="stable")[: audit.LIMIT]
    chosen = Chosen(experiment.train_source, lowest)
    outputs = dict(experiment.evaluate(state.variables(), source=chosen))
    return log_weights, outputs | {"id": lowest[outputs["id"]]}


def _audit(
    experiment: Experiment,
    workdir: Path,
    log_weights: np.ndarray,
    outputs: _Outputs | None,
) -> list[tuple[str, Path]]:
    source = experiment.train_source
    names = source.class_names
    found = audit.write(source, log_weights, names, workdir, outputs)
    logging.info("examples with the lowest weights: %s", workdir / audit.PAGE)
    return found


def _report(
    experiment: Experiment,
    workdir: Path,
    variables: Variables,
    metrics: Mapping[str, float],
    pictures: Sequence[tuple[str, Path]],
) -> None:
    records = read_metrics(workdir)
    path = report.write_report(
        workdir,
        title=f"{experiment.config.task}: {workdir.name}",
        config=experiment.config.to_dict(),
        metrics=metrics,
        records=records,
        pictures=pictures,
        facts=_facts(experiment, variables, records),
    )
    logging.info("report: %s", path)


def _facts(
    experiment: Experiment, variables: Variables, records: list[dict[str, Any]]
) -> dict[str, str]:
    device = jax.devices()[0]
    count = int(parameter_overview.count_parameters(variables["params"]))
    return {
        "command": _command(),
        "parameters": f"{count:,}",
        "steps": f"{experiment.total_steps:,} of batch {experiment.config.batch_size}",
        "examples": f"{len(experiment.train_source):,} training, "
        f"{len(experiment.eval_source):,} evaluation",
        "devices": f"{jax.device_count()} x {device.device_kind} ({device.platform})",
        "wall time": _wall_time(records),
        **configs.versions(),
    }


def _command() -> str:
    """The command line; a module is shown as it was started, with -m."""
    main = sys.modules["__main__"].__spec__
    start = ["-m", main.name] if main is not None else sys.argv[:1]
    return shlex.join(["python", *start, *sys.argv[1:]])


def _wall_time(records: list[dict[str, Any]]) -> str:
    """Time from the first record to the last, breaks between sessions included."""
    seconds = records[-1]["time"] - records[0]["time"] if records else 0.0
    return f"{seconds / 60:.1f} min"
