"""`--mode=predict` for packages that restore images: files in, files out."""

from __future__ import annotations

import dataclasses
import os
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import ml_collections
from absl import logging
from tqdm import tqdm

from common import modes
from common.errors import ConfigError, DataError
from common.restoration import compile_cache, files, flags, pictures
from common.restoration.files import Job
from common.restoration.inference import Restorer
from common.restoration.pictures import Picture
from common.restoration.tiles import Tiling

if TYPE_CHECKING:
    from common.restoration.task import Restoration


def run(
    task: Restoration,
    config: ml_collections.ConfigDict,
    workdir: str | None,
    init_from: str | None,
) -> None:
    """Restores what the flags name, and prints one line for each image.

    What cannot be restored is reported and skipped.

    Args:
      task: whose network restores.
      config: its config.
      workdir: of the run whose weights are used.
      init_from: weights to use instead.

    Raises:
      ConfigError: the flags cannot be.
      DataError: nothing can be read, or, at the end, not every image was restored.
    """
    options = flags.options()
    tiling = _tiling(options)
    _check_tiling(tiling, task.restorer({}, options.bfloat16))
    jobs = files.plan(options.input, options.output, options.format)
    _check_writable(options.output)
    compile_cache.use()
    experiment = modes.on_one_device(task, config)
    variables, where = modes.find_variables(experiment, workdir, init_from)
    logging.info("%d images, weights of %s", len(jobs), where)
    restorer = task.restorer(variables, options.bfloat16)
    failed = _restore_all(jobs, restorer, tiling, options.ensemble)
    if failed:
        raise DataError(
            f"{len(failed)} of {len(jobs)} images were not restored: "
            f"{', '.join(str(job.source) for job in failed[:3])}"
            f"{', ...' if len(failed) > 3 else ''}"
        )


def _tiling(options: flags.Options) -> Tiling | None:
    if options.tile is None:
        return None
    # An eighth is our choice: 64 pixels of tiles of 512.
    overlap = options.tile // 8 if options.overlap is None else options.overlap
    return Tiling(options.tile, overlap)


def _check_tiling(tiling: Tiling | None, restorer: Restorer) -> None:
    if tiling is None:
        return
    multiple = restorer.multiple
    if tiling.size % multiple:
        near = max(round(tiling.size / multiple), 1) * multiple
        raise ConfigError(
            f"--tile={tiling.size} must be a multiple of {multiple}, e.g. {near}"
        )


def _check_writable(output: str) -> None:
    folder = Path(output).expanduser()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = error.strerror
    else:
        if os.access(folder, os.W_OK | os.X_OK):
            return
        reason = "permission denied"
    raise ConfigError(f"--output={output} cannot be written: {reason}")


def _restore_all(
    jobs: Sequence[Job], restorer: Restorer, tiling: Tiling | None, ensemble: bool
) -> list[Job]:
    """Returns the images that could not be restored."""
    failed = []
    with tqdm(total=len(jobs), unit="image", disable=not sys.stderr.isatty()) as bar:
        for job, picture in _read_ahead(jobs):
            began = time.perf_counter()
            try:
                line = _restore(job, picture.result(), restorer, tiling, ensemble)
            except (DataError, OSError, MemoryError) as error:
                failed.append(job)
                with bar.external_write_mode():
                    logging.error("%s: %s", job.source, error or "no memory left")
            else:
                seconds = time.perf_counter() - began
                with bar.external_write_mode():
                    modes.say(f"{line}, {seconds:.2f} s")
            bar.update()
    return failed


def _read_ahead(jobs: Sequence[Job]) -> Iterator[tuple[Job, Future[Picture]]]:
    """Reads the next image while one is restored; no more, for the memory."""
    with ThreadPoolExecutor(1) as reader:
        waiting: list[tuple[Job, Future[Picture]]] = []
        for job in jobs:
            waiting.append((job, reader.submit(pictures.read, job.source)))
            if len(waiting) == 2:
                yield waiting.pop(0)
        yield from waiting


def _restore(
    job: Job,
    picture: Picture,
    restorer: Restorer,
    tiling: Tiling | None,
    ensemble: bool,
) -> str:
    """Restores an image and returns what there is to say about it."""
    height, width, _ = picture.pixels.shape
    pictures.check_fits(picture, job.result)
    if tiling is not None and tiling.cuts(height, width):
        logging.log_first_n(
            logging.WARNING,
            "larger images are restored tile by tile: of each, the network's global "
            "branch sees one tile of %d pixels, so light and colour may vary",
            1,
            tiling.size,
        )
    pixels = restorer(picture.pixels, ensemble=ensemble, tiling=tiling)
    pictures.write(job.result, dataclasses.replace(picture, pixels=pixels))
    return f"{job.source} -> {job.result}: {width} x {height}"
