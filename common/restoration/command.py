"""`--mode=predict` for packages that restore images: files in, files out."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import ml_collections
from absl import logging

from common import modes
from common.errors import ConfigError
from common.restoration import compile_cache, files, flags, pictures, walk
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
    files.check_writable(options.output)
    compile_cache.use()
    experiment = modes.on_one_device(task, config)
    variables, where = modes.find_variables(experiment, workdir, init_from)
    logging.info("%d images, weights of %s", len(jobs), where)
    restorer = task.restorer(variables, options.bfloat16)

    def work(job: Job, picture: Picture) -> str:
        return _restore(job, picture, restorer, tiling, options.ensemble)

    failed = walk.each(jobs, work, modes.say)
    walk.check_all(jobs, failed, "restored")


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
