"""Metrics of a run: one JSON object per line, and the same for TensorBoard."""

import contextlib
import importlib
import json
import math
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
from absl import logging

from common import atomic
from common.logging.appender import Appender

_FILE = "metrics.jsonl"
_KINDS = ("train", "eval")
_RESERVED = ("step", "kind", "time")
# JSON has no such numbers; these words are what `float` reads back.
_NON_FINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


class MetricsWriter:
    """Writes scalars and images of a run to `metrics.jsonl` and `tensorboard/`.

    A full or broken disk costs the metrics, never the run: it is reported once and
    writing is tried again with every later call.
    """

    def __init__(
        self,
        workdir: str | os.PathLike[str],
        *,
        active: bool = True,
        resume_step: int | None = None,
    ):
        """Repairs what an earlier run left, so that new lines follow whole lines.

        Args:
          workdir: Folder of the run.
          active: False on every process but the first; all methods do nothing.
          resume_step: Step of the restored state. Records of later steps belong to
              the lost part of the earlier run and are dropped.
        """
        self._active = active
        if not active:
            return
        workdir = Path(workdir)
        path = workdir / _FILE
        self._lines = Appender(path, _repair(path, resume_step))
        self._events = _EventFile(workdir / "tensorboard", resume_step)

    def scalars(
        self,
        step: int,
        metrics: Mapping[str, Any],
        kind: Literal["train", "eval"] = "train",
    ) -> None:
        """Appends one record.

        Args:
          step: Number of finished training steps.
          metrics: Name to number (anything `float` takes). NaN and the infinities
              are written as the words "NaN", "Infinity" and "-Infinity".
          kind: "train" or "eval".

        Raises:
          ValueError: `kind` is unknown, or a metric is called like a fixed key.
        """
        if kind not in _KINDS:
            raise ValueError(f"kind is {kind!r}, allowed: {', '.join(_KINDS)}")
        if clash := set(metrics).intersection(_RESERVED):
            raise ValueError(f"reserved metric names: {', '.join(sorted(clash))}")
        if not self._active:
            return
        values = {name: float(value) for name, value in metrics.items()}
        record = {"step": int(step), "kind": kind, "time": round(time.time(), 3)}
        record |= {name: _to_json(value) for name, value in values.items()}
        self._lines.append(json.dumps(record, allow_nan=False).encode() + b"\n")
        self._events.scalars(step, {f"{kind}/{k}": v for k, v in values.items()})

    def image(self, step: int, name: str, array: np.ndarray) -> None:
        """Shows one image in TensorBoard.

        Args:
          step: Number of finished training steps.
          name: Tag under which the images of several steps are collected.
          array: `[H, W]` or `[H, W, C]` with C of 1, 3 or 4: uint8, or float in
              [0, 1].

        Raises:
          ValueError: The array has another shape.
        """
        array = np.asarray(array)
        if array.ndim == 2:
            array = array[..., None]
        if array.ndim != 3 or array.shape[-1] not in (1, 3, 4):
            raise ValueError(f"image {name!r} has shape {array.shape}, not [H, W, C]")
        if not self._active:
            return
        if array.dtype != np.uint8:
            array = np.nan_to_num(np.asarray(array, np.float32))
            array = np.round(np.clip(array, 0, 1) * 255).astype(np.uint8)
        self._events.image(step, name, array)

    def flush(self) -> None:
        """Moves everything written so far to the disk."""
        if self._active:
            self._lines.sync()

    def close(self) -> None:
        """Flushes and closes the files."""
        self.flush()
        if self._active:
            self._lines.close()
            self._events.close()

    def __enter__(self) -> "MetricsWriter":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def read_metrics(workdir: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """Reads the metrics of a run, also while it is being written.

    Args:
      workdir: Folder of the run.

    Returns:
      The records in the order written, NaN and the infinities as floats again;
      broken lines are left out. Empty when there is no metrics file.
    """
    path = Path(workdir) / _FILE
    if not path.is_file():
        return []
    parsed = (_parse(line) for line in path.read_bytes().splitlines())
    return [record for record in parsed if record is not None]


def _to_json(value: float) -> float | str:
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _parse(line: bytes) -> dict[str, Any] | None:
    """The record in `line`, or None when it is broken."""
    try:
        record = json.loads(line)
    except ValueError:
        return None
    if not isinstance(record, dict) or not isinstance(record.get("step"), int):
        return None
    for name, value in record.items():
        if isinstance(value, str) and name != "kind":
            record[name] = _NON_FINITE.get(value, value)
    return record


def _repair(path: Path, resume_step: int | None) -> int:
    """Drops broken lines and the lost part of a run; returns the size to keep."""
    if not path.is_file():
        return 0
    try:
        content = path.read_bytes()
    except OSError as error:
        logging.warning("Cannot read %s (%s).", path, error.strerror)
        return path.stat().st_size
    lines = []
    for line in content.splitlines():
        record = _parse(line)
        if record and (resume_step is None or record["step"] <= resume_step):
            lines.append(line + b"\n")
    kept = b"".join(lines)
    if kept == content:
        return len(content)
    try:
        with atomic.replacing(path) as temporary:
            temporary.write_bytes(kept)
    except OSError as error:
        logging.warning("Cannot repair %s (%s).", path, error.strerror)
        # The whole lines stay; the writer cuts off the rest when it can.
        return content.rfind(b"\n") + 1
    return len(kept)


class _EventFile:
    """A TensorBoard event file, written in this thread.

    `tensorboardX.SummaryWriter` writes from a thread that dies at the first full
    disk, and then its queue fills up and the caller waits for ever. Its synchronous
    part is used here; after a failure the next record begins a new file.
    """

    def __init__(self, folder: Path, resume_step: int | None):
        self._folder = folder
        self._resume_step = resume_step
        self._writer: Any = None
        self._files = 0
        self._warned = False

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        from tensorboardX import summary

        messages = [summary.scalar(name, value) for name, value in values.items()]
        self._write(step, [value for m in messages for value in m.value])

    def image(self, step: int, name: str, array: np.ndarray) -> None:
        from tensorboardX import summary

        message = summary.image(name, array, dataformats="HWC")
        self._write(step, list(message.value))

    def _write(self, step: int, values: list[Any]) -> None:
        summary = _message("summary", "Summary")(value=values)
        event = _message("event", "Event")
        record = event(step=int(step), wall_time=time.time(), summary=summary)
        try:
            if self._writer is None:
                self._writer = self._open(event)
            self._writer.write_event(record)
            self._writer.flush()
        except OSError as error:
            self._writer = None
            if not self._warned:
                self._warned = True
                logging.warning("Cannot write %s (%s).", self._folder, error.strerror)

    def _open(self, event: Any) -> Any:
        from tensorboardX.event_file_writer import EventsWriter

        self._folder.mkdir(parents=True, exist_ok=True)
        self._files += 1
        suffix = f".{os.getpid()}.{self._files}"
        writer = EventsWriter(str(self._folder / "events"), suffix)
        if self._resume_step is not None:
            # TensorBoard hides what earlier files hold from this step on.
            log = _message("event", "SessionLog")
            start, step = log(status=log.START), self._resume_step + 1
            writer.write_event(
                event(wall_time=time.time(), step=step, session_log=start)
            )
        return writer

    def close(self) -> None:
        if self._writer is not None:
            with contextlib.suppress(OSError):
                self._writer.close()
            self._writer = None


def _message(module: str, name: str) -> Any:
    """A protobuf class; they are made at import, so type checkers cannot see them."""
    return getattr(importlib.import_module(f"tensorboardX.proto.{module}_pb2"), name)
