"""Checkpoints of a run, kept by Orbax.

A checkpoint is one directory `checkpoints/<step>` with the train state and `meta`,
whose `examples_seen` is the whole state of the data: example `g` of the global
sequence is a function of the seed and of `g`, so a run resumes exactly on any number
of processes and workers. A checkpoint counts only once Orbax has written its commit
file, so a run killed while saving falls back to the step before. What cannot be read
is passed over with a warning for the next older one; what does not fit the config is
an error, since an older one would not fit either.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from absl import logging
from etils import epath
from orbax.checkpoint import checkpoint_managers as policies

from common.errors import ConfigError
from common.task import Monitor

PyTree = Any


class _Manager(ocp.CheckpointManager):
    """Orbax' manager without its own watch for preemption.

    JAX agrees on one step at which all processes stop, counted in the calls of whoever
    asks. The loop asks; if Orbax asked too, with other numbers, the notice was lost.
    """

    def reached_preemption(self, step: int) -> bool:
        """Leaves the question to the loop."""
        del step
        return False


FORMAT_VERSION = 1
_REPLACED = "replaced-"  # a step that is being written again
_COMMITTED = "commit_success.txt"  # written by Orbax as the last file of a step


@dataclasses.dataclass(frozen=True)
class Restored:
    """What `Checkpoints.restore` found."""

    step: int
    state: PyTree
    meta: Mapping[str, Any]


class Checkpoints:
    """Saves and restores the checkpoints under `workdir/checkpoints`."""

    def __init__(
        self,
        workdir: epath.PathLike,
        *,
        keep_last: int = 2,
        keep_best: int = 0,
        monitor: Monitor | None = None,
        read_only: bool = False,
    ):
        """Opens the directory and removes what interrupted saves left behind.

        Args:
          workdir: directory of the run; a local one is made absolute.
          keep_last: how many of the newest checkpoints to keep.
          keep_best: how many more to keep by the monitored metric.
          monitor: which metric, and whether more of it is better.
          read_only: change nothing, not even what was left behind.
        """
        keep: list[Any] = [policies.LatestN(keep_last)]
        if keep_best and monitor is not None:
            keep.append(
                policies.BestN(
                    get_metric_fn=lambda metrics: metrics[monitor.metric],
                    # Orbax keeps the end of the sorted list.
                    reverse=monitor.mode == "min",
                    n=keep_best,
                    keep_checkpoints_without_metrics=False,
                )
            )
        self.directory = epath.Path(workdir).resolve() / "checkpoints"
        self._options = ocp.CheckpointManagerOptions(
            step_format_fixed_length=9,
            # Orbax must not decide: the loop knows when a step is worth saving.
            save_decision_policy=policies.FixedIntervalPolicy(1),
            preservation_policy=policies.AnyPreservationPolicy(keep),
            atomicity_options=ocp.options.AtomicityOptions(
                mode=ocp.options.AtomicityMode.COMMIT_FILE
            ),
            async_options=ocp.AsyncOptions(timeout_secs=30 * 60),
            create=not read_only,
            read_only=read_only,
        )
        self._manager = self._open()

    def _open(self) -> _Manager:
        if not self._options.read_only and jax.process_index() == 0:
            self._remove_uncommitted()
            self._finish_replacing()
        return _Manager(
            self.directory,
            options=self._options,
            item_handlers={
                "state": ocp.StandardCheckpointHandler(),
                "meta": ocp.JsonCheckpointHandler(),
            },
        )

    def _remove_uncommitted(self) -> None:
        """Orbax does this too, but in a thread that nothing waits for."""
        if self.directory.exists():
            for folder in self.directory.iterdir():
                if folder.name.isdigit() and not (folder / _COMMITTED).exists():
                    logging.warning("removing the unfinished checkpoint %s", folder)
                    folder.rmtree()

    def _finish_replacing(self) -> None:
        """Brings a step back whose replacement was not committed."""
        for aside in self.directory.glob(f"{_REPLACED}*"):
            folder = self.directory / aside.name.removeprefix(_REPLACED)
            if folder.exists():
                aside.rmtree()
            else:
                aside.rename(folder)

    def steps(self) -> list[int]:
        """Returns the committed steps, oldest first."""
        return sorted(self._manager.all_steps())

    def save(
        self,
        step: int,
        state: PyTree,
        meta: Mapping[str, Any],
        metrics: Mapping[str, float] | None = None,
        replace: bool = False,
    ) -> bool:
        """Starts saving; returns False when this save or the one before failed.

        The copy to the host is done on return, so the caller may donate `state`; the
        writing goes on in the background. A failure (a full disk, say) is logged and
        leaves the older checkpoints as they are.

        Args:
          step: number of finished steps.
          state: the train state.
          meta: JSON-able facts, `examples_seen` among them.
          metrics: evaluation metrics of this very step, for keep-best.
          replace: write the step again when it is there already.
        """
        if step in self._manager.all_steps():
            if not replace:
                return True
            self._set_aside([step], _REPLACED)
        metrics = {k: float(v) for k, v in metrics.items()} if metrics else None
        items = ocp.args.Composite(
            state=ocp.args.StandardSave(state),
            meta=ocp.args.JsonSave({"format_version": FORMAT_VERSION, **meta}),
        )

        def write() -> None:
            if not self._manager.save(step, args=items, metrics=metrics):
                raise OSError(f"Orbax refused step {step}")
            if replace:
                self._manager.wait_until_finished()
                if jax.process_index() == 0:
                    (self.directory / f"{_REPLACED}{step:09d}").rmtree(missing_ok=True)

        return self._guarded(write)

    def wait(self) -> bool:
        """Waits for the save in flight; returns False when it failed."""
        return self._guarded(self._manager.wait_until_finished)

    def _guarded(self, function: Callable[[], Any]) -> bool:
        try:
            function()
        except Exception as error:  # A full disk shows as many types.
            if jax.process_count() > 1:
                raise  # The others wait in a barrier: only a restart mends that.
            logging.error(
                "writing a checkpoint failed, older ones are kept (%s: %s)",
                type(error).__name__,
                str(error)[:300],
            )
            # Orbax reports an error again and again; a new manager forgets it.
            with contextlib.suppress(Exception):
                self._manager.close()
            self._manager = self._open()
            return False
        return True

    def restore(self, abstract: PyTree) -> Restored | None:
        """Restores the newest readable checkpoint, or returns None without one.

        Args:
          abstract: `jax.ShapeDtypeStruct` tree with the shardings wanted now; the
            checkpoint may have been written on other devices.

        Raises:
          ConfigError: the checkpoint's arrays are not those of the config, or there
            are checkpoints but none can be read.
        """
        steps = self.steps()
        for step in reversed(steps):
            restored, problem = None, "on another process"
            try:
                restored = self._restore_step(step, abstract)
            except ConfigError:
                raise
            except Exception as error:  # Orbax raises many types for broken files.
                problem = f"{type(error).__name__}: {error}".splitlines()[0]
            if _all_processes(restored is not None):
                if not self._options.read_only:
                    # Orbax saves no step before what it takes for the latest one.
                    self._set_aside([s for s in steps if s > step], "unreadable-")
                return restored
            logging.warning(
                "checkpoint of step %d cannot be read (%s); trying an older one",
                step,
                problem,
            )
        if steps:
            raise ConfigError(
                f"none of the checkpoints in {self.directory} can be read "
                f"(steps {', '.join(map(str, steps))})"
            )
        return None

    def shape(self, name: str) -> tuple[int, ...] | None:
        """Returns the shape of an array of the newest state, None without it.

        Args:
          name: its path, joined by "/", as "weights/logw".
        """
        for step in reversed(self.steps()):
            with contextlib.suppress(Exception):  # broken: `restore` says why
                return _shapes(self._manager.item_metadata(step)["state"].tree).get(
                    name
                )
        return None

    def _restore_step(self, step: int, abstract: PyTree) -> Restored:
        self._check_structure(step, abstract)
        items = self._manager.restore(
            step,
            args=ocp.args.Composite(
                state=ocp.args.StandardRestore(abstract), meta=ocp.args.JsonRestore()
            ),
        )
        return Restored(step, items["state"], items["meta"])

    def _set_aside(self, steps: Sequence[int], prefix: str) -> None:
        """Renames steps, so that Orbax no longer sees them."""
        if not steps:
            return
        if jax.process_index() == 0:
            for step in steps:
                aside = self.directory / f"{prefix}{step:09d}"
                aside.rmtree(missing_ok=True)
                (self.directory / f"{step:09d}").rename(aside)
        _all_processes(True)  # nobody reads the directory before it is done
        self._manager.reload()

    def _check_structure(self, step: int, abstract: PyTree) -> None:
        stored = self._manager.item_metadata(step)["state"].tree
        expected = _shapes(abstract)
        found = _shapes(stored)
        wrong = sorted(
            name
            for name in expected.keys() | found.keys()
            if expected.get(name) != found.get(name)
        )
        if wrong:
            shown = "; ".join(
                f"{name} is {found.get(name, 'missing')}, "
                f"needed {expected.get(name, 'not at all')}"
                for name in wrong[:3]
            )
            raise ConfigError(
                f"{self.directory}/{step:09d} was written with another config: "
                f"{len(wrong)} arrays differ ({shown})"
            )

    def close(self) -> None:
        """Waits for background work and releases Orbax' threads."""
        self.wait()
        self._manager.close()


def _shapes(tree: PyTree) -> dict[str, tuple[int, ...]]:
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {_name(path): tuple(leaf.shape) for path, leaf in leaves}


def _name(path: Sequence[Any]) -> str:
    """Joins a tree path; dataclass fields, dict keys and indices look alike."""
    parts = (getattr(key, "name", getattr(key, "key", None)) for key in path)
    return "/".join(
        str(part if part is not None else key.idx)
        for part, key in zip(parts, path, strict=True)
    )


def _all_processes(ok: bool) -> bool:
    """Whether `ok` holds on every process, so that all take the same branch."""
    if jax.process_count() == 1:
        return ok
    from jax.experimental import multihost_utils

    return bool(np.all(multihost_utils.process_allgather(np.asarray(ok))))
